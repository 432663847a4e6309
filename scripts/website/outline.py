"""What a module of reference_impls/ says of itself: docstrings and signatures, read as syntax, never run."""

import ast
from collections.abc import Iterator
from copy import copy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scripts.website.remember import Memory

OUTLINES = Memory("outlines", [Path(__file__)])


@dataclass(frozen=True)
class MemberOutline:
    """A public class or function. methods: signature and first line of what it says, of each public one of a class."""

    name: str
    signature: str
    doc: str
    methods: list[tuple[str, str]]

    @property
    def first_line(self) -> str:
        """The first paragraph of what it says, on one line."""
        return _first_line(self.doc)


@dataclass(frozen=True)
class Outline:
    """A module's docstring and its public classes and functions, in their order."""

    doc: str
    members: list[MemberOutline]


def outline_of(code: str) -> Outline:
    """The outline of a module. Reading syntax takes a build longer than all else about modules, so it is kept."""
    found = OUTLINES.get(code.encode(), lambda: asdict(_outline(ast.parse(code))))
    return Outline(found["doc"], [_member_of(fields) for fields in found["members"]])


def _member_of(fields: dict[str, Any]) -> MemberOutline:
    return MemberOutline(**fields | {"methods": [(signature, line) for signature, line in fields["methods"]]})


def _outline(syntax: ast.Module) -> Outline:
    return Outline(ast.get_docstring(syntax) or "", [_member(node, told) for node, told in _public(syntax.body)])


def _member(node: ast.FunctionDef | ast.ClassDef, signature: str) -> MemberOutline:
    methods = []
    if isinstance(node, ast.ClassDef):
        methods = [
            (told, _first_line(ast.get_docstring(method) or ""))
            for method, told in _public(node.body)
            if isinstance(method, ast.FunctionDef)
        ]
    return MemberOutline(node.name, signature, ast.get_docstring(node) or "", methods)


def _first_line(doc: str) -> str:
    return " ".join(doc.partition("\n\n")[0].split())


def _public(body: list[ast.stmt]) -> Iterator[tuple[ast.FunctionDef | ast.ClassDef, str]]:
    """Every public class and function with its signature, in their order."""
    for node in body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node, f"{node.name}{_signature(node.args, node.returns)}"
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield node, f"{node.name}{_constructor(node)}"


def _signature(arguments: ast.arguments, returns: ast.expr | None) -> str:
    return f"({ast.unparse(arguments)})" + (f" -> {ast.unparse(returns)}" if returns else "")


def _constructor(node: ast.ClassDef) -> str:
    """A dataclass is called with its fields, another class with the arguments of its __init__."""
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            without_self = copy(item.args)
            without_self.args = item.args.args[1:]
            return _signature(without_self, None)
    if not any("dataclass" in ast.unparse(one) for one in node.decorator_list):
        return ""
    fields = [item for item in node.body if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)]
    return f"({', '.join(ast.unparse(item) for item in fields)})"
