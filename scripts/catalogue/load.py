"""Read every data file of a checkout into one `Catalogue`, with every problem found on the way.

The only door to the data: nothing else opens an entry, a technique page or a result. Files that passed are kept in
a cache keyed by the hash of their bytes and of this package's source, as plain JSON that is validated again when read.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from scripts.catalogue.explain import problems_of
from scripts.catalogue.files import write_atomically
from scripts.catalogue.model import Paper, Record, Run, Technique
from scripts.catalogue.problems import Problem
from scripts.catalogue.yaml_text import YamlError, decode, read

R = TypeVar("R", bound=Record)
_FENCE = "---\n"


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
    problems: list[Problem] = field(default_factory=list)


def load_catalogue(root: Path, *, use_cache: bool = True) -> Catalogue:
    """Read entries/, techniques/ and results/ below `root`; never raises for what a data file holds."""
    catalogue = Catalogue(root)
    reader = _Reader(root, use_cache, catalogue.problems)
    for path in _files(root / "entries", ".yaml"):
        paper = reader.read_yaml(path, Paper)
        if paper and _unique(catalogue, path.stem, reader.name(path)):
            catalogue.entries[path.stem] = Entry(path.stem, reader.name(path), paper)
    for path in _files(root / "techniques", ".md"):
        if page := reader.read_page(path):
            catalogue.pages[page.slug] = page
    for path in _files(root / "results", ".json"):
        if run := reader.read_run(path):
            catalogue.runs[reader.name(path)] = run
    reader.save()
    return catalogue


def _unique(catalogue: Catalogue, key: str, file: str) -> bool:
    if twin := catalogue.entries.get(key):
        hint = "rename one of the files; keys are permanent addresses"
        catalogue.problems.append(Problem(file, 1, 1, "", f'the key "{key}" is taken by {twin.file}', hint))
    return twin is None


def _files(folder: Path, suffix: str) -> list[Path]:
    # Sorted, so that every later step sees one order. Symbolic links are not followed: a link in a stranger's
    # pull request could point anywhere.
    return sorted(path for path in folder.rglob(f"*{suffix}") if path.is_file() and not path.is_symlink())


def slug_of(path: Path) -> str:
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

    def name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def read_yaml(self, path: Path, model: type[R]) -> R | None:
        content = path.read_bytes()
        return self._cached(content, model) or self._parse(path, content, model)

    def read_page(self, path: Path) -> Page | None:
        try:
            text = decode(path.read_bytes()).replace("\r\n", "\n")
        except YamlError as error:
            self._report(path, error)
            return None
        end = text.find("\n" + _FENCE, len(_FENCE) - 1)
        if not text.startswith(_FENCE) or end < 0:
            hint = "begin the file with `---`, the fields, and another line `---`"
            self.problems.append(Problem(self.name(path), 1, 1, "", "has no front matter", hint))
            return None
        front, body = text[len(_FENCE) : end + 1], text[end + 1 + len(_FENCE) :]
        technique = self._parse(path, front.encode(), Technique, first_line=2)
        slug = slug_of(path.relative_to(self.root / "techniques"))
        body_line = text.count("\n", 0, end + 1 + len(_FENCE)) + 1
        return Page(slug, self.name(path), technique, body, body_line) if technique else None

    def read_run(self, path: Path) -> Run | None:
        try:
            return Run.model_validate_json(path.read_bytes())
        except ValidationError as error:
            self.problems.extend(problems_of(error, Run, self.name(path), {}))
            return None

    def save(self) -> None:
        if self.cache_file and self.used.keys() != self.known.keys():
            content = json.dumps({"version": _code_version(), "files": self.used}, ensure_ascii=False)
            write_atomically(self.cache_file, content)

    def _load_cache(self) -> dict[str, str]:
        try:
            stored = json.loads(self.cache_file.read_bytes()) if self.cache_file else {}
        except (OSError, ValueError):  # absent, or cut short by a full disk: as good as empty
            return {}
        fits = isinstance(stored, dict) and stored.get("version") == _code_version()
        return stored["files"] if fits else {}

    def _cached(self, content: bytes, model: type[R]) -> R | None:
        digest = hashlib.blake2b(content, digest_size=16).hexdigest()
        stored = self.known.get(digest)
        if stored is None:
            return None
        self.used[digest] = stored
        return model.model_validate_json(stored)

    def _parse(self, path: Path, content: bytes, model: type[R], first_line: int = 1) -> R | None:
        try:
            text = decode(content)
            record = model.model_validate(read(text).data)
        except YamlError as error:
            self._report(path, error, first_line)
            return None
        except ValidationError as error:
            spots = read(text, with_spots=True).spots
            self.problems.extend(_shifted(problems_of(error, model, self.name(path), spots), first_line))
            return None
        if model is Paper:
            digest = hashlib.blake2b(content, digest_size=16).hexdigest()
            self.used[digest] = record.model_dump_json(exclude_defaults=True)
        return record

    def _report(self, path: Path, error: YamlError, first_line: int = 1) -> None:
        found = Problem(self.name(path), error.line, error.column, "", error.message, error.hint)
        self.problems.extend(_shifted([found], first_line))


def _shifted(problems: Iterable[Problem], first_line: int) -> Iterator[Problem]:
    for found in problems:
        yield Problem(found.file, found.line + first_line - 1, found.column, found.field, found.message, found.hint)
