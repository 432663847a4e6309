"""A figure as pages show it: a plotly figure as data, without colours or fonts, which the page adds (site/assets/js).

A trace carries its colour as `meta: {hue: n}`; a point that leads somewhere carries a path as `customdata`.
Bars and points only, so that the smallest of plotly's bundles can draw everything.
"""

import csv
import io
import json
from dataclasses import dataclass
from typing import Any

Cell = str | int | tuple[str, str]


@dataclass(frozen=True)
class FigureView:
    """A figure with its reading in one sentence, its table, and where its data lie (paths from the site's root)."""

    id: str
    title: str
    summary: str
    source: str
    columns: list[str]
    rows: list[list[Cell]]
    figure: dict[str, Any]

    @property
    def json_href(self) -> str:
        """The plotly figure."""
        return f"figures/{self.id}.json"

    @property
    def csv_href(self) -> str:
        """The table."""
        return f"figures/{self.id}.csv"

    def json_text(self) -> str:
        """The figure as the page loads it."""
        return json.dumps(self.figure, ensure_ascii=False, separators=(",", ":"))

    def csv_text(self) -> str:
        """The table as CSV."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([cell[0] if isinstance(cell, tuple) else cell for cell in row] for row in self.rows)
        return stream.getvalue()
