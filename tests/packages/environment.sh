# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# For scripts that install a package as a stranger does.
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)

# clean_environment FOLDER makes a virtual environment that holds nothing. PyTorch is
# 5 GB installed: it comes from the developer's environment, natten_mps does not.
clean_environment() {
    "$root/.venv/bin/python" -m venv --without-pip "$1"
    "$root/.venv/bin/python" -c 'import torch, pathlib; print(pathlib.Path(torch.__file__).parents[1])' \
        >"$("$1/bin/python" -c 'import site; print(site.getsitepackages()[0])')/torch.pth"
}

# install_into FOLDER PACKAGE installs the one file, and nothing that it depends on.
install_into() {
    "$root/.venv/bin/python" -m pip -q --disable-pip-version-check --python "$1/bin/python" install --no-deps "$2"
}
