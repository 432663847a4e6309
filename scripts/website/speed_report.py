"""The measured speed as one table, beside the bars it is held to."""

from dataclasses import dataclass

from rich.table import Table

from scripts.website.speed import REAL, Size, exponent

BARS: dict[str, tuple[str, dict[str, float]]] = {
    "cold_s": ("cold build without search, CPU s", {"1000": 6, REAL: 9, "10000": 20}),
    "cold_wall_s": ("the same, wall s", {}),
    "page_ms": ("of which an entry page, ms", {"": 0.5}),
    "search_ms": ("search index on top, ms a page", {"": 2.5}),
    "edited_s": ("one entry edited, without search, CPU s", {"1000": 5, REAL: 5}),
    "edited_with_search_s": ("one entry edited, with search, CPU s", {}),
    "check_cold_s": ("check, cold, CPU s", {"1000": 4, REAL: 4}),
    "check_warm_s": ("check, warm, CPU s", {"1000": 1, REAL: 1}),
    "bytes": ("site without search, bytes", {}),
    "page_bytes_median": ("entry page, median, bytes", {"": 25_000}),
    "page_bytes_max": ("entry page, largest, bytes", {"": 25_000}),
    "page_gzip_median": ("entry page, median, gzipped", {"": 6_000}),
    "page_gzip_max": ("entry page, largest, gzipped", {"": 6_000}),
    "material_plain_s": ("plain Material, no search, CPU s", {}),
    "material_search_s": ("plain Material, its search, CPU s", {}),
}
"""Measure -> what it is, and the most it may be by size; "" holds for every size."""

GROWTH = {"cold_s": ("growth of CPU, exponent,", 1.05), "bytes": ("growth of bytes, exponent,", 1.02)}


@dataclass(frozen=True)
class Value:
    """One measured value and the most it may be."""

    measure: str
    size: str
    value: float
    bar: float | None

    @property
    def passed(self) -> bool | None:
        """Whether the bar is kept; nothing where there is none."""
        return None if self.bar is None else self.value <= self.bar


def judged(sizes: list[Size]) -> list[Value]:
    """Every measure of every size, and how they grow from the smallest to the largest."""
    found = [
        Value(title, _heading(size), size.values[name], _bar(name, size))
        for name, (title, _) in BARS.items()
        for size in sizes
        if name in size.values
    ]
    generated = sorted((size for size in sizes if size.label != REAL), key=lambda size: size.entries)
    if len(generated) > 1:
        small, large = generated[0], generated[-1]
        found += [
            Value(f"{title} from {small.entries:,}", _heading(large), exponent(small, large, name), bar)
            for name, (title, bar) in GROWTH.items()
        ]
        found.append(Value("cold build, fixed part, CPU s", _heading(large), _fixed(small, large), None))
    return found


def _bar(name: str, size: Size) -> float | None:
    """Pagefind has no index that grows: it reads every page again, so an edit with search may cost what both may."""
    if name == "edited_with_search_s":
        edited, search = _bar("edited_s", size), _bar("search_ms", size)
        return round(edited + search * size.entries / 1000, 1) if edited and search else None
    bars = BARS[name][1]
    return bars.get(size.label, bars.get(""))


def _heading(size: Size) -> str:
    return f"{size.entries:,}" + (" (real)" if size.label == REAL else "")


def _fixed(small: Size, large: Size) -> float:
    """Where the straight line through two sizes meets zero entries: start of Python, imports, mkdocs."""
    slope = (large.values["cold_s"] - small.values["cold_s"]) / (large.entries - small.entries)
    return small.values["cold_s"] - slope * small.entries


def table(values: list[Value]) -> Table:
    """For the terminal: a line for each measure, a column for each size."""
    sizes = list(dict.fromkeys(value.size for value in values))
    result = Table("entries", *sizes)
    for measure in dict.fromkeys(value.measure for value in values):
        cells = {value.size: _cell(value) for value in values if value.measure == measure}
        result.add_row(measure, *(cells.get(size, "") for size in sizes))
    return result


def _cell(value: Value) -> str:
    figure = f"{value.value:,.0f}" if value.value >= 1000 else f"{value.value:.2f}"
    if value.bar is None:
        return figure
    return f"[{'green' if value.passed else 'red'}]{figure} {'≤' if value.passed else '>'} {value.bar:,}[/]"
