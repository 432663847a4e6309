"""YAML as the entries use it: mappings, lists and scalars, with the line and column of every field.

Stricter than `yaml.safe_load`, and faster: one pass over libyaml's events. Duplicate keys, anchors, aliases, tags,
several documents and deep nesting are refused, so nothing can expand, recurse or construct objects. Of the plain
scalars only null, true/false, integers, floats and ISO dates have a type: `no` is the word no.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import yaml

MAX_BYTES = 256 * 1024
MAX_DEPTH = 8
MAX_NODES = 20_000
# libyaml's parser where PyYAML was built with it, else the pure one: same events, ten times slower.
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,29})")
_FLOAT = re.compile(r"[-+]?([0-9]{1,30}\.[0-9]{0,30}|\.[0-9]{1,30}|[0-9]{1,30}(\.[0-9]{0,30})?[eE][-+]?[0-9]{1,3})")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff]")
_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}

_SCALAR = yaml.ScalarEvent
_NODES = (yaml.ScalarEvent, yaml.MappingStartEvent, yaml.SequenceStartEvent, yaml.AliasEvent)
_ENDS = {yaml.MappingEndEvent, yaml.SequenceEndEvent}

Path = tuple[str | int, ...]


class YamlError(ValueError):
    """The text is not YAML as the entries use it."""

    def __init__(self, message: str, hint: str, line: int, column: int) -> None:
        super().__init__(message)
        self.message, self.hint, self.line, self.column = message, hint, line, column


@dataclass(frozen=True)
class Spot:
    """Where a field stands: its line and column, and the scalar as written."""

    line: int
    column: int
    raw: str | None = None


@dataclass
class Document:
    """The plain data of a file and the spot of every field, by path."""

    data: Any
    spots: dict[Path, Spot] = field(default_factory=dict)


def decode(content: bytes, limit: int | None = MAX_BYTES) -> str:
    """UTF-8 text of a file; raises YamlError where it is too large, not UTF-8, or holds control characters."""
    if limit is not None and len(content) > limit:
        raise YamlError(f"the file has {len(content):,} bytes; {MAX_BYTES:,} at most", "shorten it", 1, 1)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - content.rfind(b"\n", 0, error.start)
        raise YamlError(
            f"byte 0x{content[error.start]:02x} is not UTF-8", "save the file as UTF-8", line, column
        ) from None
    if control := _CONTROL.search(text):
        line = text.count("\n", 0, control.start()) + 1
        column = control.start() - text.rfind("\n", 0, control.start())
        raise YamlError(f"holds the control character U+{ord(control.group()):04X}", "delete it", line, column)
    return text.removeprefix("\ufeff")


def read(text: str, *, with_spots: bool = False) -> Document:
    """Parse one document. Spots cost time, so they are kept on request only.

    Raises YamlError, with the line, for anything that is not plain data.
    """
    try:
        return _build(text, with_spots)
    except yaml.MarkedYAMLError as error:
        cut = "end of stream" in (error.problem or "")  # then the fault is where the quote or bracket opens
        mark = (cut and error.context_mark) or error.problem_mark or error.context_mark
        what = " ".join(part for part in (error.context, error.problem) if part)
        raise YamlError(
            f"not valid YAML: {what}",
            "put text that holds a colon in quotes"
            if "mapping values are not allowed" in what
            else "check indentation (blanks, no tabs), quotes and the space after each colon",
            mark.line + 1 if mark else 1,
            mark.column + 1 if mark else 1,
        ) from None
    except yaml.YAMLError as error:  # the scanner's own complaint about characters, which carries no mark
        raise YamlError(f"not valid YAML: {str(error).splitlines()[0]}", "delete the character", 1, 1) from None


def _build(text: str, with_spots: bool) -> Document:
    document = Document(None)
    spots = document.spots
    # One frame an open collection: (container, path, pending key). A list has no pending key.
    stack: list[tuple[Any, Path, list[str]]] = []
    nodes = documents = 0
    event: Any
    for event in _events(text):
        kind = type(event)
        if kind not in _NODES:
            if kind in _ENDS:
                stack.pop()
            elif kind is yaml.DocumentStartEvent:
                documents += 1
                if documents > 1:
                    raise _refused(event, "holds a second document", "delete the line `---` and what follows")
            continue
        nodes += 1
        if event.anchor is not None:
            raise _refused(event, "uses an anchor or alias (& or *)", "write the value out, or put it in quotes")
        if event.tag is not None and event.tag != "!":
            raise _refused(event, f"uses the tag {event.tag[:40]}", "write the plain value")
        if len(stack) > MAX_DEPTH:
            raise _refused(event, f"nests deeper than {MAX_DEPTH} levels", "no field needs that")
        if nodes > MAX_NODES:
            raise _refused(event, f"holds more than {MAX_NODES:,} values", "no entry needs that")
        value: Any
        raw = None
        if kind is _SCALAR:
            raw = event.value
            value = _scalar(raw) if event.implicit[0] else raw
        else:
            value = {} if kind is yaml.MappingStartEvent else []
        path = _place(stack, document, event, value, with_spots)
        if path is None:  # it was a key
            continue
        if with_spots:
            spots[path] = Spot(event.start_mark.line + 1, event.start_mark.column + 1, raw)
        if raw is None:
            stack.append((value, path, []))
    return document


def _events(text: str) -> Iterator[Any]:
    """As `yaml.parse`, which asks twice for each event."""
    loader = LOADER(text)
    try:
        while (event := loader.get_event()) is not None:
            yield event
    finally:
        loader.dispose()


def _place(
    stack: list[tuple[Any, Path, list[str]]], document: Document, event: Any, value: Any, with_path: bool
) -> Path | None:
    """Put a value where it belongs; -> its path, an empty one if nobody wants it, or None for a mapping's key."""
    if not stack:
        document.data = value
        return ()
    container, path, pending = stack[-1]
    if isinstance(container, list):
        container.append(value)
        return (*path, len(container) - 1) if with_path else ()
    if not pending:
        if type(event) is not _SCALAR:
            raise _refused(event, "uses a collection as a key", "write a plain word before the colon")
        key = event.value
        if key in container:
            raise _refused(event, f'the key "{key[:40]}" stands twice in one mapping', "keep one of the two")
        pending.append(key)
        return None
    key = pending.pop()
    container[key] = value
    return (*path, key) if with_path else ()


def _refused(event: Any, message: str, hint: str) -> YamlError:
    return YamlError(message, hint, event.start_mark.line + 1, event.start_mark.column + 1)


def _scalar(raw: str) -> Any:
    if raw in _WORDS:
        return _WORDS[raw]
    first = raw[0]
    if first.isdigit() or first in "+-.":
        if _INT.fullmatch(raw):
            return int(raw)
        if _FLOAT.fullmatch(raw):
            return float(raw)
        if _DATE.fullmatch(raw):
            try:
                return date.fromisoformat(raw)
            except ValueError:
                return raw
    return raw
