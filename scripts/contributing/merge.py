"""Make one entry of two that are the same work; the address of the one that goes leads to the one that stays."""

import re
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from scripts.catalogue.addresses import add_redirect, paper_href
from scripts.catalogue.comments import with_comments
from scripts.catalogue.dump import dump
from scripts.catalogue.files import write_atomically
from scripts.catalogue.load import Catalogue, Entry, load_catalogue
from scripts.catalogue.model import Paper

_FACTS = (
    *("authors", "preprint.arxiv", "url", "code", "summary", "checked"),
    *(f"published.{name}" for name in ("venue", "year", "doi", "url", "title")),
)
_LISTS = ("also_titled", "techniques", "saves", "claims", "sources", "distinct_from", "corrections")


class MergeError(ValueError):
    """The two cannot be merged; the message says why and what to do."""


@dataclass
class Merged:
    """What the merged entry says, and what was decided on the way."""

    paper: Paper
    taken: list[str] = field(default_factory=list)
    """Fields that the duplicate had and the kept one lacked."""
    dropped: list[str] = field(default_factory=list)
    """Facts of the duplicate that differ from those kept."""


def merge(root: Path, gone: str, kept: str, today: date, keep: bool = False) -> tuple[Merged, list[str]]:
    """Merge the entry `gone` into `kept`; -> what came of it and the files written.

    keep: where the two differ in a fact, that of `kept` stands. Raises MergeError otherwise.
    """
    catalogue = load_catalogue(root)
    duplicate, entry = (_entry(catalogue, key) for key in (gone, kept))
    if gone == kept:
        raise MergeError("name two entries")
    merged = combined(entry, duplicate, today)
    if merged.dropped and not keep:
        raise MergeError(
            f"the two differ: {'; '.join(merged.dropped)}. Correct one of them, or give --keep to let {kept} stand"
        )
    target = root / entry.file
    text = with_comments(target.read_text("utf-8"), dump(merged.paper))
    if text is None:
        raise MergeError(f"{entry.file} holds a comment without a place in the merged file; take it away first")
    # In an order that leaves every state readable: the duplicate goes last.
    write_atomically(target, text)
    add_redirect(root, paper_href(gone), paper_href(kept))
    changed = [entry.file, "site/redirects.yaml", *_relinked(root, catalogue, gone, kept)]
    (root / duplicate.file).unlink()
    return merged, [*changed, duplicate.file]


def _entry(catalogue: Catalogue, key: str) -> Entry:
    if key not in catalogue.entries:
        raise MergeError(f'there is no readable entry "{key}"')
    return catalogue.entries[key]


def combined(entry: Entry, duplicate: Entry, today: date) -> Merged:
    """The kept entry with what only the duplicate says."""
    own, other = (one.paper.model_dump(exclude_defaults=True) for one in (entry, duplicate))
    result = Merged(entry.paper)
    for name in _FACTS:
        mine, theirs = _get(own, name), _get(other, name)
        if mine is None and theirs is not None:
            _set(own, name, theirs)
            result.taken.append(name)
        elif theirs is not None and mine != theirs and name not in ("summary", "checked"):
            result.dropped.append(f"{name} is {_short(mine)} in {entry.key} and {_short(theirs)} in {duplicate.key}")
    if other["title"].casefold() != own["title"].casefold():
        other.setdefault("also_titled", []).append(other["title"])
    for name in _LISTS:
        if new := _new_items(own.get(name, []), other.get(name, [])):
            own[name] = [*own.get(name, []), *new]
            result.taken.append(name)
    own["distinct_from"] = [key for key in own.get("distinct_from", []) if key not in (entry.key, duplicate.key)]
    if "reviewed" in (own["level"], other["level"]) and own.get("summary"):
        own["level"] = "reviewed"
    notes = [own.get("note"), other.get("note")]
    own["note"] = "; ".join(dict.fromkeys(filter(None, notes))) or None
    merge_note = {"date": today, "what": f"merged with the entry {duplicate.key}, which was the same work"}
    own["corrections"] = [*own.get("corrections", []), merge_note]
    result.paper = Paper.model_validate({name: value for name, value in own.items() if value not in (None, [])})
    return result


def _get(data: dict[str, Any], name: str) -> Any:
    head, _, tail = name.partition(".")
    value = data.get(head)
    return (value or {}).get(tail) if tail else value


def _set(data: dict[str, Any], name: str, value: Any) -> None:
    head, _, tail = name.partition(".")
    if tail:
        data.setdefault(head, {})[tail] = value
    else:
        data[head] = value


def _short(value: Any) -> str:
    text = f"{len(value)} people" if isinstance(value, list) else str(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _new_items(own: list[Any], other: list[Any]) -> list[Any]:
    """Items of the other list that the own one lacks; a claim whose id is taken gets another."""
    taken = {item["id"] for item in own if isinstance(item, dict) and "id" in item}
    new = []
    for item in other:
        if item in own:
            continue
        if isinstance(item, dict) and item.get("id") in taken:
            item = item | {"id": f"{item['id'][:56]}-{len(taken) + 1}"}
        new.append(item)
    return new


def _relinked(root: Path, catalogue: Catalogue, gone: str, kept: str) -> list[str]:
    """Let everything that named the duplicate name the kept entry; -> the files changed."""
    link = re.compile(rf"\]\(paper:{re.escape(gone)}\)")
    named = re.compile(rf"(?<![\w-]){re.escape(gone)}(?![\w-])")
    changed = []
    for page in [page.file for page in catalogue.pages.values()]:
        text = (root / page).read_text("utf-8")
        if link.search(text):
            write_atomically(root / page, link.sub(f"](paper:{kept})", text))
            changed.append(page)
    for entry in catalogue.entries.values():
        if gone in entry.paper.distinct_from and entry.key not in (gone, kept):
            lines = (root / entry.file).read_text("utf-8").split("\n")
            lines = [named.sub(kept, line) if line.startswith(("distinct_from:", "  - ")) else line for line in lines]
            write_atomically(root / entry.file, "\n".join(lines))
            changed.append(entry.file)
    return changed
