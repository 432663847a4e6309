"""The modules of reference_impls/ as pages show them: read from their headers as text, so that nothing of them runs."""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

FIELDS = ("Paper", "Idea", "Simplified", "Differs", "Cost", "Checked against")
"""The fields of a module's header that a page shows; every module with a header has them, which a test holds."""

_FIELD = re.compile(r"^([A-Z][a-z]+(?: [a-z]+)?): ", re.MULTILINE)


@dataclass(frozen=True)
class ImplementationView:
    """One module: its import path, first line, header fields, and where its source can be read."""

    module: str
    title: str
    fields: list[tuple[str, str]]
    source_url: str
    lines: int


def implementations(root: Path, family: str, repo_url: str) -> list[ImplementationView]:
    """Every module of a family that has a header, by name."""
    found = []
    for path in sorted((root / "reference_impls" / family).glob("*.py")):
        text = path.read_text("utf-8")
        doc = ast.get_docstring(ast.parse(text)) or ""
        fields = header_fields(doc)
        if not set(FIELDS) <= set(fields):
            continue  # a helper of the family, or its face
        found.append(
            ImplementationView(
                module=f"reference_impls.{family}.{path.stem}",
                title=" ".join(doc[: doc.find("\n\n")].split()),
                fields=[(name, fields[name]) for name in FIELDS],
                source_url=f"{repo_url}/blob/main/reference_impls/{family}/{path.name}",
                lines=text.count("\n"),
            )
        )
    return found


def header_fields(doc: str) -> dict[str, str]:
    """The `Name: text` fields of a docstring, each up to the next, white space folded."""
    parts = _FIELD.split(doc)
    return {name: " ".join(text.split()) for name, text in zip(parts[1::2], parts[2::2], strict=True)}
