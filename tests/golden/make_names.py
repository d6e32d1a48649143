# SPDX-License-Identifier: MIT
"""Writes the names and signatures of every released `natten`, read from its source by `ast`.

    python tests/golden/make_names.py FOLDER [python/natten_mps/compat/released.json]

FOLDER has the sdists that PyPI serves, natten-VERSION.tar.gz; nothing is unpacked, built or
imported. It needs Python 3.12 or newer, as the profiler of 0.21.6 does. The file gets

    {"versions": [...], "modules": {module: {"package": ..., "versions": [...], "names":
     {name: {what: [versions]}}}}}

with versions as the inclusive ranges "first..last" of the list. What a name is:

    (a, b=1)            a function, or a class with that constructor
    apply(a, b)         an autograd function
    class               a class without a constructor of its own
    value               anything else
    from MODULE NAME    what another module of natten has under that name
    a, b, c             for __all__
"""

import ast
import json
import re
import sys
import tarfile
from pathlib import Path

RELEASE = re.compile(r"natten-(\d+\.\d+\.\d+)(?:-(\d+))?\.tar\.gz")
SOURCE = re.compile(r"natten-[^/]+/(?:src/)?(natten/.*)\.py")


def version_of(path):
    """Version of a file's name; natten-0.14.2-4 is 0.14.2.post4."""
    number, post = RELEASE.fullmatch(path.name).groups()
    return number + (f".post{post}" if post else "")


def sources(path):
    """(module, whether a package, tree) of each module in a sdist."""
    with tarfile.open(path) as archive:
        for member in archive:
            found = SOURCE.fullmatch(member.name)
            if found is None or not member.isfile():
                continue
            name = found.group(1).replace("/", ".")
            tree = ast.parse(archive.extractfile(member).read())
            yield name.removesuffix(".__init__"), name.endswith(".__init__"), tree


def signature(function, bound):
    """Parameters of a definition, without `self` or `ctx` if bound."""
    given = function.args
    positional = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(positional) - len(given.defaults)) + given.defaults
    listed = list(zip(positional, defaults, strict=True))[1 if bound else 0 :]
    keyword = list(zip(given.kwonlyargs, given.kw_defaults, strict=True))
    parts = [a.arg if d is None else f"{a.arg}={ast.unparse(d)}" for a, d in listed]
    parts += [f"*{given.vararg.arg}"] if given.vararg else ["*"] if keyword else []
    parts += [a.arg if d is None else f"{a.arg}={ast.unparse(d)}" for a, d in keyword]
    return ", ".join([*parts, *([f"**{given.kwarg.arg}"] if given.kwarg else [])])


def of_class(node):
    """The constructor, or `apply` of an autograd function, which takes what `forward` takes."""
    methods = {f.name: f for f in node.body if isinstance(f, ast.FunctionDef)}
    if any("Function" in ast.unparse(base) for base in node.bases) and "forward" in methods:
        return f"apply({signature(methods['forward'], True)})"
    return f"({signature(methods['__init__'], True)})" if "__init__" in methods else "class"


def statements(body):
    """What a module does when it is imported, branches of `if`, `try` and `with` included."""
    for node in body:
        yield node
        for part in ("body", "orelse", "finalbody", "handlers"):
            if isinstance(node, (ast.If, ast.Try, ast.With, ast.ExceptHandler)):
                yield from statements(getattr(node, part, []))


def origin(node, module, package):
    """Module of natten that an import is from, or None."""
    if node.level == 0:
        return node.module if node.module and node.module.split(".")[0] == "natten" else None
    parts = module.split(".")
    base = parts[: len(parts) - node.level + (1 if package else 0)]
    return ".".join(base + ([node.module] if node.module else []))


def everything(node):
    """The names in a list that is assigned to __all__."""
    return ", ".join(e.value for e in getattr(node.value, "elts", ()))


def names(tree, module, package):
    """{name: signature} of what a module binds, imports of others' modules left out."""
    found = {}
    for node in statements(tree.body):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            found[node.name] = f"({signature(node, False)})"
        elif isinstance(node, ast.ClassDef):
            found[node.name] = of_class(node)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for name in (n for target in targets for n in ast.walk(target)):
                if isinstance(name, ast.Name):
                    found[name.id] = everything(node) if name.id == "__all__" else "value"
        elif isinstance(node, ast.ImportFrom) and (where := origin(node, module, package)):
            for alias in node.names:
                found[alias.asname or alias.name] = f"from {where} {alias.name}"
    hidden = re.compile(r"_(?!_version__$|_all__$)")
    private = module.split(".")[-1].strip("_") == "environment" or module.startswith("natten._")
    return {n: s for n, s in found.items() if private or not hidden.match(n)}


def ranges(versions, order):
    """Inclusive ranges of some versions, in the order of all of them."""
    parts = []
    for version in (v for v in order if v in versions):
        if parts and order.index(parts[-1][1]) == order.index(version) - 1:
            parts[-1][1] = version
        else:
            parts.append([version, version])
    return [f"{first}..{last}" for first, last in parts]


def main(folder, file="python/natten_mps/compat/released.json"):
    paths = {version_of(p): p for p in Path(folder).glob("*.gz") if RELEASE.fullmatch(p.name)}
    versions = sorted(paths, key=lambda v: [int(n) for n in re.findall(r"\d+", v)])
    modules = {}
    for version in versions:
        for module, package, tree in sources(paths[version]):
            entry = modules.setdefault(module, {"package": package, "versions": [], "names": {}})
            entry["package"] |= package
            entry["versions"].append(version)
            for name, what in names(tree, module, package).items():
                entry["names"].setdefault(name, {}).setdefault(what, []).append(version)
    for entry in modules.values():
        entry["versions"] = ranges(entry["versions"], versions)
        for kinds in entry["names"].values():
            kinds.update({what: ranges(v, versions) for what, v in kinds.items()})
    text = json.dumps({"versions": versions, "modules": modules}, sort_keys=True, indent=0)
    Path(file).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
