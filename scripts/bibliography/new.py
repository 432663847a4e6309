"""One new entry: looked up by its arXiv id or DOI where a network is at hand, else a template with blanks to fill."""

import re
import threading
from dataclasses import dataclass, field, replace
from datetime import date
from html import unescape
from importlib import import_module
from pathlib import Path
from typing import Any

from scripts.bibliography.draft import Draft, first_reason, make_key, to_paper
from scripts.bibliography.importing import Index
from scripts.bibliography.names import parse_names
from scripts.catalogue.cross_checks import fold_title, nearest_slug
from scripts.catalogue.dump import SCHEMA_LINE, dump, dump_field
from scripts.catalogue.files import write_atomically
from scripts.catalogue.load import Catalogue, load_catalogue
from scripts.catalogue.model import Author, Paper
from scripts.catalogue.text_rules import SLUG, check_arxiv, check_doi

PATIENCE_S = 8.0
"""How long a look-up may take in all."""

_ARXIV = re.compile(
    r"(?:(?:https?://)?(?:www\.|export\.)?arxiv\.org/(?:abs|pdf|html)/|arxiv:\s*"
    r"|(?:(?:https?://)?(?:dx\.)?doi\.org/|doi:\s*)?10\.48550/arxiv\.)?"
    r"([0-9]{4}\.[0-9]{4,5})(?:v[0-9]+)?(?:\.pdf)?/?",
    re.IGNORECASE,
)
_DOI = re.compile(r"(?:(?:https?://)?(?:dx\.)?doi\.org/|doi:\s*)?(10\.[0-9]{4,9}/.+)", re.IGNORECASE)
_BLANKS = {
    "title": "# title: the title as published, in quotes if it holds a colon\n",
    "authors": "# authors:\n#   - {family: the family name, given: the given names}\n",
    "year": "# year: year of the first public version; then move this file to entries/<year>/\n",
    "techniques": "# techniques: [path/of/a/page]  # one or more paths under techniques/, the main one first\n",
}


class NewEntryError(ValueError):
    """The entry cannot be made; the message says why and what to do."""


@dataclass(frozen=True)
class Wanted:
    """What the person said: an arXiv id or DOI, and the facts given by hand, which win over what is looked up."""

    identifier: str = ""
    key: str = ""
    title: str = ""
    authors: str = ""
    year: int | None = None
    techniques: list[str] = field(default_factory=list)


def create(root: Path, wanted: Wanted, lookup: bool = True) -> tuple[Path, list[str]]:
    """Write the file of a new work; -> the file, and the fields left to fill in. Raises NewEntryError."""
    catalogue = load_catalogue(root)
    index = Index(catalogue)
    _check_flags(wanted, catalogue, index)
    draft = _draft(wanted)
    names = [f"arxiv:{draft.arxiv}", f"doi:{draft.doi.casefold()}", f"title:{fold_title(draft.title) or None}"]
    _refuse_known(next((index.by_identity[name] for name in names if name in index.by_identity), None), catalogue)
    _paper(draft)  # what the person said must stand by itself
    draft, failed = _looked_up(draft, lookup)
    paper, blanks = _paper(draft)
    _refuse_known(index.find(paper), catalogue)
    identifier = f"arxiv-{paper.arxiv}" if paper.arxiv else ""
    key = make_key(paper, index.keys, wanted.key or ("" if draft.title else identifier))
    path = root / "entries" / str(paper.year) / f"{key}.yaml"
    write_atomically(path, _template(paper, blanks, failed, bool(wanted.key)) if blanks else dump(paper))
    return path, blanks


def _check_flags(wanted: Wanted, catalogue: Catalogue, index: Index) -> None:
    for slug in wanted.techniques:
        if slug not in catalogue.pages:
            near = nearest_slug(slug, catalogue)
            raise NewEntryError(f"there is no page techniques/{slug}.md; did you mean {near}?")
    if wanted.key and not re.fullmatch(rf"(?=.{{2,60}}$){SLUG}", wanted.key):
        raise NewEntryError(f'"{wanted.key}" is no key; use lower-case words of a-z and 0-9 joined by hyphens')
    if wanted.key in index.keys:
        entry = catalogue.entries.get(wanted.key)
        raise NewEntryError(
            f'the key "{wanted.key}" is taken by {entry.file if entry else "a broken file"}; give another'
        )


def _draft(wanted: Wanted) -> Draft:
    arxiv, doi = identifier_of(wanted.identifier)
    try:
        authors, cut = parse_names(wanted.authors)
    except ValueError as error:
        raise NewEntryError(f"--authors: {first_reason(error)}") from None
    if arxiv and wanted.year and wanted.year != 2000 + int(arxiv[:2]):
        raise NewEntryError(
            f"--year is {wanted.year}, but arXiv:{arxiv} is of {2000 + int(arxiv[:2])}; leave --year out"
        )
    return Draft(
        line=0,
        title=wanted.title,
        authors=authors,
        authors_cut=cut,
        year=wanted.year,
        arxiv=arxiv,
        doi=doi,
        techniques=list(wanted.techniques),
    )


