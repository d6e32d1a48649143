#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Installs programs that use `natten`, each into its own folder below build/clients,
# for tests/python/test_compat_clients.py.
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.."
pip=(.venv/bin/python -m pip install -q --upgrade)

into() {
    local folder=build/clients/$1
    shift
    [[ -d $folder ]] || "${pip[@]}" --target "$folder" "$@"
    echo "$folder"
}

into transformers-4.57.6 transformers==4.57.6
into transformers-5.24.0 transformers==5.24.0
into allin1-1.1.0 --no-deps allin1==1.1.0 hydra-core==1.3.2 omegaconf==2.3.0 \
    antlr4-python3-runtime==4.9.3 pyyaml
into hdit-0.0.1b6 --no-deps hdit==0.0.1b6 einops==0.8.1
into fvcore-0.1.5.post20221221 --no-deps fvcore==0.1.5.post20221221 iopath yacs portalocker \
    tabulate termcolor pyyaml
into diffusers-0.42.1 diffusers==0.42.1 kernels==0.17.2

# Without its dependencies, which would install another torch; its layers import only these.
physicsnemo=build/clients/physicsnemo-2.2.2
if [[ ! -d $physicsnemo ]]; then
    rm -rf -- "$physicsnemo.partial"
    mkdir -p -- "$physicsnemo.partial"
    "${pip[@]}" --target "$physicsnemo.partial" s3fs requests warp-lang
    "${pip[@]}" --target "$physicsnemo.partial" --no-deps nvidia-physicsnemo==2.2.2 einops \
        jaxtyping tensordict pyvers timm torchvision nvtx
    mv -- "$physicsnemo.partial" "$physicsnemo"
fi
