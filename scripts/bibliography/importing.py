"""Bring a bibliography into the catalogue: what is new becomes a file, what is known is reported, nothing is lost."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from scripts.bibliography.draft import Draft, make_key, to_paper
from scripts.bibliography.read_bibtex import read_bibtex
from scripts.bibliography.read_csv import read_csv
from scripts.catalogue.cross_checks import fold_title
from scripts.catalogue.dump import dump
from scripts.catalogue.explain import problems_of
from scripts.catalogue.files import write_atomically
from scripts.catalogue.load import Catalogue
from scripts.catalogue.model import Paper, Publication, Record
from scripts.catalogue.problems import Problem
from scripts.catalogue.yaml_text import YamlError, decode

READERS: dict[str, Callable[[str, str], tuple[list[Draft], list[Problem]]]] = {".bib": read_bibtex, ".csv": read_csv}
BIBLIOGRAPHIC = ("title", "also_titled", "authors", "authors_cut", "year", "published", "preprint", "url", "code")
"""The fields that `--update` may change; what people wrote (summary, claims, notes) is never touched."""


@dataclass
class Import:
    """What an import did, or with `dry_run` would do."""

    added: dict[str, Paper] = field(default_factory=dict)
    updated: dict[str, Paper] = field(default_factory=dict)
    unchanged: list[str] = field(default_factory=list)
    known: list[tuple[int, str, str]] = field(default_factory=list)  # (line, title, key of the entry it is)
    problems: list[Problem] = field(default_factory=list)


def import_file(path: Path, catalogue: Catalogue, techniques: Iterable[str] = (), *, update: bool = False) -> Import:
    """Read a .bib or .csv file against a catalogue; -> what is to be written. Writes nothing itself.

    techniques: for the works whose own record names none. Raises ValueError for another kind of file.
    """
    reader = READERS.get(path.suffix.casefold())
    if reader is None:
        raise ValueError(f'{path}: expected a file ending in {" or ".join(READERS)}, got "{path.suffix}"')
    try:
        text = decode(path.read_bytes(), limit=None)
    except YamlError as error:
        return Import(problems=[Problem(str(path), error.line, error.column, "", error.message, error.hint)])
    drafts, problems = reader(text, str(path))
    result = Import(problems=problems)
    index = Index(catalogue)
    for draft in drafts:
        draft.techniques = draft.techniques or list(techniques)
        paper = _paper(draft, str(path), result.problems)
        if paper is None:
            continue
        key = index.find(paper)
        if key is None:
            key = make_key(paper, index.keys, draft.key)
            index.add(key, paper)
            result.added[key] = paper
        elif key in result.added or not update:
            result.known.append((draft.line, paper.title, key))
        else:
            _update(key, result.updated.get(key, catalogue.entries[key].paper), paper, result)
    return result


def write(result: Import, catalogue: Catalogue) -> list[Path]:
    """Write the new and updated entries, each whole or not at all; -> the files."""
    written = []
    for key, paper in (result.added | result.updated).items():
        path = catalogue.root / "entries" / str(paper.year) / f"{key}.yaml"
        if key in result.added and path.exists():  # written by someone else since the catalogue was read
            raise FileExistsError(f"{path} exists; nothing is overwritten")
        write_atomically(path, dump(paper))
        written.append(path)
        old = catalogue.entries.get(key)
        if old and catalogue.root / old.file != path:  # the year was corrected
            (catalogue.root / old.file).unlink()
    return written


def _paper(draft: Draft, file: str, problems: list[Problem]) -> Paper | None:
    name = draft.key or draft.title[:40]
    try:
        paper: Paper | None = to_paper(draft)
    except ValidationError as error:
        paper = None
        for found in problems_of(error, Paper, file, {}):
            message = f"skipped: {found.field}: {found.message}" if found.field else f"skipped: {found.message}"
            problems.append(Problem(file, draft.line, 1, name, message, _import_hint(found)))
    except ValueError as error:
        paper = None
        problems.append(Problem(file, draft.line, 1, name, f"skipped: {error}", "mend it and import again"))
    problems.extend(Problem(file, draft.line, 1, name, warning, "", "warning") for warning in draft.warnings)
    return paper


def _import_hint(found: Problem) -> str:
    return "name one with --technique" if found.field == "techniques" else found.hint


def _update(key: str, old: Paper, new: Paper, result: Import) -> None:
    changes = _told(new, BIBLIOGRAPHIC)
    if "authors" in changes:
        changes["authors_cut"] = new.authors_cut
    if old.published and new.published:  # field by field: a record without DOI does not take the DOI away
        changes["published"] = old.published.model_copy(update=_told(new.published, Publication.model_fields))
    merged = old.model_copy(update=changes)
    merged = merged.model_copy(update={"year": _first_year(merged, old.year)})
    if merged == old:
        result.unchanged.append(key)
    else:
        result.updated[key] = merged


def _first_year(paper: Paper, before: int) -> int:
    """The first public year by the dates of both versions; `before` where an article was online the year before."""
    if paper.arxiv:
        return min(2000 + int(paper.arxiv[:2]), (paper.published and paper.published.year) or paper.year)
    return before if before == paper.year - 1 else paper.year


def _told(record: Record, names: Iterable[str]) -> dict[str, Any]:
    """The fields that a record says something about."""
    fields = type(record).model_fields
    return {name: value for name in names if (value := getattr(record, name)) != fields[name].default}


class Index:
    """Finds the entry that a work already has, by arXiv id, DOI or title."""

    def __init__(self, catalogue: Catalogue) -> None:
        # Also of files that could not be read: they are not to be overwritten.
        self.keys = {path.stem for path in (catalogue.root / "entries").rglob("*.yaml")} | set(catalogue.entries)
        self.by_identity: dict[str, str] = {}
        for key, entry in catalogue.entries.items():
            self.add(key, entry.paper)

    def add(self, key: str, paper: Paper) -> None:
        """Remember a work under its key."""
        self.keys.add(key)
        for identity in _identities(paper):
            self.by_identity.setdefault(identity, key)

    def find(self, paper: Paper) -> str | None:
        """The key under which the work is known, if it is."""
        return next((self.by_identity[name] for name in _identities(paper) if name in self.by_identity), None)


def _identities(paper: Paper) -> list[str]:
    names = [f"arxiv:{paper.arxiv}"] if paper.arxiv else []
    names += [f"doi:{paper.doi.casefold()}"] if paper.doi else []
    return names + [f"title:{fold_title(title)}" for title in (paper.title, *paper.also_titled)]
