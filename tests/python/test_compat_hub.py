# SPDX-License-Identifier: MIT
"""The hub kernel "shi-labs/natten", loaded as the kernels package loads a local one."""

import json
import textwrap

from test_compat_children import PACKAGE, output

FOLDER = PACKAGE / "natten_mps/compat/_hub"


def test_activation_leads_the_kernels_package_here(tmp_path):
    code = """
        import os
        from natten_mps.compat import activate
        activate("0.17.5")
        print(os.environ["LOCAL_KERNELS"])
    """
    code = textwrap.dedent(code)
    entry = f"shi-labs/natten={FOLDER}"
    assert output("-c", code, folder=tmp_path, LOCAL_KERNELS="").strip() == entry
    given = "a/b=/c"
    assert output("-c", code, folder=tmp_path, LOCAL_KERNELS=given).strip() == f"{given}:{entry}"
    own = "shi-labs/natten=/mine"
    assert output("-c", code, folder=tmp_path, LOCAL_KERNELS=own).strip() == own


def test_the_kernel_has_the_api_of_021(tmp_path):
    """Whatever version is active."""
    metadata = json.loads((FOLDER / "metadata.json").read_text())
    assert (metadata["name"], metadata["version"]) == ("natten", 1)
    code = f"""
        import importlib.util, sys
        from natten_mps.compat import activate
        activate("0.14.6")
        path = {str(FOLDER / "__init__.py")!r}
        spec = importlib.util.spec_from_file_location({metadata["id"]!r}, path)
        kernel = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = kernel
        spec.loader.exec_module(kernel)
        import torch
        q = torch.randn(1, 3, 4, 5, 2, 8)
        out = kernel.na3d(q, q, q, kernel_size=(3, 3, 5), scale=1.0, backend=None)
        assert out.shape == q.shape and "natten" not in sys.modules
        print(kernel.__version__.rsplit(".", 1)[0], kernel.HAS_LIBNATTEN)
    """
    code = textwrap.dedent(code)
    assert output("-c", code, folder=tmp_path, NATTEN_BACKEND="auto") == "0.21 True\n"
