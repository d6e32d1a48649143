# SPDX-License-Identifier: MIT
"""Finds how a Python file uses ``natten``, from its syntax tree."""

import ast
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

_ROOT = "natten"
_HUB = "shi-labs/natten"
_CAUGHT = {"ImportError", "ModuleNotFoundError", "AttributeError", "Exception", "BaseException"}
# Functions that look up a package by name.
_PROBES = {"find_spec", "version", "distribution", "is_package_available", "_is_package_available",
           "get_distribution", "require", "import_module", "find_loader", "__import__"}  # fmt: skip
_FLAGS = ("has_", "is_", "HAS_", "__version__")


K = TypeVar("K")


class Call(NamedTuple):
    """Arguments of a call: number of positional ones, names of keywords, and whether there are
    unknown ones (`*args`, `**kwargs`)."""

    positional: int
    keywords: frozenset[str]
    open: bool


class Name(NamedTuple):
    """A dotted name below natten: "natten.functional.na2d"."""

    path: str
    optional: bool  # the program can run without it


def _merge(mine: dict[K, set[str]], theirs: dict[K, set[str]]) -> None:
    for key, places in theirs.items():
        mine.setdefault(key, set()).update(places)


@dataclass
class Uses:
    """Everything known about a project's use of natten; places are "file:line"."""

    names: dict[Name, set[str]] = field(default_factory=dict)
    calls: dict[tuple[Name, Call], set[str]] = field(default_factory=dict)
    gates: dict[str, set[str]] = field(default_factory=dict)
    hub: bool = False  # natten is loaded from the kernels hub
    stars: set[str] = field(default_factory=set)  # modules with a star import
    files: set[str] = field(default_factory=set)

    def update(self, other: "Uses") -> None:
        """Merges the uses of another file."""
        _merge(self.names, other.names)
        _merge(self.calls, other.calls)
        _merge(self.gates, other.gates)
        self.hub |= other.hub
        self.stars |= other.stars
        self.files |= other.files


def read(source: str, file: str) -> Uses:
    """Reads a file. Raises SyntaxError or ValueError for text that is not Python."""
    if _ROOT not in source:
        return Uses()
    tree = ast.parse(source)
    reader = _Reader(file)
    reader.imports(tree)
    reader.visit(tree)
    return reader.uses


def _mentions(node: ast.AST) -> bool:
    return _ROOT in ast.unparse(node).lower()


