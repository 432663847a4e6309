"""The library's reference: every public class and function with what its docstring says, read as syntax, never run."""

import ast
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pygments

from scripts.website.implementations import FIELDS, header_fields
from scripts.website.outline import MemberOutline, outline_of
from scripts.website.remember import Memory

EXAMPLES = "site/examples"
HIGHLIGHTED = Memory("highlighted", [Path(__file__)], f"pygments {pygments.__version__}")


@dataclass(frozen=True)
class Member:
    """A public class or function; of a class also its public methods."""

    anchor: str
    signature: str
    paragraphs: list[str]
    methods: list[tuple[str, str]]


@dataclass(frozen=True)
class ModuleReference:
    """A module: what its header says, and what it offers."""

    name: str
    path: str
    title: str
    text: list[str]
    fields: list[tuple[str, str]]
    members: list[Member]
    source_url: str


@dataclass(frozen=True)
class FamilyReference:
    """A package of the library; `modules` begins with the face, its __init__."""

    name: str
    title: str
    modules: list[ModuleReference]

    @property
    def href(self) -> str:
        """Its page, from the site's root."""
        return f"reference/{self.name}/"

    @property
    def count(self) -> int:
        """Public names in all modules."""
        return sum(len(module.members) for module in self.modules)


@dataclass(frozen=True)
class Example:
    """A program of site/examples/, which a test runs."""

    anchor: str
    title: str
    text: list[str]
    html: str
    """Its code, marked up; everything in it is escaped."""
    source_url: str


def families(root: Path, repo_url: str, commit: str | None) -> list[FamilyReference]:
    """Every package below reference_impls/, by name. Benchmarks are not part of the face."""
    blob = f"{repo_url}/blob/{commit or 'main'}"
    found = []
    for folder in sorted((root / "reference_impls").glob("*/")):
        if not (folder / "__init__.py").exists():
            continue
        paths = [path for path in sorted(folder.glob("*.py")) if not path.stem.startswith(("bench", "peer"))]
        modules = [_module(path, folder.name, blob) for path in paths]
        modules = [module for module in modules if module.members or module.path == f"reference_impls.{folder.name}"]
        found.append(FamilyReference(folder.name, modules[0].title, modules))
    return found


def _module(path: Path, family: str, blob: str) -> ModuleReference:
    outline = outline_of(path.read_text("utf-8"))
    title, _, rest = outline.doc.partition("\n\n")
    fields = header_fields(outline.doc)
    is_face = path.stem == "__init__"
    return ModuleReference(
        name=family if is_face else path.stem,
        path=f"reference_impls.{family}" + ("" if is_face else f".{path.stem}"),
        title=" ".join(title.split()),
        text=[] if fields else _paragraphs(rest),
        fields=[(name, fields[name]) for name in (*FIELDS, "Symbols") if name in fields],
        members=[_member(one, path.stem) for one in outline.members],
        source_url=f"{blob}/reference_impls/{family}/{path.name}",
    )


def _member(one: MemberOutline, module: str) -> Member:
    return Member(f"{module}.{one.name}", one.signature, _paragraphs(one.doc), one.methods)


def _paragraphs(doc: str) -> list[str]:
    return [part for part in (part.strip("\n") for part in doc.split("\n\n")) if part.strip()]


def _highlight(code: str) -> str:
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    html: str = highlight(code, PythonLexer(), HtmlFormatter(nowrap=True))
    return html


def examples(root: Path, repo_url: str, commit: str | None) -> list[Example]:
    """Every example, by file name. Its docstring tells what it shows."""
    found = []
    for path in sorted((root / EXAMPLES).glob("*.py")):
        code = path.read_text("utf-8")
        doc = ast.get_docstring(ast.parse(code)) or path.stem
        title, _, rest = doc.partition("\n\n")
        body = code.split('"""', 2)[-1].strip("\n") + "\n"
        html = HIGHLIGHTED.get(body.encode(), partial(_highlight, body))
        url = f"{repo_url}/blob/{commit or 'main'}/{EXAMPLES}/{path.name}"
        found.append(Example(path.stem.replace("_", "-"), title.rstrip("."), _paragraphs(rest), html, url))
    return found
