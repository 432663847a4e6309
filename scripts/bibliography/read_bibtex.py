"""BibTeX in, by bibtexparser: what it cannot read is reported with its line and skipped, the rest goes on."""

import logging
import re
from collections.abc import Iterator
from operator import itemgetter
from typing import Any

from bibtexparser.entrypoint import parse_string
from bibtexparser.library import Library
from bibtexparser.model import DuplicateBlockKeyBlock, DuplicateFieldKeyBlock, Entry

from scripts.bibliography.draft import Draft, first_reason
from scripts.bibliography.latex import to_text
from scripts.bibliography.names import parse_names
from scripts.catalogue.problems import Problem

_VENUE_FIELDS = ("booktitle", "journal", "journaltitle", "venue", "series", "school", "institution", "howpublished")
_QUIET = logging.NullHandler()  # what the parser logs is reported by us, with its line
_URL = re.compile(r"https?://[^\s{}\\]+")
_BLOCK = re.compile(r"^[ \t]*@\s*(\w+)\s*[{(]", re.MULTILINE)
_HINT = "mend it and import the file again; the other blocks are not affected"


def read_bibtex(text: str, file: str) -> tuple[list[Draft], list[Problem]]:
    """Every entry that can be read, and a problem for every block that cannot."""
    text = text.replace("\r\n", "\n")
    logging.getLogger("bibtexparser").addHandler(_QUIET)
    library = parse_string(text)
    drafts: list[Draft] = []
    hint = "write it as `@article{key,`"
    problems = [Problem(file, at, 1, "", "block skipped: not understood", hint) for at in _overlooked(text, library)]
    entries = [(_line(entry), entry) for entry in library.entries]
    for block in library.failed_blocks:
        if isinstance(block, DuplicateBlockKeyBlock) and isinstance(block.ignore_error_block, Entry):
            # Keys of a bibliography are wishes (see `make_key`). The parser left the block as it stands; read it alone.
            strings = "".join(f"{string.raw}\n" for string in library.strings)
            entries += [(_line(block), entry) for entry in parse_string(f"{strings}{block.raw}").entries]
        else:
            problems.append(Problem(file, _line(block), 1, "", f"block skipped: {_reason(block)}", _HINT))
    for line, entry in sorted(entries, key=itemgetter(0)):
        try:
            drafts.append(_draft(entry, line))
        except (ValueError, RecursionError) as error:
            reason = first_reason(error) if isinstance(error, ValueError) else "its braces nest too deeply"
            what, _, hint = reason.partition("; ")
            problems.append(Problem(file, line, 1, entry.key, f"entry skipped: {what}", hint or _HINT))
    return drafts, problems


def _line(block: Any) -> int:
    return (block.start_line or 0) + 1


def _reason(block: Any) -> str:
    if isinstance(block, DuplicateFieldKeyBlock):
        return f"{', '.join(sorted(block.duplicate_keys))} stands twice in it"
    return (
        " ".join(str(getattr(block.error, "abort_reason", "") or block.error).split()).rstrip(".") or "not understood"
    )


def _overlooked(text: str, library: Library) -> Iterator[int]:
    """Lines that begin a work which the parser took for a comment, such as `@ article {` or `@article` alone."""
    seen = {_line(block) + n for block in library.entries for n in range((block.raw or "").count("\n") + 1)}
    seen |= {_line(block) for block in library.failed_blocks}
    for found in _BLOCK.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        if found.group(1).casefold() not in ("comment", "preamble", "string") and line not in seen:
            yield line


def _draft(entry: Entry, line: int) -> Draft:
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
        line=line,
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
        warnings=[f'the url "{fields["url"][:60]}" is no http(s) address; left out']
        if fields.get("url") and not link
        else [],
        techniques=[word for word in re.split(r"[,;]\s*", fields.get("keywords", "")) if "/" in word],
    )


def _verbatim(address: str) -> str:
    """An address or DOI without LaTeX's escapes; dashes and quotes stay what they are."""
    return re.sub(r"\\([_%&#$~{}])", r"\1", address.replace(r"\textasciitilde{}", "~"))
