"""Read every data file of a checkout into one `Catalogue`, with every problem found on the way.

The only door to the data: nothing else opens an entry, a technique page or a result. Files that passed are kept in
a cache keyed by the hash of their bytes and of this package's source, as plain JSON that is validated again when read.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TypeVar

from pydantic import ValidationError

from scripts.catalogue.drawing import Drawing, read_drawing
from scripts.catalogue.explain import problems_of
from scripts.catalogue.files import write_atomically
from scripts.catalogue.model import Paper, Record, Run, Technique, Vouched
from scripts.catalogue.problems import Problem
from scripts.catalogue.yaml_text import YamlError, decode, read

R = TypeVar("R", bound=Record)
_BESIDE = {
    "entries/schema.json",
    "entries/README.md",
    "techniques/systems/serving-cloud/schedule-timeline.json",  # scripts.draw_schedule makes the drawing of it
}
_FENCE = "---\n"
VOUCHED = "results/vouched.yaml"
MAX_RUN_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Entry:
    """A paper and where it is kept: `file` relative to the checkout, `key` from the file's name."""

    key: str
    file: str
    paper: Paper


@dataclass(frozen=True)
class Page:
    """A technique and its prose: `slug` is the path under techniques/, `file` relative to the checkout."""

    slug: str
    file: str
    technique: Technique
    body: str
    body_line: int


@dataclass
class Catalogue:
    """Everything the data files say, and what is wrong with them."""

    root: Path
    entries: dict[str, Entry] = field(default_factory=dict)
    pages: dict[str, Page] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    """Of machines that a maintainer vouches for; of all, where results/vouched.yaml is missing."""
    submissions: dict[str, Run] = field(default_factory=dict)
    """Of other machines: shown apart, and no verdict rests on them."""
    drawings: dict[str, Drawing | None] = field(default_factory=dict)
    """SVG files beside the pages by path in the checkout; None where something is wrong with one."""
    problems: list[Problem] = field(default_factory=list)


def load_catalogue(root: Path, *, use_cache: bool = True) -> Catalogue:
    """Read entries/, techniques/ and results/ below `root`; never raises for what a data file holds."""
    catalogue = Catalogue(root)
    reader = _Reader(root, use_cache, catalogue.problems)
    for file in reader.files("entries", ".yaml"):
        paper = reader.read_yaml(file, Paper)
        key = PurePosixPath(file).stem
        if paper and reader.is_free(key, file, catalogue.entries.get(key)):
            catalogue.entries[key] = Entry(key, file, paper)
    for file in reader.files("techniques", ".md", ".svg"):
        if file.endswith(".svg"):
            catalogue.drawings[file] = reader.read_drawing(file)
            continue
        page = reader.read_page(file)
        if page and reader.is_free(page.slug, file, catalogue.pages.get(page.slug)):
            catalogue.pages[page.slug] = page
    is_there = (root / VOUCHED).exists() and not (root / VOUCHED).is_symlink()  # a link is reported with the results
    vouched = reader.read_yaml(VOUCHED, Vouched) if is_there else None
    for file in reader.files("results", ".json"):
        if run := reader.read_run(file):
            counts = vouched is None or run.machine.name in vouched.machines
            (catalogue.runs if counts else catalogue.submissions)[file] = run
    reader.save()
    return catalogue


