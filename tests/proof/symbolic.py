# SPDX-License-Identifier: MIT
"""Integer functions of Go and Metal sources as formulas.

A function is read by tree-sitter and executed on symbols: each path through it becomes a condition
and a result, and the paths are merged. Every intermediate sum, difference and product is kept with
the condition under which it is computed, so that overflow can be asked about; so is every divisor.
What is not understood raises UnsupportedError: nothing is skipped.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import tree_sitter
import tree_sitter_cpp
import tree_sitter_go
import z3

LANGUAGES = {
    "go": tree_sitter.Language(tree_sitter_go.language()),
    "metal": tree_sitter.Language(tree_sitter_cpp.language()),
}
UNROLL = 100  # iterations of a loop, at most; more raise UnsupportedError

Value = Any  # a z3 term, or a dict of fields
Env = dict[str, Value]


class UnsupportedError(Exception):
    """The source has something that is not translated."""


@dataclass
class Trace:
    """What a run computes on its way, each with the condition under which it is reached."""

    results: list[tuple[z3.BoolRef, z3.ArithRef, str]] = field(default_factory=list)
    divisors: list[tuple[z3.BoolRef, z3.ArithRef, str]] = field(default_factory=list)


@dataclass
class Path:
    """One way through a body: its condition, its variables, and the result once it has returned."""

    condition: z3.BoolRef
    env: Env
    result: Value = None
    done: bool = False


def integer(value: int) -> z3.ArithRef:
    return z3.IntVal(value)


def quotient(a: z3.ArithRef, b: z3.ArithRef) -> z3.ArithRef:
    """Division as Go and C have it, towards zero, by a positive number."""
    return z3.If(a >= 0, a / b, -(-a / b))


def remainder(a: z3.ArithRef, b: z3.ArithRef) -> z3.ArithRef:
    """What is left by quotient: it has the sign of a."""
    return z3.If(a >= 0, a % b, -(-a % b))


ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": quotient,
    "%": remainder,
}
COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


def merge(condition: z3.BoolRef, yes: Value, no: Value) -> Value:
    if isinstance(yes, dict):
        return {name: merge(condition, yes[name], no[name]) for name in yes}
    return z3.simplify(z3.If(condition, yes, no))


class Source:
    """The functions of one file, by name; a method of Go is named without its receiver's type."""

    def __init__(self, language: str, text: str, structs: dict[str, list[str]]) -> None:
        self.language = language
        self.structs = structs
        self.functions: dict[str, tree_sitter.Node] = {}
        if language == "metal":  # C++ except for address spaces, which do not matter to arithmetic
            text = re.sub(r"\b(constant|device|thread) (?=\w+ ?&)", "", text)
        tree = tree_sitter.Parser(LANGUAGES[language]).parse(text.encode())
        if tree.root_node.has_error:
            raise UnsupportedError(f"{language} source has a syntax error for the parser")
        for node in tree.root_node.children:
            if node.type in ("function_declaration", "method_declaration"):
                self.functions[name_of(node.child_by_field_name("name"))] = node
            elif node.type == "function_definition":
                declarator = node.child_by_field_name("declarator")
                self.functions[name_of(declarator.child_by_field_name("declarator"))] = node

    def call(
        self,
        name: str,
        *arguments: Value,
        trace: Trace | None = None,
        given: dict[str, Value] | None = None,
    ) -> Value:
        """The result of a function on symbols; several results come as a list.

        given has the results of functions that are not looked into.
        """
        run = _Run(self, trace if trace is not None else Trace(), given or {})
        return run.function(name, list(arguments), z3.BoolVal(True))


def name_of(node: tree_sitter.Node | None) -> str:
    assert node is not None
    assert node.text is not None
    return node.text.decode()


