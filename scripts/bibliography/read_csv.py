"""CSV in: one work a row, the columns named below, lists separated by a vertical bar."""

import csv
import io

from scripts.bibliography.draft import Draft
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
    unknown = [name for name in rows.fieldnames or [] if name not in COLUMNS]
    if unknown or "title" not in (rows.fieldnames or []):
        what = f"unknown column {', '.join(unknown)}" if unknown else "the column `title` is missing"
        return [], [Problem(file, 1, 1, "", what, f"columns: {', '.join(COLUMNS)}")]
    line = 2
    try:
        for row in rows:
            if None in row or None in row.values():
                hint = "quote fields that hold commas"
                problems.append(Problem(file, line, 1, "", "the row has more or fewer fields than the header", hint))
            else:
                drafts.append(_draft(row, line))
            line = rows.line_num + 1
    except csv.Error as error:
        problems.append(Problem(file, rows.line_num, 1, "", f"not valid CSV: {error}", "check the quotes from here on"))
    return drafts, problems


def _draft(row: dict[str, str], line: int) -> Draft:
    def items(column: str) -> list[str]:
        return [item.strip() for item in row.get(column, "").split("|") if item.strip()]

    authors, cut = parse_names(row.get("authors", ""))
    year = row.get("year", "").strip()
    return Draft(
        line=line,
        key=row.get("key", "").strip(),
        title=" ".join(row["title"].split()),
        also_titled=items("also_titled"),
        authors=authors,
        authors_cut=cut,
        year=int(year) if year.isdecimal() else None,
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
