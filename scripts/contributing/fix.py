"""Bring entries into the one form that the tools write, with what the author plainly meant put right.

Nothing is guessed: a repair changes how a fact is written, never the fact. Comments stay. A file is written only if
reading it again gives the same data, the repairs apart.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from scripts.catalogue.comments import with_comments
from scripts.catalogue.dump import SCHEMA_LINE, dump
from scripts.catalogue.model import Paper
from scripts.catalogue.text_rules import check_arxiv, check_doi
from scripts.catalogue.venues import canonical_venue
from scripts.catalogue.yaml_text import Path as FieldPath
from scripts.catalogue.yaml_text import Spot, YamlError, decode, read

_ARXIV = re.compile(
    r"(?:https?://arxiv\.org/(?:abs|pdf)/|arxiv:\s*)?([0-9]{4}\.[0-9]{4,5})(?:v[0-9]+)?(?:\.pdf)?", re.I
)
_DOI_PREFIX = re.compile(r"^(?:https?://)?(?:dx\.)?doi\.org/|^doi:\s*", re.I)


@dataclass(frozen=True)
class Fixed:
    """What became of one file: the text it should hold, and what was changed, in words."""

    text: str
    changes: list[str] = field(default_factory=list)
    problem: str = ""
    """Why it could not be brought into the tools' form; what could be repaired still was."""


def fix(content: bytes) -> Fixed:
    """The form that an entry should have. Raises YamlError for bytes that are no text."""
    text = decode(content)
    changes = []
    plain = _plain_text(text)
    if plain != text:
        changes.append("line ends, tabs and blanks at the ends of lines")
    try:
        repaired, repairs = _repair(plain)
        paper = Paper.model_validate(read(repaired).data)
    except YamlError as error:
        return Fixed(plain, changes, f"line {error.line}: {error.message}; {error.hint}")
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        return Fixed(repaired, changes + repairs, f"{where}: see `python -m scripts check`")
    changes += repairs
    new = _in_form(repaired, paper)
    if new is None:
        return Fixed(repaired, changes, "a comment stands where the tools' form has no place for it")
    if new != repaired:
        changes.append("order of fields, quotes and line breaks")
    return Fixed(new, changes)


def _plain_text(text: str) -> str:
    lines = [line.rstrip() for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    lines = [re.sub(r"^[ \t]*\t[ \t]*", lambda found: found.group().replace("\t", "  "), line) for line in lines]
    return "\n".join(lines).strip("\n") + "\n"


def _in_form(text: str, paper: Paper) -> str | None:
    """The paper as the tools write it, with the comments of the text; None where one has no place."""
    try:
        new = with_comments(text, dump(paper))
    except (yaml.YAMLError, YamlError):
        return None
    if new is None or Paper.model_validate(read(new).data) != paper:
        return None
    return new if new.startswith(SCHEMA_LINE) else SCHEMA_LINE + new


def _repair(text: str) -> tuple[str, list[str]]:
    """Write anew the scalars whose meaning is beyond doubt; -> the text and what was done."""
    document = read(text, with_spots=True)
    done = []
    for path, wanted in _repairs(document.data, document.spots):
        spot = document.spots[path]
        changed = _replace(text, spot, wanted)
        if changed is not None and changed != text:
            done.append(f"{'.'.join(map(str, path))}: {spot.raw} became {wanted}")
            text = changed
            document = read(text, with_spots=True)
    return text, done


def _repairs(data: Any, spots: dict[FieldPath, Spot]) -> Iterator[tuple[FieldPath, str]]:
    rules: dict[FieldPath, Callable[[str], str | None]] = {
        ("year",): _number,
        ("published", "year"): _number,
        ("preprint", "arxiv"): _arxiv,
        ("published", "doi"): _doi,
        ("published", "venue"): _venue,
    }
    for path, rule in rules.items():
        raw = spots[path].raw if path in spots else None
        wanted = rule(raw) if raw else None
        if wanted is not None and _at(data, path) != read(wanted).data:
            yield path, wanted


def _at(data: Any, path: FieldPath) -> Any:
    for part in path:
        data = data[part]
    return data


def _number(raw: str) -> str | None:
    return raw if re.fullmatch(r"[0-9]{4}", raw) else None


def _arxiv(raw: str) -> str | None:
    found = _ARXIV.fullmatch(raw.strip())
    try:
        return f'"{check_arxiv(found[1])}"' if found else None
    except ValueError:
        return None


def _doi(raw: str) -> str | None:
    bare = _DOI_PREFIX.sub("", raw.strip())
    try:
        return f'"{check_doi(bare)}"'
    except ValueError:
        return None


def _venue(raw: str) -> str | None:
    known = canonical_venue(raw)
    return f'"{known}"' if known else None


def _replace(text: str, spot: Spot, wanted: str) -> str | None:
    """The text with one scalar written anew, where it stands on one line as it reads; None elsewhere."""
    lines = text.split("\n")
    line, start = lines[spot.line - 1], spot.column - 1
    for written in (spot.raw or "", f'"{spot.raw}"', f"'{spot.raw}'"):
        if written and line.startswith(written, start):
            lines[spot.line - 1] = line[:start] + wanted + line[start + len(written) :]
            return "\n".join(lines)
    return None


def fix_files(root: Path, paths: list[str]) -> Iterator[tuple[str, Fixed, bytes]]:
    """Every entry below the paths given (all by default) with what it should hold and what it holds."""
    wanted = [root / path for path in paths] or [root / "entries"]
    files = {file for path in wanted for file in (path.rglob("*.yaml") if path.is_dir() else [path])}
    for file in sorted(file for file in files if not file.is_symlink()):  # `check` refuses links
        content = file.read_bytes()
        name = file.relative_to(root).as_posix()
        try:
            yield name, fix(content), content
        except YamlError as error:
            yield name, Fixed("", [], f"line {error.line}: {error.message}; {error.hint}"), content
