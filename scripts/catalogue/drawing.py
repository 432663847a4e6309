"""Drawings beside technique pages: SVG from strangers, read by an allow-list, with line and column of what is wrong.

A page shows one with `![caption](name.svg)` on a line of its own. What passes holds shapes, text and classes alone: no
style, script, link, entity or address, so that it may stand inside a page and takes the page's colours.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import NamedTuple
from xml.parsers import expat

from scripts.catalogue.problems import Problem
from scripts.catalogue.text_rules import SLUG, check_line, check_prose
from scripts.catalogue.yaml_text import YamlError, decode

SIZE_LIMIT = 20_000
"""Bytes; a drawing of one idea needs a tenth of it."""
DEPTH_LIMIT = 20
WIDTH = 640
NAMESPACE = "http://www.w3.org/2000/svg"

CLASSES = frozenset({"ink", "muted", "faint", "paper", *(f"{kind}{n}" for kind in "cs" for n in range(1, 7))})
SHAPES = frozenset({"path", "rect", "circle", "ellipse", "line", "polyline", "polygon"})
TEXTS = frozenset({"text", "tspan", "title", "desc"})
"""Elements that hold words."""
CHILDREN = {
    "svg": SHAPES | {"title", "desc", "defs", "g", "text"},
    "g": SHAPES | {"g", "text"},
    "defs": frozenset({"marker"}),
    "marker": SHAPES,
    "text": frozenset({"tspan"}),
    "tspan": frozenset({"tspan"}),
}
"""What may stand inside what; all other elements hold no others."""
ELEMENTS = frozenset(CHILDREN).union(*CHILDREN.values())

_NUMBER = r"[+-]?(\d{1,5}(\.\d{0,4})?|\.\d{1,4})"
_SHARE = r"(0?\.\d{1,4}|0|1|1\.0)"
_NUMBERS = r"[\d\s,.eE+-]+"
_ID = rf"(?=[a-z]){SLUG}"
_MARKER = rf"url\(#{_ID}\)"
_MOVES = rf"(\s*(translate|scale|rotate|skewX|skewY|matrix)\({_NUMBERS}\)\s*)+"

_PATTERNS = {
    "class": r"[a-z0-9 ]+",
    "id": _ID,
    "transform": _MOVES,
    "d": r"[MmLlHhVvCcSsQqTtAaZz\d\s,.eE+-]+",
    "points": _NUMBERS,
    "fill": "none",
    "stroke": "none",
    "fill-rule": "evenodd|nonzero",
    "stroke-dasharray": _NUMBERS,
    "stroke-linecap": "butt|round|square",
    "stroke-linejoin": "miter|round|bevel",
    "text-anchor": "start|middle|end",
    "dominant-baseline": "auto|middle|central|hanging|alphabetic",
    "font-size": r"(1[2-9]|2[0-8])(\.\d{1,2})?",
    "font-weight": "normal|bold|[4-7]00",
    "font-style": "normal|italic",
    "font-family": "monospace|serif|sans-serif",
    "marker-start": _MARKER,
    "marker-mid": _MARKER,
    "marker-end": _MARKER,
    **dict.fromkeys(("x", "y", "x1", "y1", "x2", "y2", "cx", "cy", "r", "rx", "ry", "dx", "dy"), _NUMBER),
    **dict.fromkeys(("width", "height", "stroke-width", "letter-spacing"), _NUMBER),
    **dict.fromkeys(("opacity", "fill-opacity", "stroke-opacity"), _SHARE),
}
_OF_SVG = {"xmlns": re.escape(NAMESPACE), "viewBox": rf"0 0 {WIDTH} [1-9]\d{{1,2}}(\.\d+)?", "class": r"[a-z0-9 ]+"}
_OF_MARKER = {
    "id": _ID,
    "viewBox": rf"{_NUMBER}( {_NUMBER}){{3}}",
    "markerUnits": "strokeWidth|userSpaceOnUse",
    "orient": rf"auto|auto-start-reverse|{_NUMBER}",
    **dict.fromkeys(("markerWidth", "markerHeight", "refX", "refY"), _NUMBER),
}
_OWN: dict[str, dict[str, str]] = {"svg": _OF_SVG, "marker": _OF_MARKER, "title": {}, "desc": {}, "defs": {}}


def attributes_of(element: str) -> dict[str, str]:
    """The attributes that an element may have, with the pattern of each value."""
    return _OWN.get(element, _PATTERNS)


_compiled = cache(re.compile)


class Mark(NamedTuple):
    """Where something stands in the file."""

    line: int
    column: int


@dataclass
class Element:
    """An element that passed: its attributes in order, and its text and elements in theirs."""

    name: str
    attributes: dict[str, str]
    mark: Mark
    content: "list[Element | str]" = field(default_factory=list)

    def elements(self) -> "Iterator[Element]":
        """It and every element inside, each before its own."""
        yield self
        for item in self.content:
            if isinstance(item, Element):
                yield from item.elements()

    def words(self) -> str:
        """Its own text, blanks folded."""
        return " ".join("".join(item for item in self.content if isinstance(item, str)).split())


@dataclass(frozen=True)
class Drawing:
    """An SVG file below techniques/ that passed: `file` relative to the checkout."""

    file: str
    root: Element


@dataclass(frozen=True)
class Image:
    """An image in a page's Markdown."""

    caption: str
    name: str
    """What it points to; nothing where that is said elsewhere, as in `![a][b]`."""
    markup: str
    line: int
    """Index of the line in the body, from 0."""
    start: int
    """Index in the line."""
    is_alone: bool
    """Whether it has the line to itself."""


