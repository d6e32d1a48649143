# SPDX-License-Identifier: MIT
"""Imports every module of every release of NATTEN, as `activate` serves it, in one process.

    python released_names.py [ROWS]

Prints {version: {"modules": n, "names": n, "differences": [...], "unserved": {...}, "more": [...]}}
as JSON; what the releases have is read from released.json here, by code of its own. With ROWS, a
JSON list of [version, program], prints what each program prints or raises.
"""

import ast
import contextlib
import importlib
import inspect
import io
import json
import logging
import sys
from pathlib import Path

from packaging.version import Version

from natten_mps import compat
from natten_mps.compat import _activation

FILE = Path(compat.__file__).with_name("released.json")


def covers(ranges, version):
    pairs = (map(Version, text.split("..")) for text in ranges)
    return any(first <= Version(version) <= last for first, last in pairs)


def wanted(what):
    """[(name, default's source)] of a recorded signature."""
    listed = ast.parse(f"def f{what[what.index('(') :]}: 0").body[0].args
    missing = [None] * (len(listed.args) - len(listed.defaults))
    defaults = [*missing, *(ast.unparse(d) for d in listed.defaults)]
    return [(a.arg, d) for a, d in zip(listed.args, defaults, strict=True)]


def has_signature(value, what):
    if what.startswith("apply("):
        own = inspect.signature(value.compute).parameters
        return issubclass(value, importlib.import_module("torch").autograd.Function) and len(
            own
        ) == len(wanted(what))
    own = inspect.signature(value).parameters.values()
    given = [(p.name, None if p.default is p.empty else repr(p.default)) for p in own]
    # A default that is the name of a constant has that constant's value.
    known = [(n, d if d is None or not d.isupper() else g[1])
             for (n, d), g in zip(wanted(what), given, strict=False)]  # fmt: skip
    return given == known


def look(module, names, report):
    try:
        served = importlib.import_module(module)
    except ImportError as error:
        report["unserved"][module] = str(error)
        return
    for name, what in names.items():
        try:
            value = getattr(served, name)
        except AttributeError as error:
            report["unserved"][f"{module} {name}"] = str(error)
            continue
        report["names"] += 1
        if what.startswith(("(", "apply(")) and "*" not in what and not has_signature(value, what):
            report["differences"].append(f"{module} {name} is not {what}")
    more = {n for n in vars(served) if not n.startswith("__")} - set(names)
    report["more"] += sorted(f"{module} {n}" for n in more if f"{module}.{n}" not in sys.modules)


@contextlib.contextmanager
def activated(version):
    _activation.activate(version)
    yield
    sys.meta_path[:] = [f for f in sys.meta_path if not isinstance(f, _activation._Finder)]
    for name in [n for n in sys.modules if n.split(".")[0] == "natten"]:
        del sys.modules[name]


@contextlib.contextmanager
def _noted(output):
    try:
        with contextlib.redirect_stdout(output):
            yield
    except Exception as error:
        output.write(f"{type(error).__name__}: {error}")


def answer(version, program):
    output = io.StringIO()
    with activated(version), _noted(output):
        exec(program, {})
    return output.getvalue()


def check(version, recorded):
    report = {"modules": 0, "names": 0, "differences": [], "unserved": {}, "more": []}
    for module, entry in recorded.items():
        if not covers(entry["versions"], version):
            continue
        report["modules"] += 1
        kinds = ((n, w) for n, k in entry["names"].items() for w, r in k.items()
                 if covers(r, version))  # fmt: skip
        look(module, dict(kinds), report)
    return report


def examine(version, modules):
    with activated(version):
        return check(version, modules)


def main(rows=None):
    logging.disable(logging.CRITICAL)
    if rows is not None:
        print(json.dumps([answer(*row) for row in json.loads(rows)]))
        return
    recorded = json.loads(FILE.read_text())
    modules = recorded["modules"]
    print(json.dumps({version: examine(version, modules) for version in recorded["versions"]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
