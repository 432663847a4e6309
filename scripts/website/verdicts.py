"""What the recorded runs say about a claim: the measured figure in the claim's own form, and a verdict with its reason.

A figure is turned into a gain: the logarithm of a ratio, or a difference, counted positive where it is better. "No
effect" is a gain of zero. The logarithm makes a claim of 2 % mean something: 90 % of a ratio of 0.98 would be met by
no change at all.

- reproduced: in a comparable setting the interval reaches 90 % of the claimed gain and leaves "no effect" out. A claim
  that nothing is lost, or no more than stated, is reproduced when the interval reaches the stated loss over 90 %, with
  one percent of slack. An absolute figure is reproduced when the interval comes within 10 % of it, or is better.
- direction holds: the interval lies on the claimed side of "no effect", but falls short of 90 %, or the setting is not
  comparable.
- not reproduced: a comparable setting, and neither of the two.
- not comparable: the setting differs too much for the figure to be confirmed or refuted, and not even its direction
  was seen; the reason says what was.
- untested: no recorded run has the case.

Where machines disagree, the least favourable one decides.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, log
from typing import Literal

import numpy as np

from scripts.catalogue.model import Claim, Measurement, Run, Trial, as_number
from scripts.catalogue.vocabulary import METRICS, Better
from scripts.website.derive import claim_value
from scripts.website.plots.text import number

Kind = Literal["reproduced", "direction holds", "not comparable", "not reproduced", "untested"]
KINDS: tuple[Kind, ...] = ("reproduced", "direction holds", "not comparable", "not reproduced", "untested")
"""From the most to the least favourable."""

REACH = 0.9
SLACK = 0.01
RESAMPLES = 1000


@dataclass(frozen=True)
class Figure:
    """A measured figure in a claim's form, with its 95 % interval; an exact one has an interval of no width."""

    value: float
    lo: float
    hi: float


@dataclass(frozen=True)
class Outcome:
    """What one recorded run says."""

    kind: Kind
    file: str
    machine: str
    when: str
    command: str
    figure: Figure
    shown: str
    """The figure with its interval, in words."""
    n: int
    converged: bool


@dataclass(frozen=True)
class Verdict:
    """The verdict on a claim; `outcomes` holds a line for each run that has the case."""

    kind: Kind
    reason: str
    outcomes: tuple[Outcome, ...] = ()


def judge(claim: Claim, runs: Mapping[str, Run]) -> Verdict:
    """Hold a claim against every recorded run of its case."""
    trial = claim.test
    if trial is None:
        return Verdict("untested", "no benchmark case tests it yet")
    outcomes, missing = [], []
    for file, run in sorted(runs.items()):
        pair = _pair(trial, run)
        if pair is not None:
            outcomes.append(_outcome(claim, trial, file, run, *pair))
        missing += [
            f"{one.implementation} could not run on {run.machine.name}: {one.reason}"
            for one in run.unavailable
            if one.case == trial.case and one.implementation in (trial.implementation, trial.against)
        ]
    if not outcomes:
        return Verdict("untested", "; ".join(missing) or f"waits for a run of {trial.case}")
    worst = max(outcomes, key=lambda outcome: KINDS.index(outcome.kind))
    return Verdict(worst.kind, _reason(claim, trial, worst, outcomes), tuple(outcomes))


def _pair(trial: Trial, run: Run) -> tuple[Measurement, Measurement] | None:
    """The measurement that tests the claim and the one it is compared with; None where the run lacks one."""
    found = {one.implementation: one for one in run.measurements if one.case == trial.case}
    baseline = next((one.implementation for one in found.values() if one.role == "baseline"), "")
    method, against = found.get(trial.implementation), found.get(trial.against or baseline)
    return (method, against) if method and against else None


def _outcome(claim: Claim, trial: Trial, file: str, run: Run, method: Measurement, against: Measurement) -> Outcome:
    if claim.form == "absolute":
        figure = _absolute(_values(method, trial))
    else:
        figure = _compared(_values(method, trial), _values(against, trial), claim.form)
    return Outcome(
        kind=kind_of(claim, figure, METRICS[claim.metric].better, trial.comparable),
        file=file,
        machine=run.machine.name,
        when=run.started.date().isoformat(),
        command=run.command,
        figure=figure,
        shown=shown(claim, figure),
        n=len(method.samples),
        converged=method.converged and (claim.form == "absolute" or against.converged),
    )


def _values(one: Measurement, trial: Trial) -> np.ndarray:
    """The samples, or the quality that goes with them. -> (n,)"""
    if trial.metric is None:
        return np.asarray(one.samples, dtype=float)
    if one.quality is None or one.quality.metric != trial.metric:
        return np.asarray([np.nan])
    return np.asarray([one.quality.value])