class _Run:
    def __init__(self, source: Source, trace: Trace, given: dict[str, Value]) -> None:
        self.source, self.trace, self.given = source, trace, given

    # ------------------------------------------------------------ functions

    def function(self, name: str, arguments: list[Value], condition: z3.BoolRef) -> Value:
        if name in self.given:
            return self.given[name]
        if name not in self.source.functions:
            raise UnsupportedError(f"call of {name}")
        node = self.source.functions[name]
        env: Env = dict.fromkeys(self.named_results(node), integer(0))
        env.update(zip(self.parameters(node), arguments, strict=True))
        body = node.child_by_field_name("body")
        paths = self.block(body, [Path(condition, env)])
        if not all(path.done for path in paths):
            raise UnsupportedError(f"{name} can end without a return")
        result = paths[-1].result
        for path in reversed(paths[:-1]):
            result = merge_results(path.condition, path.result, result)
        return result

    def parameters(self, node: tree_sitter.Node) -> Iterator[str]:
        """The names of a function's parameters, a method's receiver first."""
        if self.source.language == "go":
            lists = [node.child_by_field_name("receiver"), node.child_by_field_name("parameters")]
        else:
            lists = [node.child_by_field_name("declarator").child_by_field_name("parameters")]
        for one in filter(None, lists):
            yield from (name_of(c) for c in walk(one) if c.type == "identifier")

    def named_results(self, node: tree_sitter.Node) -> Iterator[str]:
        results = node.child_by_field_name("result")
        if results is not None and results.type == "parameter_list":
            yield from (name_of(c) for c in walk(results) if c.type == "identifier")

    # ----------------------------------------------------------- statements

    def block(self, node: tree_sitter.Node, paths: list[Path]) -> list[Path]:
        for statement in statements(node):
            ended = [path for path in paths if path.done]
            running = [path for path in paths if not path.done]
            paths = ended + [q for path in running for q in self.statement(statement, path)]
        return paths

    def statement(self, node: tree_sitter.Node, path: Path) -> list[Path]:
        handler = getattr(self, f"on_{node.type}", None)
        if handler is None:
            raise UnsupportedError(f"statement {node.type}: {name_of(node)}")
        result: list[Path] = handler(node, path)
        return result

    def on_short_var_declaration(self, node: tree_sitter.Node, path: Path) -> list[Path]:
        left = node.child_by_field_name("left").named_children
        right = self.expressions(node.child_by_field_name("right"), path)
        for target, value in zip(left, right, strict=True):
            path.env[name_of(target)] = dict(value) if isinstance(value, dict) else value
        return [path]

    def on_assignment_statement(self, node: tree_sitter.Node, path: Path) -> list[Path]:
        left = node.child_by_field_name("left").named_children
        right = self.expressions(node.child_by_field_name("right"), path)
        sign = name_of(node.child_by_field_name("operator"))
        for target, value in zip(left, right, strict=True):
            self.assign(target, sign, value, path)
        return [path]

    def on_expression_statement(self, node: tree_sitter.Node, path: Path) -> list[Path]:
        inner = node.named_children[0]
        if inner.type == "assignment_expression":
            value = self.expression(inner.child_by_field_name("right"), path)
            sign = name_of(inner.child_by_field_name("operator"))
            self.assign(inner.child_by_field_name("left"), sign, value, path)
            return [path]
        return self.statement(inner, path)

    def on_update_expression(self, node: tree_sitter.Node, path: Path) -> list[Path]:
        target = node.child_by_field_name("argument")
        if name_of(node.child_by_field_name("operator")) != "++":
            raise UnsupportedError(name_of(node))
        self.assign(target, "+=", integer(1), path)
        return [path]

    def on_inc_statement(self, node: tree_sitter.Node, path: Path) -> list[Path]:
        self.assign(node.named_children[0], "+=", integer(1), path)
        return [path]

    def on_declaration(self, node: tree_sitter.Node, path: Path) -> list[Path]:
        for declarator in node.children_by_field_name("declarator"):
            if declarator.type == "identifier":  # a struct whose fields are assigned later
                fields = self.source.structs[name_of(node.child_by_field_name("type"))]
                path.env[name_of(declarator)] = dict.fromkeys(fields, None)
                continue
            value = self.expression(declarator.child_by_field_name("value"), path)
            path.env[name_of(declarator.child_by_field_name("declarator"))] = value
        return [path]

    def assign(self, target: tree_sitter.Node, sign: str, value: Value, path: Path) -> None:
        if sign != "=":
            value = self.binary(sign[:-1], self.expression(target, path), value, path, target)
        if target.type in ("selector_expression", "field_expression"):
            holder, member = self.member(target)
            path.env[holder] = {**path.env[holder], member: value}
        else:
            path.env[name_of(target)] = value

    def on_return_statement(self, node: tree_sitter.Node, path: Path) -> list[Path]:
        values = self.expressions(node.named_children[0], path)
        path.result = values[0] if len(values) == 1 else values
        path.done = True
        return [path]

    def on_if_statement(self, node: tree_sitter.Node, path: Path) -> list[Path]:
        initializer = node.child_by_field_name("initializer")
        if initializer is not None:
            (path,) = self.statement(initializer, path)
        return self.branch(node, path)

    def branch(self, node: tree_sitter.Node, path: Path) -> list[Path]:
        test = self.test(node, path)
        yes, no = self.split(test, path)
        paths: list[Path] = []
        if yes is not None:
            paths += self.block(node.child_by_field_name("consequence"), [yes])
        if no is not None:
            other = node.child_by_field_name("alternative")
            paths += self.block(other, [no]) if other is not None else [no]
        return paths

    def on_for_statement(self, node: tree_sitter.Node, path: Path) -> list[Path]:
        clause = next((c for c in node.named_children if c.type == "for_clause"), node)
        first, update = (clause.child_by_field_name(n) for n in ("initializer", "update"))
        running = self.statement(first, path) if first is not None else [path]
        return self.loop(node, clause, update, running)

    def on_while_statement(self, node: tree_sitter.Node, path: Path) -> list[Path]:
        return self.loop(node, node, None, [path])

    def loop(
        self,
        node: tree_sitter.Node,
        clause: tree_sitter.Node,
        update: tree_sitter.Node | None,
        running: list[Path],
    ) -> list[Path]:
        left: list[Path] = []
        for _ in range(UNROLL):
            bodies: list[Path] = []
            for path in running:
                yes, no = self.split(self.test(clause, path), path)
                left += [no] if no is not None else []
                bodies += [yes] if yes is not None else []
            if not bodies:
                return left
            after = self.block(node.child_by_field_name("body"), bodies)
            left += [path for path in after if path.done]
            running = [path for path in after if not path.done]
            if update is not None:
                running = [q for path in running for q in self.statement(update, path)]
        raise UnsupportedError(f"loop of more than {UNROLL} rounds: {name_of(node)}")

    def test(self, node: tree_sitter.Node, path: Path) -> z3.BoolRef:
        condition = node.child_by_field_name("condition")
        if condition is None:  # Go's `for condition {}`
            condition = node.named_children[0]
        return self.expression(condition, path)

    @staticmethod
    def split(test: z3.BoolRef, path: Path) -> tuple[Path | None, Path | None]:
        """The paths on which a test holds and does not; None if the condition excludes one."""
        sides: list[Path | None] = []
        for side in (test, z3.Not(test)):
            condition = z3.simplify(z3.And(path.condition, side))
            possible = not z3.is_false(condition) and z3_check(condition) != z3.unsat
            sides.append(Path(condition, dict(path.env)) if possible else None)
        return sides[0], sides[1]

    # ---------------------------------------------------------- expressions

    def expressions(self, node: tree_sitter.Node, path: Path) -> list[Value]:
        if node.type != "expression_list":
            return [self.expression(node, path)]
        values = [self.expression(child, path) for child in node.named_children]
        return values[0] if len(values) == 1 and isinstance(values[0], list) else values

    def expression(self, node: tree_sitter.Node, path: Path) -> Value:
        text = name_of(node)
        if node.type in ("int_literal", "number_literal"):
            return integer(int(text))
        if node.type in ("true", "false"):
            return z3.BoolVal(text == "true")
        if node.type == "identifier":
            return path.env[text]
        if node.type in ("parenthesized_expression", "condition_clause"):
            return self.expression(node.named_children[0], path)
        if node.type in ("selector_expression", "field_expression"):
            holder, member = self.member(node)
            value = path.env[holder]
            return value["xy".index(member)] if isinstance(value, list) else value[member]
        handler = getattr(self, f"on_{node.type}", None)
        if handler is None:
            raise UnsupportedError(f"expression {node.type}: {text}")
        return handler(node, path)

    @staticmethod
    def member(node: tree_sitter.Node) -> tuple[str, str]:
        holder = node.child_by_field_name("operand") or node.child_by_field_name("argument")
        return name_of(holder), name_of(node.child_by_field_name("field"))

    def on_unary_expression(self, node: tree_sitter.Node, path: Path) -> Value:
        value = self.expression(node.child_by_field_name("operand"), path)
        sign = name_of(node.child_by_field_name("operator"))
        if sign == "*":  # `b := *a`
            return value
        if sign == "!":
            return z3.Not(value)
        raise UnsupportedError(name_of(node))

    def on_binary_expression(self, node: tree_sitter.Node, path: Path) -> Value:
        left, right = (
            self.expression(node.child_by_field_name(n), path) for n in ("left", "right")
        )
        return self.binary(name_of(node.child_by_field_name("operator")), left, right, path, node)

    def binary(self, sign: str, a: Value, b: Value, path: Path, node: tree_sitter.Node) -> Value:
        if sign == "&&":
            return z3.And(a, b)
        if sign in COMPARISONS:
            return COMPARISONS[sign](a, b)
        if sign not in ARITHMETIC:
            raise UnsupportedError(f"operator {sign}")
        value = z3.simplify(ARITHMETIC[sign](a, b))
        if sign in "/%":
            self.trace.divisors.append((path.condition, b, name_of(node)))
        else:
            self.trace.results.append((path.condition, value, name_of(node)))
        return value

    def on_conditional_expression(self, node: tree_sitter.Node, path: Path) -> Value:
        test = self.expression(node.child_by_field_name("condition"), path)
        sides = []
        for name, side in zip(("consequence", "alternative"), self.split(test, path), strict=True):
            child = node.child_by_field_name(name)
            sides.append(None if side is None else self.expression(child, side))
        if None in sides:
            return sides[0] if sides[1] is None else sides[1]
        return merge(test, sides[0], sides[1])

    def on_call_expression(self, node: tree_sitter.Node, path: Path) -> Value:
        function = node.child_by_field_name("function")
        values = [
            self.expression(c, path) for c in node.child_by_field_name("arguments").named_children
        ]
        if function.type == "selector_expression":  # a method
            holder, name = self.member(function)
            return self.function(name, [path.env[holder], *values], path.condition)
        name = name_of(function)
        if name in ("min", "max"):
            a, b = values
            return z3.simplify(z3.If(a <= b if name == "min" else a >= b, a, b))
        if name == "int2":
            return values
        return self.function(name, values, path.condition)

    def on_composite_literal(self, node: tree_sitter.Node, path: Path) -> Value:
        kind = name_of(node.child_by_field_name("type"))
        fields = dict.fromkeys(self.source.structs[kind], integer(0))
        elements = node.child_by_field_name("body").named_children
        for index, element in enumerate(elements):
            if element.type == "keyed_element":
                key, item = element.named_children
                fields[name_of(key)] = self.expression(item.named_children[0], path)
            else:
                fields[list(fields)[index]] = self.expression(element.named_children[0], path)
        return fields


def merge_results(condition: z3.BoolRef, yes: Value, no: Value) -> Value:
    if isinstance(yes, list):
        return [merge(condition, a, b) for a, b in zip(yes, no, strict=True)]
    return merge(condition, yes, no)


def z3_check(condition: z3.BoolRef) -> z3.CheckSatResult:
    solver = z3.Solver()
    solver.set("timeout", 2000)
    solver.add(condition)
    return solver.check()


def statements(block: tree_sitter.Node) -> Iterator[tree_sitter.Node]:
    for child in block.named_children:
        if child.type == "statement_list":
            yield from statements(child)
        elif child.type != "comment":
            yield child


def walk(node: tree_sitter.Node) -> Iterator[tree_sitter.Node]:
    yield node
    for child in node.children:
        yield from walk(child)
