"""Who pays for compression: what the recorded fairness study says of the methods of a technique page.

The study is the suite `measurement`, cases `measurement/language/…/group_gap_change`: by how many points the gap
between two groups moved when a model was made smaller. Its variants are named after methods (`wanda-50`, `shortgpt-2`);
a variant belongs to the module of that name, or to the one that a recorded method of that name exercises, and to
several where its name is put together from theirs.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from scripts.catalogue.model import Measurement, Run
from scripts.website.enough import too_few

SUITE, METRIC, MARGIN = "measurement", "group_gap_change", "group_gap_margin"
CASES = "measurement/language/"
"""Of one model on the same sentences; drawings and video, whose variants are of other models, stay on their page."""
STUDY = "measurement/fairness-testing"
"""The page that explains the study and shows all of it."""

POWER = 1.43
"""A true change of so many margins is found in four of five such studies: (1.96 + 0.84) / 1.96."""

N_OF_M = "semi-structured"
"""The method of every variant that keeps n of each m."""

COMPOSED = ("pruning", "quantization", "low_rank")
"""The families whose methods go on with one another's models; `oracle` in a name is also a module of other families."""

Method = tuple[str, str]
"""Family and module."""


@dataclass(frozen=True)
class Shift:
    """How one gap moved, in percentage points."""

    value: float
    margin: float | None
    """Half the 95 % interval; None where none was recorded."""
    few: str = ""
    """How few samples it has, in words; empty where there are enough."""

    @property
    def is_seen(self) -> bool:
        """Whether the interval leaves out no change at all."""
        return not self.few and self.margin is not None and abs(self.value) > self.margin

    @property
    def detectable(self) -> float | None:
        """The true change that the study finds in four of five."""
        return None if self.margin is None else POWER * self.margin

    def __str__(self) -> str:
        text = f"{self.value:+.1f}".replace("-", "−")
        text = text if self.margin is None else f"{text}\u00a0±\u00a0{self.margin:.1f}"
        return f"{text} ({self.few})" if self.few else text


@dataclass(frozen=True)
class Row:
    """One smaller model: its name, what was done, how many right words it has, and every gap's change."""

    variant: str
    note: str | None
    accuracy: float | None
    shifts: list[Shift | None]


@dataclass(frozen=True)
class WhoPaysView:
    """What a page shows of the study."""

    gaps: list[tuple[str, str]]
    """Attribute, and which difference its gap is."""
    rows: list[Row]
    dense: float | None
    """Right words of the model as it was, in %."""
    model: str
    power: str
    machine: str
    when: str
    file: str


def who_pays(
    runs: Mapping[str, Run],
    modules: Mapping[str, Iterable[str]],
    shown: Iterable[Method],
    known: Mapping[str, set[Method]] | None = None,
) -> WhoPaysView | None:
    """The study's variants whose method is among `shown`; None where none took part.

    modules: family -> its modules. known: `known_methods` of them, for whoever asks more than once.
    """
    found = _newest(runs)
    if found is None:
        return None
    file, run = found
    changes = [one for one in run.measurements if _is_change(one)]
    methods, wanted = known or known_methods(runs, modules), set(shown)
    variants = list(dict.fromkeys(one.implementation for one in changes if one.role == "method"))
    kept = [name for name in variants if methods_of(name, methods) & wanted]
    if not kept:
        return None
    cases = {one.case: one for one in changes}
    gaps = [(_attribute(case), str(one.workload.get("gap", ""))) for case, one in cases.items()]
    by_place = {(one.case, one.implementation): one for one in changes}
    notes = {one.implementation: one.note for one in changes}
    baseline = next((one.implementation for one in changes if one.role == "baseline"), None)
    rows = [
        Row(name, notes[name], _accuracy(run, name), [_shift(by_place.get((case, name))) for case in cases])
        for name in kept
    ]
    return WhoPaysView(
        gaps=gaps,
        rows=rows,
        dense=_accuracy(run, baseline) if baseline else None,
        model=str(changes[0].workload.get("model", "")),
        power=_power(rows),
        machine=run.machine.name,
        when=run.started.date().isoformat(),
        file=file,
    )


def _is_change(one: Measurement) -> bool:
    return one.metric == METRIC and one.case.startswith(CASES)


def methods_of(variant: str, known: Mapping[str, set[Method]]) -> set[Method]:
    """Those whose names the variant's begins with or goes on with, the longest first: `wanda-50-rtn-4` -> both.

    What keeps n of each m is semi-structured too, whichever method chose: `wanda-2-of-4` -> wanda and that.
    """
    parts = variant.split("-")
    first = next((name for name in _from(parts) if name in known), None)
    if first is None:
        return set()
    found, rest = set(known[first]), parts[first.count("-") + 1 :]
    while rest:
        name = next((one for one in _from(rest) if one in known), None)
        found |= {one for one in known[name] if one[0] in COMPOSED} if name else set()
        rest = rest[name.count("-") + 1 if name else 1 :]
    return found | known.get(N_OF_M, set()) if re.search(r"-\d+-of-\d+\b", variant) else found


def _from(parts: list[str]) -> list[str]:
    """The names that begin with the first part, the longest first: [a, b] -> a-b, a"""
    return ["-".join(parts[:length]) for length in range(len(parts), 0, -1)]


def _newest(runs: Mapping[str, Run]) -> tuple[str, Run] | None:
    """The run with most of the study, of several the newest."""
    held = [
        (sum(map(_is_change, run.measurements)), run.started.timestamp(), file)
        for file, run in runs.items()
        if run.suite == SUITE
    ]
    most, _, file = max(held, default=(0, 0.0, ""))
    return (file, runs[file]) if most else None


def known_methods(runs: Mapping[str, Run], modules: Mapping[str, Iterable[str]]) -> dict[str, set[Method]]:
    """Name as variants begin with it -> the modules it may stand for."""
    known: dict[str, set[Method]] = {}
    for family, names in modules.items():
        for module in names:
            known.setdefault(module.replace("_", "-"), set()).add((family, module))
    for run in runs.values():
        for one in run.measurements:
            if one.role == "method" and one.module and run.suite != SUITE and one.implementation not in known:
                known[one.implementation] = {(run.suite, one.module)}
    return known


def _attribute(case: str) -> str:
    """measurement/language/age/change/group_gap_change -> age"""
    return case.removesuffix(f"/{METRIC}").removesuffix("/change").rpartition("/")[2]


def _shift(one: Measurement | None) -> Shift | None:
    if one is None:
        return None
    has_margin = one.quality is not None and one.quality.metric == MARGIN
    margin = one.quality.value if one.quality and has_margin else None
    return Shift(float(np.median(one.samples)), margin, too_few([one]))


def _accuracy(run: Run, implementation: str) -> float | None:
    """Mean over the groups of every attribute, so that "all got worse" is not read as "less unequal"."""
    found = [
        float(np.mean(one.samples))
        for one in run.measurements
        if one.implementation == implementation and re.search(r"/group-\d+/accuracy$", one.case)
    ]
    return sum(found) / len(found) if found else None


def _power(rows: Iterable[Row]) -> str:
    """Which change the study could have seen at all."""
    found = [shift.detectable for row in rows for shift in row.shifts if shift and shift.detectable is not None]
    if not found:
        return "no interval was recorded, so no statement about its power can be made"
    low, high = min(found), max(found)
    span = f"{low:.0f} to {high:.0f}" if round(low) < round(high) else f"{high:.0f}"
    return f"finds a true change of {span} points, by cell, in four of five such studies; smaller ones may be missed"