class _Reader(ast.NodeVisitor):
    def __init__(self, file: str) -> None:
        self.uses = Uses()
        self._file = file
        self._bound: dict[str, str] = {}  # local name -> dotted name below natten
        self._optional = False
        self._function = ""

    def imports(self, tree: ast.AST) -> None:
        """Collects the local names of all imports first, wherever they are in the file."""
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name.split(".")[0] == _ROOT:
                        path = alias.name if alias.asname else _ROOT
                        self._bound[alias.asname or _ROOT] = path
            elif isinstance(node, ast.ImportFrom) and self._is_ours(node):
                for alias in node.names:
                    self._bound[alias.asname or alias.name] = f"{node.module}.{alias.name}"
            elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
                module = _imported(node.value)
                names = [t.id for t in node.targets if isinstance(t, ast.Name)]
                self._bound.update({name: module for name in names if module is not None})

    @staticmethod
    def _is_ours(node: ast.ImportFrom) -> bool:
        return node.level == 0 and (node.module or "").split(".")[0] == _ROOT

    def _place(self, node: ast.AST) -> str:
        self.uses.files.add(self._file)
        return f"{self._file}:{getattr(node, 'lineno', 0)}"

    def _name(self, path: str, node: ast.AST) -> Name:
        name = Name(path, self._optional)
        self.uses.names.setdefault(name, set()).add(self._place(node))
        last = path.rpartition(".")[2]
        if path != _ROOT and last.startswith(_FLAGS):
            self.uses.gates.setdefault(path, set()).add(self._place(node))
        return name

    def _path(self, node: ast.AST) -> str | None:
        """The dotted name below natten that an expression refers to."""
        if isinstance(node, ast.Name):
            return self._bound.get(node.id)
        if isinstance(node, ast.Attribute):
            before = self._path(node.value)
            return None if before is None else f"{before}.{node.attr}"
        return None

    def _while_optional(self, nodes: list[ast.stmt], optional: bool) -> None:
        before, self._optional = self._optional, self._optional or optional
        for node in nodes:
            self.visit(node)
        self._optional = before

    def visit_Try(self, node: ast.Try) -> None:
        """An import that may fail is optional, and so is its replacement."""
        caught: set[str] = set()
        for handler in node.handlers:
            caught |= {"Exception"} if handler.type is None else set(_exceptions(handler.type))
        optional = bool(caught & _CAUGHT) and any(_mentions(n) for n in node.body)
        self._while_optional(node.body, optional)
        for handler in node.handlers:
            self._while_optional(handler.body, optional)
        self._while_optional(node.orelse, optional)
        self._while_optional(node.finalbody, False)

    def visit_If(self, node: ast.If) -> None:
        """Both branches of a condition on natten are optional."""
        self.visit(node.test)
        optional = _mentions(node.test)
        self._while_optional(node.body, optional)
        self._while_optional(node.orelse, optional)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """Code after an early return that depends on the natten version is optional."""
        before, self._function = self._function, node.name
        for n in (*node.decorator_list, node.args, *([node.returns] if node.returns else [])):
            self.visit(n)
        optional = False
        for statement in node.body:
            self._while_optional([statement], optional)
            optional = optional or _leaves_by_version(statement)
        self._function = before

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - ast's name

    def visit_Import(self, node: ast.Import) -> None:
        """Imports of modules."""
        for alias in node.names:
            if alias.name.split(".")[0] == _ROOT:
                self._name(alias.name, node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """Imports of names from a module."""
        if not self._is_ours(node):
            return
        for alias in node.names:
            if alias.name == "*":
                self.uses.stars.add(node.module or "")
                self._name(node.module or "", node)
            else:
                self._name(f"{node.module}.{alias.name}", node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """The longest chain of attributes, such as `natten.functional.na2d`."""
        path = self._path(node)
        if path is None:
            self.generic_visit(node)
        else:
            self._name(path, node)

    def visit_Call(self, node: ast.Call) -> None:
        """Arguments of a call, or a check whether natten is installed."""
        path = self._path(node.func)
        if path is not None:
            keywords = frozenset(k.arg for k in node.keywords if k.arg)
            more = any(k.arg is None for k in node.keywords)
            more = more or any(isinstance(a, ast.Starred) for a in node.args)
            call = Call(len(node.args), keywords, more)
            key = (Name(path, self._optional), call)
            self.uses.calls.setdefault(key, set()).add(self._place(node))
        self._gate(node)
        self.generic_visit(node)

    def _gate(self, node: ast.Call) -> None:
        called, texts = _called(node), _texts(node)
        if (called in _PROBES or _imported(node)) and any(t.split(".")[0] == _ROOT for t in texts):
            gate = f'{called}("{texts[0]}")'
        elif any(t.lower() == _HUB for t in texts):
            gate, self.uses.hub = f'{called}("{_HUB}")', True
        elif called == "hasattr" and self._path(node.args[0]) is not None:
            gate = ast.unparse(node)
        elif called is not None and "natten_available" in called:
            gate = f"{called}()"
        elif ast.unparse(node.func).endswith("cuda.is_available") and _ROOT in self._function:
            gate = f"{ast.unparse(node)} in {self._function}"
        else:
            return
        self.uses.gates.setdefault(gate, set()).add(self._place(node))


def _called(node: ast.Call) -> str | None:
    """The last component of the called name."""
    called = node.func.attr if isinstance(node.func, ast.Attribute) else None
    return node.func.id if isinstance(node.func, ast.Name) else called


def _texts(node: ast.Call) -> list[str]:
    constants = [a.value for a in node.args if isinstance(a, ast.Constant)]
    return [value for value in constants if isinstance(value, str)]


def _imported(node: ast.Call) -> str | None:
    """The module that a call such as OptionalImport("natten.functional") returns."""
    called, texts = _called(node), _texts(node)
    if called is None or "import" not in called.lower() or not texts:
        return None
    return texts[0] if texts[0].split(".")[0] == _ROOT else None


def _leaves_by_version(node: ast.stmt) -> bool:
    if not isinstance(node, ast.If) or not _mentions(node.test):
        return False
    left = isinstance(node.body[-1], (ast.Raise, ast.Return))
    return left and "version" in ast.unparse(node.test).lower()


def _exceptions(node: ast.expr) -> list[str]:
    parts = node.elts if isinstance(node, ast.Tuple) else [node]
    return [p.attr if isinstance(p, ast.Attribute) else getattr(p, "id", "") for p in parts]
