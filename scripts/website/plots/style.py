"""Colour, mark and dash of every technique: the same on every figure, and never colour alone.

Colours are numbered; `site/assets/evidence.css` gives each a value for light and dark (--series-N). A module's number
follows from its name, so that a new module moves no more than those it collides with.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from scripts.website.plots.points import Point

COLOURS = 12
PEER = 0
"""The number of the neutral colour, that of everything that is not ours."""

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "pentagon", "star", "triangle-down", "hexagon")
"""Filled marks of plotly with an open twin, which means "no difference seen"."""
DASHES = ("solid", "dash", "dot", "dashdot")

Styles = dict[str, "Style"]
"""Implementation -> how it is drawn on one figure."""


@dataclass(frozen=True)
class Style:
    """How one implementation is drawn."""

    series: int
    symbol: str
    dash: str


def colour_numbers(names: Iterable[str]) -> dict[str, int]:
    """Name -> colour, 1 to COLOURS: the one its hash asks for, or the next that is used least."""
    used: Counter[int] = Counter()
    numbers = {}
    for name in sorted(set(names)):
        wanted = crc32(name.encode()) % COLOURS
        least = min(used[number] for number in range(1, COLOURS + 1))
        steps = ((wanted + step) % COLOURS + 1 for step in range(COLOURS))
        numbers[name] = next(number for number in steps if used[number] == least)
        used[numbers[name]] += 1
    return numbers


def family_modules(root: Path) -> dict[str, list[str]]:
    """Family -> its modules that implement something, by name: those with a header that names a paper."""
    found: dict[str, list[str]] = {}
    for path in sorted((root / "reference_impls").glob("*/*.py")):
        if "\nPaper: " in path.read_text("utf-8")[:6000]:
            found.setdefault(path.parent.name, []).append(path.stem)
    return found


class Palette:
    """The colours of all families; those of one family differ as far as the colours reach."""

    def __init__(self, modules: dict[str, list[str]]) -> None:
        self.numbers = {family: colour_numbers(names) for family, names in modules.items()}
        self.learnt: dict[str, Styles] = {}

    def learn(self, points: Iterable[Point]) -> None:
        """Fix the styles of everything that was recorded, so that a figure with less of it draws it alike."""
        by_suite: dict[str, list[Point]] = {}
        for point in points:
            by_suite.setdefault(point.run.suite, []).append(point)
        self.learnt = {suite: self._assign(found) for suite, found in by_suite.items()}

    def number(self, point: Point) -> int:
        """The colour of a point; a method of no known module has one by its own name."""
        if point.one.role != "method":
            return PEER
        known = self.numbers.get(point.run.suite, {})
        name = point.module or point.one.implementation
        return known.get(name) or crc32(name.encode()) % COLOURS + 1

    def styles(self, points: Iterable[Point]) -> Styles:
        """The style of each implementation: as learnt, else one that fits this figure."""
        points = list(points)
        names = dict.fromkeys(sorted(point.one.implementation for point in points))
        learnt = self.learnt.get(points[0].run.suite, {}) if points else {}
        known = learnt if names.keys() <= learnt.keys() else self._assign(points)
        return {name: known[name] for name in names}

    def _assign(self, points: Iterable[Point]) -> Styles:
        """One style an implementation; no two share both mark and dash while there are any left."""
        styles: Styles = {}
        taken: set[tuple[str, str]] = set()
        variants: Counter[int] = Counter()
        for point in sorted(points, key=_order):
            name = point.one.implementation
            if name in styles:
                continue
            number = self.number(point)
            pairs = _pairs(number, variants[number])
            pair = next((pair for pair in pairs if pair not in taken), pairs[0])
            taken.add(pair)
            variants[number] += 1
            styles[name] = Style(number, *pair)
        return styles


def _order(point: Point) -> tuple[bool, str, str]:
    """Ours first: what is a method in one case may be the baseline of another."""
    return point.one.role != "method", point.module or "", point.one.implementation


def _pairs(number: int, variant: int) -> list[tuple[str, str]]:
    """Every mark and dash, beginning with those of the colour; each further variant of it begins with another dash."""
    symbols = [SYMBOLS[(number + 3 * variant + step) % len(SYMBOLS)] for step in range(len(SYMBOLS))]
    dashes = [DASHES[(variant + step) % len(DASHES)] for step in range(len(DASHES))]
    return [(symbol, dash) for dash in dashes for symbol in symbols]