def _absolute(values: np.ndarray) -> Figure:
    draws = np.median(_resampled(values), axis=1)
    return _figure(float(np.median(values)), draws)


def _compared(method: np.ndarray, against: np.ndarray, form: str) -> Figure:
    """Ratio or difference of medians; rounds that both have are drawn as pairs, since they were run in turn."""
    rounds = min(len(method), len(against))
    places = _places(rounds)
    a, b = np.median(method[:rounds][places], axis=1), np.median(against[:rounds][places], axis=1)
    first, second = float(np.median(method[:rounds])), float(np.median(against[:rounds]))
    if form == "ratio":
        return _figure(first / second, a / b)
    return _figure(first - second, a - b)


def _places(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, count, size=(RESAMPLES, count))


def _resampled(values: np.ndarray) -> np.ndarray:
    drawn: np.ndarray = values[_places(len(values))]
    return drawn


def _figure(value: float, draws: np.ndarray) -> Figure:
    lo, hi = np.quantile(draws, [0.025, 0.975])
    return Figure(value, float(lo), float(hi))


def kind_of(claim: Claim, figure: Figure, better: Better, is_comparable: bool) -> Kind:
    """The verdict that one figure gives; see the rules at the top."""
    if not all(np.isfinite([figure.value, figure.lo, figure.hi])):
        return "not comparable"
    if claim.form == "absolute":
        if not is_comparable:
            return "not comparable"
        return "reproduced" if _comes_near(claim, figure, better) else "not reproduced"
    claimed, low, high = _gains(claim, figure, better)
    if claimed > (SLACK if claim.form == "ratio" else 0.0):
        side, reached = low > 0, high >= REACH * claimed
    else:  # nothing, or no more than this, is lost
        slack = SLACK if claim.form == "ratio" else 0.0
        side = reached = high >= claimed / REACH - slack
    if is_comparable:
        return "reproduced" if side and reached else "direction holds" if side else "not reproduced"
    return "direction holds" if side else "not comparable"


def _gains(claim: Claim, figure: Figure, better: Better) -> tuple[float, float, float]:
    """-> the claimed gain (the end nearer to no effect, where a range is claimed) and the measured interval's ends."""
    ends = [as_number(value) for value in (claim.value, claim.to) if value is not None]
    change = log if claim.form == "ratio" else float
    claimed = min((change(end) for end in ends), key=abs)
    sign = {"higher": 1.0, "lower": -1.0, "neither": 1.0 if claimed >= 0 else -1.0}[better]
    low, high = sorted((sign * change(figure.lo), sign * change(figure.hi)))
    return sign * claimed, low, high


def _comes_near(claim: Claim, figure: Figure, better: Better) -> bool:
    """Whether an absolute figure comes within 10 % of what is claimed, or is better."""
    ends = sorted(as_number(value) for value in (claim.value, claim.to) if value is not None)
    above, below = figure.hi >= REACH * ends[0], figure.lo <= ends[-1] / REACH
    return above if better == "higher" else below if better == "lower" else above and below


def shown(claim: Claim, figure: Figure) -> str:
    """A measured figure with its interval, in the claim's form and unit."""
    unit = METRICS[claim.metric].unit
    if claim.form == "ratio":
        texts = [f"{value:.3g}" for value in (figure.value, figure.lo, figure.hi)]
        return f"{texts[0]}×" + (f" [{texts[1]}, {texts[2]}]" if figure.lo != figure.hi else "")
    texts = [number(value, unit) for value in (figure.value, figure.lo, figure.hi)]
    return texts[0] + (f" [{texts[1]}, {texts[2]}]" if figure.lo != figure.hi else "")


def _reason(claim: Claim, trial: Trial, worst: Outcome, outcomes: list[Outcome]) -> str:
    """One sentence with the numbers."""
    ratio = f" (as a ratio {_ratio_text(claim)})" if claim.form == "ratio" else ""
    said = f"measured {worst.shown} on {worst.machine}, claimed {claim_value(claim)}{ratio}"
    why = {
        "reproduced": "the claimed figure is reached",
        "direction holds": "the effect is there, but smaller" if trial.comparable else "the same direction, elsewhere",
        "not reproduced": "the claimed effect was not seen in a comparable setting",
        "not comparable": "not seen here, where it need not hold",
    }[worst.kind]
    unsure = "" if worst.converged else "; the run had not converged"
    split = "; machines disagree, the least favourable one decides" if len({one.kind for one in outcomes}) > 1 else ""
    return f"{said}: {why}{unsure}{split}"


def _ratio_text(claim: Claim) -> str:
    values = [as_number(value) for value in (claim.value, claim.to) if value is not None]
    return " to ".join(f"{value:.3g}" for value in values)


def effect(gain: float) -> float:
    """The ratio that a gain stands for, for tests and tables."""
    return exp(gain)