_IMAGE = re.compile(r"!\[((?:[^\]\\]|\\.)*)\](?:\(\s*([^)]*?)\s*\)|\[[^\]]*\])")
_FENCE = re.compile(r"\s{0,3}(`{3,}|~{3,})")


@lru_cache(maxsize=1024)  # asked by several checks and by the build
def images(body: str) -> tuple[Image, ...]:
    """Every image of a page, outside its code."""
    return tuple(_images(body)) if "![" in body else ()


def _images(body: str) -> Iterator[Image]:
    for index, line, without_code in _prose_lines(body):
        for found in _IMAGE.finditer(without_code):
            markup, caption = line[found.start() : found.end()], line[found.start(1) : found.end(1)]
            yield Image(caption.strip(), found[2] or "", markup, index, found.start(), markup == line.rstrip())


def without_images(body: str) -> str:
    """The same text with blanks where images are."""
    lines = body.split("\n")
    for one in images(body):
        before, after = lines[one.line][: one.start], lines[one.line][one.start + len(one.markup) :]
        lines[one.line] = before + " " * len(one.markup) + after
    return "\n".join(lines)


def _prose_lines(body: str) -> Iterator[tuple[int, str, str]]:
    """Lines outside fences: (index, line, the same with its code blanked)."""
    fence = ""
    lines = body.split("\n")
    for index, (line, blanked) in enumerate(zip(lines, without_code(lines), strict=True)):
        opened = _FENCE.match(line)
        if fence:
            fence = "" if opened and opened[1].startswith(fence) and line.strip() == opened[1] else fence
        elif opened:
            fence = opened[1]
        else:
            yield index, line, blanked


def without_code(lines: Iterable[str]) -> Iterator[str]:
    """Every line with its `code` blanked where it is code beyond doubt.

    A span may begin on one line and end on a later one, and then what looks like code between two backquotes is not:
    from a line that leaves a backquote open, doubles or escapes one, nothing of its paragraph is blanked.
    """
    doubtful = False
    for line in lines:
        unclear = "``" in line or "\\`" in line or line.count("`") % 2 == 1
        doubtful = (doubtful and bool(line.strip())) or unclear
        yield line if doubtful else re.sub(r"`[^`]*`", lambda code: "`" * len(code.group()), line)


def read_drawing(file: str, content: bytes) -> tuple[Drawing | None, list[Problem]]:
    """Read an SVG file; -> (the drawing unless something is wrong with it, what is wrong)."""
    reader = _Reader(file)
    reader.read(content)
    return (None if reader.problems or not reader.root else Drawing(file, reader.root)), reader.problems


class _Refused(Exception):  # noqa: N818 never seen outside
    """Raised inside expat's callbacks to stop reading."""


