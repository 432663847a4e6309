"""The modules of reference_impls/ as pages show them: docstring and syntax alone, so that nothing of them runs."""

import ast
import re
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

FIELDS = ("Paper", "Idea", "Simplified", "Differs", "Cost", "Checked against")
"""The fields of a module's header that a page shows; every module with a header has them, which a test holds."""

_FIELD = re.compile(r"^([A-Z][a-z]+(?: [a-z]+)?): ", re.MULTILINE)
_ARXIV = re.compile(r"\b\d{4}\.\d{4,5}")
_QUOTED = re.compile(r'"([^"]{12,})"')


@dataclass(frozen=True)
class ImplementationView:
    """One module: its import path, first line, header fields, public face, and where source and test can be read."""

    name: str
    module: str
    title: str
    fields: list[tuple[str, str]]
    arxiv: tuple[str, ...]
    """Ids of the papers that the header names."""
    titles: tuple[str, ...]
    """Titles that it names in quotation marks, of works without an id."""
    face: list[tuple[str, str]]
    """Signature and first line of what it says, of every public class and function."""
    source_url: str
    test_url: str
    lines: int

    @property
    def reference_href(self) -> str:
        """Its section of the library's reference, from the site's root."""
        _, family, name = self.module.split(".")
        return f"reference/{family}/#{name}"


def implementations(root: Path, family: str, repo_url: str, commit: str | None = None) -> list[ImplementationView]:
    """Every module of a family that has a header, by name; links lead to the commit, or to `main` without one."""
    blob, tree = (f"{repo_url}/{kind}/{commit or 'main'}" for kind in ("blob", "tree"))
    found = []
    for path in sorted((root / "reference_impls" / family).glob("*.py")):
        text = path.read_text("utf-8")
        syntax = syntax_of(text)
        doc = ast.get_docstring(syntax) or ""
        fields = header_fields(doc)
        if not set(FIELDS) <= set(fields):
            continue  # a helper of the family, or its face
        test = f"tests/{family}/test_{path.stem}.py"
        found.append(
            ImplementationView(
                name=path.stem,
                module=f"reference_impls.{family}.{path.stem}",
                title=" ".join(doc[: doc.find("\n\n")].split()),
                fields=[(name, fields[name]) for name in FIELDS],
                arxiv=tuple(dict.fromkeys(_ARXIV.findall(fields["Paper"]))),
                titles=tuple(_QUOTED.findall(fields["Paper"])),
                face=list(public_face(syntax)),
                source_url=f"{blob}/reference_impls/{family}/{path.name}",
                test_url=f"{blob}/{test}" if (root / test).exists() else f"{tree}/tests/{family}",
                lines=text.count("\n"),
            )
        )
    return found


@lru_cache(maxsize=1024)
def syntax_of(code: str) -> ast.Module:
    """The syntax of a module, which several pages read and none may change."""
    return ast.parse(code)


def header_fields(doc: str) -> dict[str, str]:
    """The `Name: text` fields of a docstring, each up to the next, white space folded."""
    parts = _FIELD.split(doc)
    return {name: " ".join(text.split()) for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def public_face(syntax: ast.Module) -> Iterator[tuple[str, str]]:
    """(signature, first line of its docstring) of every public class and function, in their order."""
    return ((signature, _first_line(node)) for node, signature in public_members(syntax))


def public_members(syntax: ast.Module) -> Iterator[tuple[ast.FunctionDef | ast.ClassDef, str]]:
    """Every public class and function with its signature, in their order."""
    for node in syntax.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node, f"{node.name}{_signature(node.args, node.returns)}"
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield node, f"{node.name}{_constructor(node)}"


def _first_line(node: ast.FunctionDef | ast.ClassDef) -> str:
    doc = ast.get_docstring(node) or ""
    return " ".join(doc.partition("\n\n")[0].split())


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
