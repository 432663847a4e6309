"""What a method does to a cold start: the recorded starts of files that it made smaller, on its technique page.

The record is the suite `serverless`; its ways are named after methods (`rtn-int4`), and a way belongs to the method
that its name begins with.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from scripts.website.enough import too_few
from scripts.website.plots.draw import ratio_text
from scripts.website.plots.points import Point, subject
from scripts.website.plots.start_pace import Both, both_of
from scripts.website.plots.text import number
from scripts.website.who_pays import Method, methods_of

SUITE, PAGE = "serverless", "systems/serverless"
"""The suite, and the page that explains it and shows all of it."""


@dataclass(frozen=True)
class Row:
    """One way. seen: whether the interval of the start's factor leaves out 1; few: how few samples it has, in words."""

    model: str
    way: str
    start: str
    factor: str
    seen: bool
    few: str
    later: str
    quality: str | None


@dataclass(frozen=True)
class ColdStartsView:
    """What a page shows of the record."""

    rows: list[Row]
    baseline: str
    begun: str
    machine: str
    when: str
    file: str


def cold_starts(
    points: Mapping[str, Iterable[Point]], modules: Mapping[str, Iterable[str]], shown: Iterable[Method]
) -> ColdStartsView | None:
    """The ways whose method is among `shown`, of the newest run that has them; None where none took part.

    points: by file of the run; modules: family -> its modules
    """
    known: dict[str, set[Method]] = {}
    for family, names in modules.items():
        for module in names:
            if family != SUITE:
                known.setdefault(module.replace("_", "-"), set()).add((family, module))
    wanted = set(shown)
    views = [_view(file, [*found], known, wanted) for file, found in points.items()]
    return max((view for view in views if view), key=lambda view: view.when, default=None)


def _view(
    file: str, points: list[Point], known: Mapping[str, set[Method]], wanted: set[Method]
) -> ColdStartsView | None:
    if not points or points[0].run.suite != SUITE:
        return None
    kept = [row for rows in both_of(points).values() for row in rows if methods_of(row.name, known) & wanted]
    if not kept:
        return None
    first = kept[0].start
    return ColdStartsView(
        rows=[_row(row) for row in kept],
        baseline=first.baseline.implementation,
        begun=str(first.one.workload.get("start", "")),
        machine=first.run.machine.name,
        when=first.run.started.date().isoformat(),
        file=file,
    )


def _row(row: Both) -> Row:
    factor, later, quality = row.start_factor, row.pace_factor, row.start.one.quality
    return Row(
        model=subject(row.start.one),
        way=row.name,
        start=number(row.start.value, "s"),
        factor=ratio_text(factor.value, factor.lo, factor.hi),
        seen=row.start.is_settled and not factor.lo <= 1 <= factor.hi,
        few=too_few(row.sides),
        later=ratio_text(later.value, later.lo, later.hi),
        quality=f"{quality.metric} {quality.value:.4g}" if quality else None,
    )
