"""The fairness study of a compressed language model: every variant against the dense one, group by group.

All variants answer the same counterfactual items, so every comparison is paired. What one table reports is adjusted
for the number of its tests, and says which change it could have seen at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from reference_impls.measurement import fairness
from reference_impls.measurement.counterfactual import Scores
from reference_impls.measurement.fairness import Change, change_of_gap, gap, holm, mcnemar

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """One variant on one attribute. Accuracies and gaps are shares."""

    variant: str
    attribute: str
    accuracy: tuple[float, float]  # of groups 0 and 1
    gap: float  # accuracy of group 1 minus that of group 0
    change: Change  # of the gap, from the dense model's
    lost: tuple[float, float]  # McNemar's p of each group: did it change at all
    log_gap: float  # nats, mean over pairs; see Scores.log_gaps
    adjusted_p: float  # of the change, over all comparisons of the table (Holm)

    @property
    def is_shift(self) -> bool:
        """A change of the gap that many tests do not explain."""
        return self.adjusted_p < 0.05


def compare(dense: Scores, smaller: Scores, variant: str, config: fairness.Config | None = None) -> Comparison:
    """One row, its p not yet adjusted for others."""
    before, after = dense.outcomes(), smaller.outcomes()
    change = change_of_gap(before, after, config)
    lost = tuple(mcnemar(before.hit[before.group == g], after.hit[after.group == g]).p for g in (0, 1))
    return Comparison(
        variant=variant,
        attribute=dense.items[0].attribute,
        accuracy=(after.counts(0).recall, after.counts(1).recall),
        gap=gap(after),
        change=change,
        lost=(lost[0], lost[1]),
        log_gap=float(smaller.log_gaps()[0].mean()),
        adjusted_p=change.p,
    )


def study(
    dense: Mapping[str, Scores], variants: Mapping[str, Mapping[str, Scores]], config: fairness.Config | None = None
) -> list[Comparison]:
    """Every variant on every attribute, with Holm's adjustment over all of them.

    dense: attribute: scores; variants: name: attribute: scores
    """
    rows = [
        compare(dense[attribute], scores[attribute], name, config)
        for name, scores in variants.items()
        for attribute in dense
    ]
    adjusted = holm([row.change.p for row in rows])
    return [replace(row, adjusted_p=p) for row, p in zip(rows, adjusted, strict=True)]


def fold_accuracies(scores: Scores, group: int, folds: int) -> list[float]:
    """Accuracy of a group in %, fold by fold; a cluster is in one fold, so folds share no template."""
    outcomes = scores.outcomes()
    names, place = np.unique(outcomes.cluster, return_inverse=True)
    if len(names) < folds:
        raise ValueError(f"{folds} folds need as many clusters, got {len(names)}")
    chosen = [(outcomes.group == group) & (place % folds == fold) for fold in range(folds)]
    return [100 * float(outcomes.hit[inside].mean()) for inside in chosen]


def as_lines(rows: Sequence[Comparison]) -> list[str]:
    """A table to read, in percentage points."""
    head = "variant        attribute   acc0  acc1   gap  change [95 % interval]    p (Holm)  detectable  nats"
    lines = [head]
    for row in rows:
        zero, one = (100 * share for share in row.accuracy)
        change = row.change
        lines.append(
            f"{row.variant:14} {row.attribute:10} {zero:5.1f} {one:5.1f} {100 * row.gap:+5.1f} "
            f"{100 * change.value:+6.1f} [{100 * change.lo:+6.1f}, {100 * change.hi:+6.1f}]  {row.adjusted_p:8.3f} "
            f"{100 * change.detectable():9.1f} {row.log_gap:+6.2f}"
        )
    return lines
