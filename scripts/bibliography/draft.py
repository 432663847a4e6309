"""A work as a bibliography describes it, on its way to becoming an entry."""

import re
import unicodedata
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from itertools import chain, count

from pydantic import ValidationError

from scripts.catalogue.model import Author, Paper, Preprint, Publication
from scripts.catalogue.text_rules import check_arxiv, check_doi
from scripts.catalogue.venues import canonical_venue

_ARXIV_ANYWHERE = re.compile(r"(?:arxiv[:./ ]|abs/|pdf/)\s*(\d{4}\.\d{4,5})(?:v\d+)?", re.IGNORECASE)
_PREPRINT_VENUES = re.compile(r"arxiv|corr\b|preprint", re.IGNORECASE)
_STOP_WORDS = {"a", "an", "and", "are", "for", "from", "in", "is", "of", "on", "the", "to", "towards", "via", "with"}


@dataclass
class Draft:
    """The facts of one work, as text; `line` is where it stands in the imported file."""

    line: int
    key: str = ""
    title: str = ""
    also_titled: list[str] = field(default_factory=list)
    authors: list[Author] = field(default_factory=list)
    authors_cut: bool = False
    year: int | None = None
    venue: str = ""
    arxiv: str = ""
    doi: str = ""
    url: str = ""
    code: str = ""
    kind: str = "paper"
    techniques: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    note: str = ""
    warnings: list[str] = field(default_factory=list)


def to_paper(draft: Draft) -> Paper:
    """The entry that a draft stands for, level `listed`.

    The draft's year and venue are the publication's; the first public year is the arXiv id's where that is earlier.
    Raises ValueError (pydantic's ValidationError among them) where a fact is missing or malformed.
    """
    venue, notes = _venue(draft)
    arxiv, doi = _identifiers(draft)
    # The preprint DOI says nothing that the arXiv id does not; links made from an id need no field of their own.
    url = "" if re.search(r"arxiv\.org/|doi\.org/10\.", draft.url) and (arxiv or doi) else draft.url
    preprint_year = 2000 + int(arxiv[:2]) if arxiv else draft.year
    if preprint_year is None:
        raise ValueError("has no year; add one, or an arXiv id")
    published = None
    if venue or doi:
        dated = draft.year if venue or not arxiv else None
        published = Publication(venue=venue, year=dated, doi=doi, url=url or None)
    return Paper.model_validate(
        {
            "title": draft.title,
            "also_titled": draft.also_titled,
            "authors": draft.authors,
            "authors_cut": draft.authors_cut,
            "year": min(draft.year or preprint_year, preprint_year) if venue or not arxiv else preprint_year,
            "kind": draft.kind,
            "published": published,
            "preprint": Preprint(arxiv=arxiv) if arxiv else None,
            "url": url or None if not published else None,
            "code": draft.code or None,
            "techniques": draft.techniques,
            "level": "listed",
            "sources": draft.sources,
            "note": "; ".join(filter(None, [draft.note, *notes])) or None,
        }
    )


def _venue(draft: Draft) -> tuple[str | None, list[str]]:
    """The venue in the vocabulary's spelling; a venue it lacks is kept in the note rather than lost."""
    if not draft.venue or _PREPRINT_VENUES.search(draft.venue):
        return None, []
    known = canonical_venue(draft.venue)
    if known is None:
        draft.warnings.append(f'the venue "{draft.venue}" is not in scripts/catalogue/venues.py; it went into the note')
        return None, [f"published in {draft.venue}"]
    return known, []


def _identifiers(draft: Draft) -> tuple[str | None, str | None]:
    doi = re.sub(r"^(https?://)?(dx\.)?doi\.org/|^doi:\s*", "", draft.doi.strip(), flags=re.IGNORECASE)
    arxiv = re.sub(r"^arxiv:|v\d+$", "", draft.arxiv.strip(), flags=re.IGNORECASE)
    for text in (doi, draft.url, draft.venue):
        if not arxiv and (found := _ARXIV_ANYWHERE.search(text)):
            arxiv = found.group(1)
    if doi.casefold().startswith("10.48550/arxiv"):
        doi = ""
    return _kept(draft, "arXiv id", arxiv, check_arxiv), _kept(draft, "DOI", doi, check_doi)


def _kept(draft: Draft, what: str, text: str, rule: Callable[[str], str]) -> str | None:
    """The identifier where it is well formed; one that is not is reported, kept in the note, and not used."""
    try:
        return rule(text) if text else None
    except ValueError as error:
        draft.warnings.append(f"{what}: {error}")
        draft.note = "; ".join(filter(None, [draft.note, f"given {what}: {text}"]))
        return None


def first_reason(error: ValueError) -> str:
    """Why a record was refused, in one sentence: our own words, or the first complaint of the data model."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return str(first.get("ctx", {}).get("error", first["msg"]))
    return str(error)


def make_key(paper: Paper, taken: Container[str], wanted: str = "") -> str:
    """A free key: the wanted one, else the method's name before the title's colon, else family name, year, word.

    >>> from scripts.catalogue.model import Paper
    >>> make_key(Paper(title="GPTQ: Accurate Quantization", year=2022, techniques=["a"], level="listed"), set())
    'gptq'
    """
    head, colon, _ = paper.title.partition(":")
    words = [word for word in _slug(paper.title).split("-") if word not in _STOP_WORDS]
    family = _slug(paper.authors[0].family).split("-")[-1] if paper.authors else ""
    plain = _slug(f"{family or 'work'}{paper.year}{words[0] if words else ''}")
    method = _slug(head) if colon and len(head.split()) == 1 and len(_slug(head)) > 1 else ""
    candidates = chain((_slug(wanted), method, plain), (f"{plain[:50]}-{n}" for n in count(2)))
    return next(key for key in (text[:60].strip("-") for text in candidates) if len(key) > 1 and key not in taken)


def _slug(text: str) -> str:
    letters = unicodedata.normalize("NFKD", text.casefold())
    return re.sub(r"[^a-z0-9]+", "-", "".join(c for c in letters if not unicodedata.combining(c))).strip("-")