def identifier_of(text: str) -> tuple[str, str]:
    """The arXiv id or the DOI that a text gives, as an id, a prefixed id or an address; two empty texts for none."""
    text = text.strip()
    try:
        if found := _ARXIV.fullmatch(text):
            return check_arxiv(found.group(1)), ""
        if found := _DOI.fullmatch(text):
            return "", check_doi(found.group(1))
    except ValueError as error:
        raise NewEntryError(str(error)) from None
    if text:
        raise NewEntryError(f'"{text[:80]}" is neither an arXiv id (2401.08092) nor a DOI (10.1145/3624743)')
    return "", ""


def _refuse_known(key: str | None, catalogue: Catalogue) -> None:
    if key:
        raise NewEntryError(f"the work has an entry, {catalogue.entries[key].file}; correct that one instead")


def _paper(draft: Draft) -> tuple[Paper, list[str]]:
    """The entry as far as it is known, and the fields that hold a placeholder."""
    blanks = [name for name in _BLANKS if not getattr(draft, name) and not (name == "year" and draft.arxiv)]
    whole = replace(
        draft,
        title=draft.title or "to be filled in",
        year=draft.year or (None if draft.arxiv else date.today().year),
        techniques=draft.techniques or ["to-be-filled-in"],
    )
    try:
        return to_paper(whole), blanks
    except ValueError as error:
        raise NewEntryError(first_reason(error)) from None


def _template(paper: Paper, blanks: list[str], failed: str, named: bool) -> str:
    known = paper.model_dump(exclude_defaults=True)
    if "year" in blanks and "published" in known:
        del known["published"]["year"]  # a placeholder, too
    lines = [SCHEMA_LINE]
    if failed:
        lines.append(f"# Could not be looked up: {failed}.\n")
    lines.append("# Fill in the lines that begin with `#`: take the `# ` away and write what they ask for.\n")
    if "title" in blanks and not named:
        lines.append("# This file's name is the work's permanent address: rename it after the method, say gptq.yaml.\n")
    for name in Paper.model_fields:
        if name in blanks:
            lines.append(_BLANKS[name])
        elif name in known:
            lines.append(dump_field(name, known[name]))
    return "".join(lines)


def _looked_up(given: Draft, lookup: bool) -> tuple[Draft, str]:
    """What was found, under what the person gave; -> also the reason where nothing was."""
    if not (given.arxiv or given.doi):
        return given, ""
    found, failed = _look_up(given) if lookup else (None, "the look-up was switched off")
    if found is None:
        return given, failed
    merged = replace(found, **{name: value for name, value in vars(given).items() if value})
    try:
        _paper(merged)
    except NewEntryError as error:
        return given, f"the record found is of no use, {_printable(str(error))}"
    return merged, ""


def _look_up(draft: Draft) -> tuple[Draft | None, str]:
    """What arXiv or Crossref knows of a work, or None and the reason."""
    answer: list[Draft] = []
    failure: list[str] = [f"no answer within {PATIENCE_S:g} seconds"]

    def ask() -> None:
        try:
            answer.append(_ask_arxiv(draft.arxiv) if draft.arxiv else _ask_crossref(draft.doi))
        except ModuleNotFoundError as error:
            failure[0] = f"the library {error.name} is not installed (pip install 'frugalfm[lookup]')"
        except Exception as error:  # noqa: BLE001 - whatever goes wrong in a library or a network, the template is left
            reason = _printable((str(error).splitlines() or [""])[0])[:100]
            failure[0] = f"{type(error).__name__}: {reason}" if reason else type(error).__name__

    # A thread of our own bounds the whole: name service, connection, answer. As a daemon it does not hold up the exit.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    return (answer[0], "") if answer else (None, failure[0])


def _ask_arxiv(identifier: str) -> Draft:
    arxiv = import_module("arxiv")
    client = arxiv.Client(page_size=1, delay_seconds=0, num_retries=0)
    result = next(client.results(arxiv.Search(id_list=[identifier], max_results=1)))
    authors = [_person(author.name) for author in result.authors]
    return Draft(line=0, title=_clean(result.title), authors=authors, arxiv=identifier, doi=result.doi or "")


def _person(name: str) -> Author:
    return parse_names(name)[0][0]


def _ask_crossref(doi: str) -> Draft:
    crossref: Any = import_module("habanero").Crossref(timeout=5)
    work = crossref.works(ids=doi)["message"]
    year = next((work[name]["date-parts"][0][0] for name in ("published", "issued") if name in work), None)
    people = [person for person in work.get("author", []) if person.get("family") or person.get("name")]
    return Draft(
        line=0,
        title=_clean(" ".join(work.get("title", [])[:1])),
        authors=[Author(family=p.get("family") or p["name"], given=p.get("given")) for p in people],
        year=year,
        venue=_clean(next(iter(work.get("container-title", [])), "")),
        doi=doi,
    )


def _clean(text: str) -> str:
    """A title without the HTML and the hidden characters that publishers leave in it."""
    return " ".join(_printable(unescape(re.sub(r"</?[A-Za-z][^>]*>", "", text)).replace("\u00ad", "")).split())


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)
