# SPDX-License-Identifier: MIT
"""Writes the public names and signatures of the `natten` that is importable.

    PYTHONPATH=FOLDER_WITH_NATTEN python tests/golden/make_api.py FILE

For 0.20.1 and 0.21, which install without CUDA. The files of the older generations were
written from a description of their API.
"""

import enum
import importlib
import inspect
import json
import sys

MODULES = (
    "natten",
    "natten.attn_merge",
    "natten.backends",
    "natten.backends.reference",
    "natten.context",
    "natten.functional",
    "natten.modules",
    "natten.token_permute",
    "natten.types",
    "natten.utils.checks",
    "natten.utils.device",
    "natten.utils.dtype",
    "natten.utils.environment",
    "natten.utils.log",
    "natten.utils.tensor",
    "natten.utils.testing",
    "natten.utils.tuples",
    "natten.utils.varlen",
    "natten.version",
)


def signature(value):
    """["name", "name=default", ...], or None for what is not called."""
    if not callable(value) or (
        isinstance(value, type) and issubclass(value, (tuple, int, enum.Enum))
    ):
        return None
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return None
    return [
        p.name if p.default is inspect.Parameter.empty else f"{p.name}={p.default!r}"
        for p in parameters
    ]


def public(module, everything):
    """Names that belong to the module: its __all__, or what it defines."""
    if hasattr(module, "__all__"):
        return sorted(module.__all__)
    own = []
    for name, value in vars(module).items():
        if (name.startswith("_") and name != "__version__") or inspect.ismodule(value):
            continue
        origin = getattr(value, "__module__", None) or ""
        if origin == module.__name__ or (everything and origin.startswith("natten")):
            own.append(name)
    return sorted(own)


def main(path):
    api = {}
    for name in MODULES:
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError:
            continue
        packages = ("natten.backends", "natten.functional", "natten.token_permute")
        names = public(module, everything=name in packages)
        if name == "natten.types":
            names = [n for n in vars(module) if n.endswith(("Type", "DType", "OrDed", "Schedule"))]
        api[name] = {n: signature(getattr(module, n)) for n in names}
        if name == "natten.types":
            api[name] = dict.fromkeys(sorted(api[name]))
    with open(path, "w", encoding="utf-8") as file:
        json.dump(api, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
