"""CSV in: one work a row, the columns named below, lists separated by a vertical bar."""

import csv
import io
import re
from collections.abc import Sequence

from scripts.bibliography.draft import Draft, first_reason
from scripts.bibliography.names import parse_names
from scripts.catalogue.problems import Problem

COLUMNS = (
    "key", "title", "also_titled", "authors", "year", "venue", "arxiv", "doi", "url", "code", "kind", "techniques",
    "sources", "note",
)  # fmt: skip


def read_csv(text: str, file: str) -> tuple[list[Draft], list[Problem]]:
    """Every row that can be read, and a problem for every one that cannot. `authors` is written as in BibTeX."""
    rows = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    drafts: list[Draft] = []
    problems: list[Problem] = []
    line = 2
    try:
        if what := _header_fault(rows.fieldnames or []):
            return [], [Problem(file, 1, 1, "", what, f"columns: {', '.join(COLUMNS)}")]
        for row in rows:
            try:
                drafts.append(_draft(row, line))
            except ValueError as error:
                what, _, hint = first_reason(error).partition("; ")
                problems.append(Problem(file, line, 1, "", f"row skipped: {what}", hint or "mend it and import again"))
            line = rows.line_num + 1
    except csv.Error as error:
        what = f"not valid CSV: {error}; this row and all after it are skipped"
        problems.append(Problem(file, max(line, 1), 1, "", what, "check the quotes from here on"))
    return drafts, problems


def _header_fault(columns: Sequence[str]) -> str:
    if unknown := [name for name in columns if name not in COLUMNS]:
        return f"unknown column {', '.join(unknown)}"
    if repeated := [name for name in dict.fromkeys(columns) if columns.count(name) > 1]:
        return f"the column {', '.join(repeated)} stands twice"
    return "" if "title" in columns else "the column `title` is missing"


def _draft(row: dict[str, str], line: int) -> Draft:
    def items(column: str) -> list[str]:
        return [item.strip() for item in row.get(column, "").split("|") if item.strip()]

    if None in row or None in row.values():
        raise ValueError("it has more or fewer fields than the header; quote fields that hold commas")
    authors, cut = parse_names(row.get("authors", ""))
    year = row.get("year", "").strip()
    if year and not re.fullmatch("[0-9]{4}", year):
        raise ValueError(f'year: expected four digits, got "{year[:20]}"; leave it empty if it is not known')
    return Draft(
        line=line,
        key=row.get("key", "").strip(),
        title=" ".join(row["title"].split()),
        also_titled=items("also_titled"),
        authors=authors,
        authors_cut=cut,
        year=int(year) if year else None,
        venue=row.get("venue", "").strip(),
        arxiv=row.get("arxiv", "").strip(),
        doi=row.get("doi", "").strip(),
        url=row.get("url", "").strip(),
        code=row.get("code", "").strip(),
        kind=row.get("kind", "").strip() or "paper",
        techniques=items("techniques"),
        sources=items("sources"),
        note=row.get("note", "").strip(),
    )
