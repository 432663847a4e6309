"""Bibliographic formats out: BibTeX, RIS and CSL-JSON of one paper, by its version of record where there is one."""

from typing import Any

from scripts.bibliography.latex import from_text, protect
from scripts.catalogue.model import Author, Paper
from scripts.catalogue.venues import VENUES

_BIBTEX_TYPE = {"conference": "inproceedings", "workshop": "inproceedings", "journal": "article"}
_CSL_TYPE = {"conference": "paper-conference", "workshop": "paper-conference", "journal": "article-journal"}
_RIS_TYPE = {"conference": "CPAPER", "workshop": "CPAPER", "journal": "JOUR"}


def title_of(paper: Paper) -> str:
    """The title of the version to cite."""
    return (paper.published and paper.published.title) or paper.title


def year_of(paper: Paper) -> int:
    """The year of the version to cite."""
    return (paper.published and paper.published.year) or paper.year


def address_of(paper: Paper) -> str | None:
    """The best single link: DOI, publisher's page, preprint, own address."""
    if paper.doi:
        return f"https://doi.org/{paper.doi}"
    if paper.published and paper.published.url:
        return paper.published.url
    return f"https://arxiv.org/abs/{paper.arxiv}" if paper.arxiv else paper.url


def _kind(paper: Paper) -> str:
    return VENUES[paper.venue].kind if paper.venue else "preprint server"


def _venue_name(paper: Paper) -> str:
    return VENUES[paper.venue].name if paper.venue else ""


def bibtex(key: str, paper: Paper) -> str:
    """One BibTeX entry, UTF-8, the capitals of names protected."""
    kind = _BIBTEX_TYPE.get(_kind(paper), "misc")
    names = [_bibtex_name(author) for author in paper.authors] + (["others"] if paper.authors_cut else [])
    fields = {
        "title": protect(title_of(paper)),
        "author": " and ".join(names),
        "booktitle": from_text(_venue_name(paper)) if kind == "inproceedings" else "",
        "journal": from_text(_venue_name(paper)) if kind == "article" else "",
        "howpublished": from_text(_venue_name(paper)) if kind == "misc" else "",
        "year": str(year_of(paper)),
        "doi": from_text(paper.doi or ""),
        "eprint": paper.arxiv or "",
        "archivePrefix": "arXiv" if paper.arxiv else "",
        "url": address_of(paper) or "",
    }
    lines = "".join(f"  {name:<13} = {{{value}}},\n" for name, value in fields.items() if value)
    return f"@{kind}{{{key},\n{lines}}}\n"


def _bibtex_name(author: Author) -> str:
    family = from_text(author.family)
    if author.given is None:  # an organisation, or a single name: braces keep it in one piece
        return f"{{{family}}}"
    guarded = f"{{{family}}}" if " " in family or "," in family or "-" in family else family
    given = from_text(author.given)
    return f"{guarded}, {f'{{{given}}}' if ',' in given or ' and ' in given else given}"


def ris(key: str, paper: Paper) -> str:
    """One RIS record, as Zotero, EndNote and Mendeley read it."""
    lines = [("TY", _RIS_TYPE.get(_kind(paper), "GEN")), ("ID", key), ("TI", title_of(paper))]
    lines += [("AU", f"{a.family}, {a.given}" if a.given else a.family) for a in paper.authors]
    lines += [("PY", str(year_of(paper))), ("T2", _venue_name(paper)), ("DO", paper.doi or "")]
    lines += [("AN", f"arXiv:{paper.arxiv}" if paper.arxiv else ""), ("UR", address_of(paper) or "")]
    return "".join(f"{tag}  - {value}\r\n" for tag, value in lines if value) + "ER  - \r\n"


def csl(key: str, paper: Paper) -> dict[str, Any]:
    """One CSL-JSON item, as pandoc and citeproc read it."""
    item = {
        "id": key,
        "type": _CSL_TYPE.get(_kind(paper), "software" if paper.kind == "software" else "article"),
        "title": title_of(paper),
        "author": [_csl_name(author) for author in paper.authors],
        "issued": {"date-parts": [[year_of(paper)]]},
        "container-title": _venue_name(paper),
        "DOI": paper.doi,
        "number": f"arXiv:{paper.arxiv}" if paper.arxiv else None,
        "URL": address_of(paper),
    }
    return {name: value for name, value in item.items() if value}


def _csl_name(author: Author) -> dict[str, str]:
    return {"family": author.family, "given": author.given} if author.given else {"literal": author.family}
