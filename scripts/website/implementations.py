"""The modules of reference_impls/ as pages show them: docstring and syntax alone, so that nothing of them runs."""

import re
from dataclasses import dataclass
from pathlib import Path

from scripts.website.outline import outline_of

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
        if not all(f"{name}: " in text for name in FIELDS):
            continue  # before its syntax is read, which takes long
        outline = outline_of(text)
        doc, fields = outline.doc, header_fields(outline.doc)
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
                face=[(member.signature, member.first_line) for member in outline.members],
                source_url=f"{blob}/reference_impls/{family}/{path.name}",
                test_url=f"{blob}/{test}" if (root / test).exists() else f"{tree}/tests/{family}",
                lines=text.count("\n"),
            )
        )
    return found


def header_fields(doc: str) -> dict[str, str]:
    """The `Name: text` fields of a docstring, each up to the next, white space folded."""
    parts = _FIELD.split(doc)
    return {name: " ".join(text.split()) for name, text in zip(parts[1::2], parts[2::2], strict=True)}
