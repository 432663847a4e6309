"""The comments of a YAML file: where they stand, and how they move along when the file is written anew."""

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import yaml

from scripts.catalogue.yaml_text import LOADER, Path, read

Place = tuple[int, int]
"""Line and column, both from 0."""


@dataclass(frozen=True)
class Comment:
    """One comment, from its `#` to the end of its line. alone: nothing but blanks stands before it."""

    line: int
    column: int
    text: str
    alone: bool


def comments(text: str) -> list[Comment]:
    """Every comment of a document, in order. Raises yaml.YAMLError where it is not YAML."""
    scalars = sorted(_scalars(text))
    starts = [start for start, _ in scalars]
    found = []
    for number, line in enumerate(text.split("\n")):
        for sign in re.finditer(r"(?:(?<=\s)|^)#", line):
            at = bisect_right(starts, (number, sign.start())) - 1
            if at < 0 or (number, sign.start()) >= scalars[at][1]:
                before = line[: sign.start()]
                found.append(Comment(number, sign.start(), line[sign.start() :].rstrip(), not before.strip()))
                break
    return found


def _scalars(text: str) -> Iterator[tuple[Place, Place]]:
    """Where each scalar begins and ends; of a folded one, the line of its sign `>-` is no part of it."""
    for event in yaml.parse(text, Loader=LOADER):
        if isinstance(event, yaml.ScalarEvent):
            start, end = cast("tuple[Any, Any]", (event.start_mark, event.end_mark))  # scalars always have both
            if event.style in (">", "|"):
                yield (start.line + 1, 0), (end.line, end.column)
            else:
                yield (start.line, start.column), (end.line, end.column)


def with_comments(old: str, new: str) -> str | None:
    """The new text with the comments of the old: each stays with the field that it stands at or before.

    None where one of them would be lost or would say something else.
    """
    kept = comments(old)
    present = Counter(comment.text for comment in comments(new))
    missing = []
    for comment in kept:
        if present[comment.text]:
            present[comment.text] -= 1  # the line that names the schema
        else:
            missing.append(comment)
    if not missing:
        return new
    result = _placed(missing, _fields(old), dict(_reversed(_fields(new))), new)
    same = Counter(one.text for one in comments(result)) >= Counter(one.text for one in kept)
    return result if same and read(result).data == read(new).data else None


def _fields(text: str) -> list[tuple[int, Path]]:
    """The line, from 0, at which each field begins, in order; a deeper one after what holds it."""
    spots = read(text, with_spots=True).spots
    return sorted(
        ((spot.line - 1, path) for path, spot in spots.items() if path), key=lambda item: (item[0], len(item[1]))
    )


def _reversed(fields: list[tuple[int, Path]]) -> Iterator[tuple[Path, int]]:
    return ((path, line) for line, path in fields)


def _placed(missing: list[Comment], old: list[tuple[int, Path]], new: dict[Path, int], text: str) -> str:
    lines = text.split("\n")
    ends: dict[int, list[str]] = {}
    before: dict[int, list[str]] = {}
    for comment in missing:
        target = _target(comment, old, new)
        if target is None or (not comment.alone and target >= len(lines)):
            before.setdefault(len(lines) - 1, []).append(comment.text)
        elif comment.alone:
            margin = " " * (len(lines[target]) - len(lines[target].lstrip(" ")))
            before.setdefault(target, []).append(margin + comment.text)
        else:
            ends.setdefault(target, []).append(comment.text)
    written = []
    for number, line in enumerate(lines):
        written += before.get(number, [])
        written.append("  ".join([line, *ends.get(number, [])]))
    return "\n".join(written)


def _target(comment: Comment, old: list[tuple[int, Path]], new: dict[Path, int]) -> int | None:
    """The line of the new text that a comment belongs to: that of its own field, or of the next one still there."""
    for line, path in old:
        if (line > comment.line or (line == comment.line and not comment.alone)) and path in new:
            return new[path]
    return None