def _walk(folder: Path, name: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Everything below a folder with its name relative to the checkout, in one order; links are not followed."""
    with os.scandir(folder) as found:
        items = sorted(found, key=lambda item: item.name)
    for item in items:
        if item.is_dir(follow_symlinks=False):
            yield from _walk(folder / item.name, f"{name}/{item.name}")
        else:
            yield f"{name}/{item.name}", item


def slug_of(path: PurePosixPath) -> str:
    """The slug of a technique page from its path relative to techniques/."""
    return "/".join((path.parent if path.name == "index.md" else path.with_suffix("")).parts)


@cache
def _code_version() -> str:
    """Hash of the sources that decide what a file means; a cache made by others is not used."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.blake2b(b"\0".join(path.read_bytes() for path in sources), digest_size=16).hexdigest()


class _Reader:
    """Reads single files, remembers what passed, collects what did not."""

    def __init__(self, root: Path, use_cache: bool, problems: list[Problem]) -> None:
        self.root, self.problems = root, problems
        self.cache_file = root / "build" / "cache" / "catalogue.json" if use_cache else None
        self.known = self._load_cache()
        self.used: dict[str, str] = {}

    def files(self, folder: str, *suffixes: str) -> Iterator[str]:
        """The files of one kind; what a contributor would wrongly believe to be read is reported."""
        if (self.root / folder).is_symlink():
            self._complain(folder, "is a symbolic link", "put the folder itself here")
            return
        if not (self.root / folder).is_dir():
            return
        for name, item in _walk(self.root / folder, folder):
            if item.is_symlink():  # a link in a stranger's pull request could point anywhere
                self._complain(name, "is a symbolic link", "put the file itself here")
            elif name.endswith(suffixes):
                yield name
            elif folder != "results" and not item.name.startswith(".") and name not in _BESIDE:
                wanted = " or ".join(suffixes)
                self._complain(name, f"is not read: only names ending in {wanted} are", f"rename it to end in {wanted}")

    def is_free(self, key: str, file: str, twin: Entry | Page | None) -> bool:
        """Whether no other file has the key; reports it if one has."""
        if twin:
            hint = "rename one of the files; keys are permanent addresses"
            self._complain(file, f'the key "{key}" is taken by {twin.file}', hint)
        return twin is None

    def read_yaml(self, file: str, model: type[R]) -> R | None:
        content = self._content(file)
        if content is None:
            return None
        return self._cached(content, model) or self._parse(file, content, model)

    def read_page(self, file: str) -> Page | None:
        content = self._content(file)
        if content is None:
            return None
        try:
            text = decode(content).replace("\r\n", "\n")
        except YamlError as error:
            self._report(file, error)
            return None
        end = text.find("\n" + _FENCE, len(_FENCE) - 1)
        if not text.startswith(_FENCE) or end < 0:
            hint = "begin the file with `---`, the fields, and another line `---`"
            self._complain(file, "has no front matter", hint)
            return None
        front, body = text[len(_FENCE) : end + 1], text[end + 1 + len(_FENCE) :]
        technique = self._parse(file, front.encode(), Technique, first_line=2)
        slug = slug_of(PurePosixPath(file).relative_to("techniques"))
        body_line = text.count("\n", 0, end + 1 + len(_FENCE)) + 1
        return Page(slug, file, technique, body, body_line) if technique else None

    def read_drawing(self, file: str) -> Drawing | None:
        content = self._content(file)
        if content is None:
            return None
        drawing, problems = read_drawing(file, content)
        self.problems.extend(problems)
        return drawing

    def read_run(self, file: str) -> Run | None:
        content = self._content(file)
        if content is not None and len(content) > MAX_RUN_BYTES:
            told = f"the file has {len(content):,} bytes; {MAX_RUN_BYTES:,} at most"
            self._complain(file, told, "submit one suite of one machine a file, as the bench writes it")
            return None
        try:
            return None if content is None else Run.model_validate_json(content)
        except ValidationError as error:
            self.problems.extend(problems_of(error, Run, file, {}))
            return None

    def save(self) -> None:
        if self.cache_file and self.used.keys() != self.known.keys():
            content = json.dumps({"version": _code_version(), "files": self.used}, ensure_ascii=False)
            with suppress(OSError):  # a checkout that cannot be written to is read in full each time
                write_atomically(self.cache_file, content)

    def _content(self, file: str) -> bytes | None:
        try:
            return (self.root / file).read_bytes()
        except OSError as error:
            self._complain(file, f"cannot be read: {error.strerror}", "look at its permissions")
            return None

    def _load_cache(self) -> dict[str, str]:
        try:
            stored = json.loads(self.cache_file.read_bytes()) if self.cache_file else {}
        except (OSError, ValueError, RecursionError):  # absent, or cut short by a full disk: as good as empty
            return {}
        fits = isinstance(stored, dict) and stored.get("version") == _code_version()
        files = stored.get("files") if fits else None
        return files if isinstance(files, dict) else {}

    def _cached(self, content: bytes, model: type[R]) -> R | None:
        digest = hashlib.blake2b(content, digest_size=16).hexdigest()
        stored = self.known.get(digest)
        if stored is None:
            return None
        try:
            record = model.model_validate_json(stored)
        except ValidationError:  # damaged
            return None
        self.used[digest] = stored
        return record

    def _parse(self, file: str, content: bytes, model: type[R], first_line: int = 1) -> R | None:
        try:
            text = decode(content)
            record = model.model_validate(read(text).data)
        except YamlError as error:
            self._report(file, error, first_line)
            return None
        except ValidationError as error:
            spots = read(text, with_spots=True).spots
            self.problems.extend(_shifted(problems_of(error, model, file, spots), first_line))
            return None
        if model is Paper:
            digest = hashlib.blake2b(content, digest_size=16).hexdigest()
            self.used[digest] = record.model_dump_json(exclude_defaults=True)
        return record

    def _report(self, file: str, error: YamlError, first_line: int = 1) -> None:
        found = Problem(file, error.line, error.column, "", error.message, error.hint)
        self.problems.extend(_shifted([found], first_line))

    def _complain(self, file: str, message: str, hint: str) -> None:
        self.problems.append(Problem(file, 1, 1, "", message, hint))


def _shifted(problems: Iterable[Problem], first_line: int) -> Iterator[Problem]:
    for found in problems:
        yield Problem(found.file, found.line + first_line - 1, found.column, found.field, found.message, found.hint)
