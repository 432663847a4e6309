"""BibTeX in, by bibtexparser: what it cannot read is reported with its line and skipped, the rest goes on."""

import re

import bibtexparser
from bibtexparser.model import Entry

from scripts.bibliography.draft import Draft
from scripts.bibliography.latex import to_text
from scripts.bibliography.names import parse_names
from scripts.catalogue.problems import Problem

_VENUE_FIELDS = ("booktitle", "journal", "journaltitle", "venue", "series", "school", "institution", "howpublished")
_URL = re.compile(r"https?://[^\s{}\\]+")


def read_bibtex(text: str, file: str) -> tuple[list[Draft], list[Problem]]:
    """Every entry that can be read, and a problem for every block that cannot."""
    library = bibtexparser.parse_string(text.replace("\r\n", "\n"))
    drafts, problems = [], []
    for block in library.failed_blocks:
        reason = " ".join(str(block.error).split())
        hint = "mend it and import the file again; the other blocks are not affected"
        problems.append(Problem(file, (block.start_line or 0) + 1, 1, "", f"block skipped: {reason}", hint))
    for entry in library.entries:
        try:
            drafts.append(_draft(entry))
        except ValueError as error:
            line = (entry.start_line or 0) + 1
            problems.append(Problem(file, line, 1, entry.key, f"entry skipped: {error}", "mend it and import again"))
    return drafts, problems


def _draft(entry: Entry) -> Draft:
    fields = {field.key.casefold(): str(field.value) for field in entry.fields}
    authors, cut = parse_names(fields.get("author", ""))
    year = re.search(r"\d{4}", fields.get("year", "") or fields.get("date", ""))
    eprint = fields.get("eprint", "")
    is_arxiv = "arxiv" in fields.get("archiveprefix", fields.get("eprinttype", "arxiv")).casefold()
    link = _URL.search(fields.get("url", "") or fields.get("howpublished", ""))
    return Draft(
        line=(entry.start_line or 0) + 1,
        key=entry.key,
        title=to_text(fields.get("title", "")),
        authors=authors,
        authors_cut=cut,
        year=int(year.group()) if year else None,
        venue=next((to_text(fields[name]) for name in _VENUE_FIELDS if fields.get(name) and not _URL.search(fields[name])), ""),
        arxiv=eprint if is_arxiv and re.match(r"(arxiv:)?\d{4}\.\d{4,5}", eprint, re.IGNORECASE) else "",
        doi=to_text(fields.get("doi", "")),
        url=link.group() if link else "",
        kind="software" if entry.entry_type.casefold() == "software" else "paper",
        techniques=[word for word in re.split(r"[,;]\s*", fields.get("keywords", "")) if "/" in word],
    )