class _Reader:
    """Builds the tree of allowed elements and collects what is not allowed."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.root: Element | None = None
        self.open: list[Element] = []
        self.ignored = 0
        """How deep inside an element that is not allowed."""
        self.parser = expat.ParserCreate("utf-8")
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.parser.StartDoctypeDeclHandler = self._refuse("a document type", "delete the <!DOCTYPE …> line")
        self.parser.EntityDeclHandler = self._refuse("an entity", "write the character itself")
        self.parser.ProcessingInstructionHandler = self._refuse("a processing instruction", "delete it")

    def read(self, content: bytes) -> None:
        """Read the whole file."""
        if len(content) > SIZE_LIMIT:
            size = f"is {len(content):,} bytes long; {SIZE_LIMIT:,} at most"
            return self._complain(Mark(1, 1), size, "draw less, round coordinates, or group what repeats")
        try:
            self.parser.Parse(decode(content).encode(), True)
        except YamlError as error:
            return self._complain(Mark(error.line, error.column), error.message, error.hint)
        except expat.ExpatError as error:
            what = expat.errors.messages[error.code]
            return self._complain(Mark(error.lineno, error.offset + 1), f"is no XML: {what}", "close and quote it")
        except _Refused:
            return None
        if self.root and not self.problems:
            self._check_whole(self.root)
        return None

    def _refuse(self, what: str, hint: str) -> Callable[..., None]:
        def refuse(*_: object) -> None:
            self._complain(self._here(), f"holds {what}", hint)
            raise _Refused

        return refuse

    def _here(self) -> Mark:
        return Mark(self.parser.CurrentLineNumber, self.parser.CurrentColumnNumber + 1)

    def _complain(self, mark: Mark, message: str, hint: str) -> None:
        self.problems.append(Problem(self.file, mark.line, mark.column, "", message, hint))

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        mark = self._here()
        if self.ignored or not self._is_allowed(name, mark):
            self.ignored += 1
            return
        element = Element(name, attributes, mark)
        for attribute, value in attributes.items():
            self._check_attribute(element, attribute, value)
        if self.open:
            self.open[-1].content.append(element)
        else:
            self.root = element
        self.open.append(element)

    def _is_allowed(self, name: str, mark: Mark) -> bool:
        above = self.open[-1].name if self.open else None
        if name not in ELEMENTS:
            known = ", ".join(sorted(ELEMENTS))
            self._complain(mark, f"the element <{name[:40]}> is not allowed", f"use {known}")
        elif above is None and name != "svg":
            self._complain(mark, f"begins with <{name}>", f'begin with <svg xmlns="{NAMESPACE}" …>')
        elif above and name not in CHILDREN.get(above, ()):
            allowed = ", ".join(sorted(CHILDREN.get(above, ()))) or "nothing"
            self._complain(mark, f"<{name}> stands inside <{above}>", f"<{above}> holds {allowed}")
        elif len(self.open) >= DEPTH_LIMIT:
            self._complain(mark, f"elements are nested more than {DEPTH_LIMIT} deep", "flatten the groups")
        else:
            return True
        return False

    def _check_attribute(self, element: Element, name: str, value: str) -> None:
        patterns = attributes_of(element.name)
        if name not in patterns:
            hint = f"<{element.name}> may have {', '.join(sorted(patterns)) or 'none'}"
            if name in ("style", "color"):
                hint = "colour by class: " + ", ".join(sorted(CLASSES))
            self._complain(element.mark, f"the attribute {name[:40]} is not allowed on <{element.name}>", hint)
        elif not _compiled(patterns[name]).fullmatch(value):
            self._complain(element.mark, f'{name}="{value[:60]}" is not allowed', _expected(name, patterns[name]))
        elif name == "class" and (unknown := sorted(set(value.split()) - CLASSES)):
            self._complain(element.mark, f'unknown class "{unknown[0]}"', f"known: {', '.join(sorted(CLASSES))}")

    def _end(self, _: str) -> None:
        if self.ignored:
            self.ignored -= 1
        else:
            self.open.pop()

    def _text(self, text: str) -> None:
        if self.ignored or not text.strip():
            if self.open and self.open[-1].name in TEXTS and not self.ignored:
                self.open[-1].content.append(" ")
            return
        element = self.open[-1]
        if element.name not in TEXTS:
            self._complain(self._here(), f"words stand inside <{element.name}>", "put them into <text>")
            return
        try:
            (check_prose if element.name == "desc" else check_line)(" ".join(text.split()))
        except ValueError as error:
            message, _, hint = str(error).partition("; ")
            self._complain(self._here(), f"the text {message}", hint)
        element.content.append(text)

    def _check_whole(self, root: Element) -> None:
        """What only the whole file shows: its size on the page, its words for those who do not see it, its ids."""
        for name in ("xmlns", "viewBox"):
            if name not in root.attributes:
                value = NAMESPACE if name == "xmlns" else f"0 0 {WIDTH} HEIGHT"
                self._complain(root.mark, f"<svg> lacks {name}", f'add {name}="{value}"')
        parts = [item for item in root.content if isinstance(item, Element)]
        for at, (name, use) in enumerate((("title", "names the figure"), ("desc", "says what it shows"))):
            found = [item for item in parts if item.name == name]
            if len(found) != 1 or not found[0].words() or parts.index(found[0]) != at:
                hint = f"begin with <title>…</title><desc>…</desc>; <{name}> {use}, for readers who do not see it"
                self._complain(root.mark, f"needs one <{name}> with words as element {at + 1} of <svg>", hint)
        self._check_ids(root)

    def _check_ids(self, root: Element) -> None:
        ids: dict[str, Element] = {}
        for element in root.elements():
            name = element.attributes.get("id")
            if name in ids:
                self._complain(element.mark, f'the id "{name}" is given twice', "give each id once")
            elif name:
                ids[name] = element
        for element in root.elements():
            for name, value in element.attributes.items():
                target = value[5:-1] if name.startswith("marker-") else None
                if target and (target not in ids or ids[target].name != "marker"):
                    self._complain(element.mark, f'{name} names "{target}", which is no <marker> here', "define it")


def _expected(name: str, pattern: str) -> str:
    if name in ("fill", "stroke"):
        return f'colour by class; {name}="none" alone is allowed'
    words = {_NUMBER: "a number without unit", _NUMBERS: "numbers", _SHARE: "a number from 0 to 1", _ID: "a-z, 0-9, -"}
    words |= {_MARKER: "url(#the-id-of-a-marker)", _MOVES: "translate(…), scale(…), rotate(…)"}
    special = {"viewBox": f'"0 0 {WIDTH} HEIGHT"', "font-size": "12 to 28, best 14 to 16", "xmlns": NAMESPACE}
    plain = pattern.replace("|", ", ") if re.fullmatch(r"[a-z|-]+", pattern) else ""
    return "expected " + (special.get(name) or words.get(pattern) or plain or "plain coordinates")
