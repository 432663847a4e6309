"""Every address in the built site leads somewhere: to a file of the site, a place on a page, or out by http(s) or mail.

HTML is read by regular expressions, not by a parser: the pages come from our own templates, a parser takes several
times as long, and the faults that it would mend silently are html-validate's to report.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from posixpath import dirname, normpath
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from scripts.catalogue.problems import Problem

_INSIDE_TAG = r"""((?:[^>"']++|"[^"]*+"|'[^']*+')*+)"""
_COMMENT = "<!--.*?-->"
_TEXT_ELEMENT = rf"<(script|style)\b{_INSIDE_TAG}>.*?</\1\b"  # what it holds is no HTML
_OTHER_TAG = rf"<([a-z][^\s/>]*){_INSIDE_TAG}>"
_TAG = re.compile(f"{_COMMENT}|{_TEXT_ELEMENT}|{_OTHER_TAG}", re.DOTALL | re.IGNORECASE)
_ATTRIBUTE = re.compile(r"""([^\s=>"'/]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""")
_READ = frozenset({"href", "src", "srcset", "poster", "action", "data-figure", "rel", "id"})
_FETCHED = frozenset({"src", "srcset", "poster", "data-figure"})
_POINTING = frozenset({"canonical", "alternate", "describedby", "prev", "next", "license", "author", "help", "me"})
"""Relations of a <link> that a browser does not fetch when it shows the page."""

_WAYS_OUT = ("https", "http", "mailto")
_TEXTS = frozenset({".xml", ".json", ".txt"})
_NOT_OURS = ("pagefind/", "assets/")

Fault = tuple[int, str, str]
"""Offset in the file, "link -> target", what is wrong."""


class _Link(NamedTuple):
    at: int
    """Offset of the tag in the file."""
    address: str
    fetched: bool
    """Whether showing the page makes the browser request it."""


@dataclass
class _Page:
    links: list[_Link] = field(default_factory=list)
    ids: dict[str, int] = field(default_factory=dict)
    repeated: list[tuple[int, str]] = field(default_factory=list)


def check_links(public: Path, site_url: str) -> list[Problem]:
    """Every broken address of the site in `public`, which is served at `site_url`, in the order of the files."""
    return sorted(_Checker(public, site_url).problems())


class _Checker:
    def __init__(self, public: Path, site_url: str) -> None:
        self.public, self.site_url = public, site_url
        self.base = urlsplit(site_url).path
        self.absolute = re.compile(re.escape(site_url) + r"[^\s\"'<>()\[\]{}&,`|\\]*")
        self.files = {path.relative_to(public).as_posix() for path in public.rglob("*") if path.is_file()}
        self.folders = {folder for file in self.files for folder in _above(file)}
        self.pages: dict[str, _Page] = {}

    def problems(self) -> Iterator[Problem]:
        """All that is wrong, unsorted."""
        for file in self.files:
            if file.endswith(".html"):
                self.pages[file] = _read_page(self._text(file))
        for file in self.files:
            if file.endswith(".html") or (Path(file).suffix in _TEXTS and not file.startswith(_NOT_OURS)):
                text = self._text(file)
                yield from _located(file, text, self._faults(file, text))

    def _faults(self, file: str, text: str) -> Iterator[Fault]:
        yield from self._absolute_faults(text)
        if file in self.pages:
            yield from self._page_faults(file, self.pages[file])
        if file.startswith("figures/") and file.endswith(".json"):
            yield from self._figure_faults(text)

    def _text(self, file: str) -> str:
        return (self.public / file).read_text("utf-8")

    def _page_faults(self, file: str, page: _Page) -> Iterator[Fault]:
        for at, name in page.repeated:
            yield at, f"#{name}", "is the id of more than one element of this page"
        folder = dirname(file)
        for link in page.links:
            if link.address.startswith(self.site_url):
                if link.fetched:
                    yield link.at, link.address, "is fetched by its full address; write it relative to the page"
                continue  # found again by _absolute_faults, wherever it stands
            if scheme := _scheme(link.address):
                fault = _outside(scheme, link)
                target = ""
            else:
                target, fault = self._inside(folder, file, link.address)
            if fault:
                yield link.at, f"{link.address} -> {target}" if target else link.address or '""', fault

    def _inside(self, folder: str, file: str, address: str) -> tuple[str, str]:
        """Follow a relative address; -> (target, what is wrong or nothing)."""
        if not address:
            return "", "is empty; link to something or leave it out"
        path, _, fragment = address.partition("#")
        path = unquote(path.partition("?")[0])
        if not path:
            return file, self._no_place(file, fragment)
        if path.startswith("/"):
            if not path.startswith(self.base):
                return path, f"leads out of the site, which lies at {self.base}"
            target = normpath("./" + path.removeprefix(self.base))
        else:
            target = normpath(f"{folder}/{path}" if folder else path)
        if target.startswith(".."):
            return target, "leads out of the site's root"
        is_folder = path.endswith("/") or path.rpartition("/")[2] in (".", "..")
        return self._target(target, fragment, is_folder)

    def _target(self, target: str, fragment: str, is_folder: bool) -> tuple[str, str]:
        if is_folder:
            target = "index.html" if target == "." else f"{target}/index.html"
        if target in self.files:
            return target, self._no_place(target, fragment)
        if target in self.folders:
            return target, 'is a folder; write a "/" after it'
        return target, "no such file in the site"

    def _no_place(self, file: str, fragment: str) -> str:
        if fragment in ("", "top") or file not in self.pages or unquote(fragment) in self.pages[file].ids:
            return ""
        return f'the page has no element with id "{unquote(fragment)}"'

    def _absolute_faults(self, text: str) -> Iterator[Fault]:
        """Full addresses of this site, wherever they stand: attributes, prose, JSON, XML."""
        for match in self.absolute.finditer(text):
            address = match.group().rstrip(".,;:!?*")
            path, _, fragment = address.removeprefix(self.site_url).partition("#")
            path = unquote(path.partition("?")[0])
            target, fault = self._target(normpath(path), fragment, path.endswith("/") or not path)
            if fault:
                yield match.start(), f"{address} -> {target}", fault

    def _figure_faults(self, text: str) -> Iterator[Fault]:
        """Where a click on a point of a figure leads: its customdata, a path from the site's root."""
        for trace in json.loads(text)["data"]:
            data = trace.get("customdata", ())
            for address in [data] if isinstance(data, str) else data:
                target, fault = self._inside("", "", address) if isinstance(address, str) else ("", "")
                if fault:
                    yield text.find(json.dumps(address, ensure_ascii=False)), f"{address} -> {target}", fault


def _read_page(html: str) -> _Page:
    """The links and ids of a page."""
    page = _Page()
    for match in _TAG.finditer(html):
        _, of_text_element, tag, of_other = match.groups()
        if not (text := of_text_element or of_other):
            continue
        found = [(low, a or b or c) for name, a, b, c in _ATTRIBUTE.findall(text) if (low := name.lower()) in _READ]
        shown = tag == "link" and not _POINTING.intersection(dict(found).get("rel", "").lower().split())
        for name, raw in found:
            value = unescape(raw) if "&" in raw else raw
            if name == "id":
                if value in page.ids:
                    page.repeated.append((match.start(), value))
                page.ids.setdefault(value, match.start())
            elif name == "srcset":
                page.links += [_Link(match.start(), part.split()[0], True) for part in value.split(",") if part.strip()]
            elif name != "rel":
                page.links.append(_Link(match.start(), value.strip(), name in _FETCHED or shown))
    return page


def _scheme(address: str) -> str:
    """The scheme of an address that leaves the site; "//" where it takes the page's own; nothing for a relative one."""
    if address.startswith("//"):
        return "//"
    found = re.match(r"\s*([a-zA-Z][a-zA-Z0-9+.\s-]*):", address)
    return found[1].lower() if found else ""


def _outside(scheme: str, link: _Link) -> str:
    """What is wrong with a link out of the site, or nothing."""
    if link.fetched:
        return "" if scheme == "data" else "would be fetched from another site; nothing may be"
    return "" if scheme in _WAYS_OUT else f"leads out of the site by {scheme}; only {', '.join(_WAYS_OUT)} may"


def _above(file: str) -> Iterator[str]:
    while file := dirname(file):
        yield file


def _located(file: str, text: str, faults: Iterator[Fault]) -> Iterator[Problem]:
    """Faults with their line and column."""
    for at, link, what in faults:
        line_start = text.rfind("\n", 0, max(at, 0)) + 1
        yield Problem(f"public/{file}", text.count("\n", 0, max(at, 0)) + 1, max(at, 0) - line_start + 1, link, what)
