# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# For scripts that install a package as a user does.
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)

# clean_environment FOLDER makes an empty virtual environment. PyTorch takes 5 GB, so it is
# borrowed from the developer's environment; natten_mps is not.
clean_environment() {
    "$root/.venv/bin/python" -m venv --without-pip "$1"
    "$root/.venv/bin/python" -c 'import torch, pathlib; print(pathlib.Path(torch.__file__).parents[1])' \
        >"$("$1/bin/python" -c 'import site; print(site.getsitepackages()[0])')/torch.pth"
}

# install_into FOLDER PACKAGE installs one file without its dependencies.
install_into() {
    "$root/.venv/bin/python" -m pip -q --disable-pip-version-check --python "$1/bin/python" install --no-deps "$2"
}
