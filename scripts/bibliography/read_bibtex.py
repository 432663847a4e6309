"""BibTeX in, by bibtexparser: what it cannot read is reported with its line and skipped, the rest goes on."""

import re
from collections.abc import Iterator
from typing import Any

from bibtexparser.entrypoint import parse_string
from bibtexparser.library import Library
from bibtexparser.model import DuplicateBlockKeyBlock, DuplicateFieldKeyBlock, Entry

from scripts.bibliography.draft import Draft, first_reason
from scripts.bibliography.latex import to_text
from scripts.bibliography.names import parse_names
from scripts.catalogue.problems import Problem

_VENUE_FIELDS = ("booktitle", "journal", "journaltitle", "venue", "series", "school", "institution", "howpublished")
_URL = re.compile(r"https?://[^\s{}\\]+")
_BLOCK = re.compile(r"^[ \t]*@\s*(\w+)\s*[{(]", re.MULTILINE)
_HINT = "mend it and import the file again; the other blocks are not affected"


def read_bibtex(text: str, file: str) -> tuple[list[Draft], list[Problem]]:
    """Every entry that can be read, and a problem for every block that cannot."""
    text = text.replace("\r\n", "\n")
    library = parse_string(text)
    drafts, problems = [], []
    for line in _overlooked(text, library):
        problems.append(Problem(file, line, 1, "", "block skipped: not understood", "write it as `@article{key,`"))
    entries = list(library.entries)
    for block in library.failed_blocks:
        if isinstance(block, DuplicateBlockKeyBlock) and isinstance(block.ignore_error_block, Entry):
            entries.append(block.ignore_error_block)  # keys of a bibliography are wishes: see `make_key`
        else:
            problems.append(Problem(file, _line(block), 1, "", f"block skipped: {_reason(block)}", _HINT))
    for entry in sorted(entries, key=_line):
        try:
            drafts.append(_draft(entry))
        except (ValueError, RecursionError) as error:
            reason = first_reason(error) if isinstance(error, ValueError) else "its braces nest too deeply"
            what, _, hint = reason.partition("; ")
            problems.append(Problem(file, _line(entry), 1, entry.key, f"entry skipped: {what}", hint or _HINT))
    return drafts, problems


def _line(block: Any) -> int:
    return (block.start_line or 0) + 1


def _reason(block: Any) -> str:
    if isinstance(block, DuplicateFieldKeyBlock):
        return f"{', '.join(sorted(block.duplicate_keys))} stands twice in it"
    return " ".join(str(getattr(block.error, "abort_reason", "") or block.error).split()) or "not understood"


def _overlooked(text: str, library: Library) -> Iterator[int]:
    """Lines that begin a work which the parser took for a comment, such as `@ article {` or `@article` alone."""
    seen = {_line(block) + n for block in library.entries for n in range((block.raw or "").count("\n") + 1)}
    seen |= {_line(block) for block in library.failed_blocks}
    for found in _BLOCK.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        if found.group(1).casefold() not in ("comment", "preamble", "string") and line not in seen:
            yield line


def _draft(entry: Entry) -> Draft:
    fields = {field.key.casefold(): str(field.value) for field in entry.fields}
    if joined := [name for name, value in fields.items() if re.search(r'^".*" *#|# *".*"$', value, re.DOTALL)]:
        raise ValueError(f"{joined[0]} joins strings with #; write the text out")
    authors, cut = parse_names(fields.get("author", ""))
    year = re.search(r"[0-9]{4}", fields.get("year", "") or fields.get("date", ""))
    eprint = fields.get("eprint", "")
    is_arxiv = "arxiv" in fields.get("archiveprefix", fields.get("eprinttype", "arxiv")).casefold()
    link = _URL.search(_verbatim(fields.get("url", "") or fields.get("howpublished", "")))
    venues = [fields[name] for name in _VENUE_FIELDS if fields.get(name) and not _URL.search(fields[name])]
    return Draft(
        line=_line(entry),
        key=entry.key,
        title=to_text(fields.get("title", "")),
        authors=authors,
        authors_cut=cut,
        year=int(year.group()) if year else None,
        venue=to_text(venues[0]) if venues else "",
        arxiv=eprint if is_arxiv and re.match(r"(arxiv:)?\d{4}\.\d{4,5}", eprint, re.IGNORECASE) else "",
        doi=_verbatim(fields.get("doi", "")).strip("{} "),
        url=link.group() if link else "",
        kind="software" if entry.entry_type.casefold() == "software" else "paper",
        techniques=[word for word in re.split(r"[,;]\s*", fields.get("keywords", "")) if "/" in word],
    )


def _verbatim(address: str) -> str:
    """An address or DOI without LaTeX's escapes; dashes and quotes stay what they are."""
    return re.sub(r"\\([_%&#$~{}])", r"\1", address.replace(r"\textasciitilde{}", "~"))
