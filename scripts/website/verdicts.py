"""What the recorded runs say about a claim: the measured figure in the claim's own form, and a verdict with its reason.

Ratios and differences are compared as gains: the logarithm of a ratio, or a difference, counted positive where it is
better, so that no effect is a gain of zero. The logarithm makes a claim of 2 % mean something: 90 % of a ratio of 0.98
would be met by no change at all. Rounds that were run in turn are resampled as pairs; what repeats exactly, such as
bytes, has an interval of no width. `RULES` says what follows; the Ledger page shows the same words.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import log
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from scripts.catalogue.model import Claim, Measurement, Run, Trial, as_number
from scripts.catalogue.vocabulary import METRICS, Better
from scripts.website.derive import amount, claim_value, difference_unit
from scripts.website.enough import is_enough
from scripts.website.plots import points
from scripts.website.plots.text import number

Array = NDArray[np.float64]
Kind = Literal["reproduced", "direction holds", "not comparable", "not reproduced", "untested"]
KINDS: tuple[Kind, ...] = ("reproduced", "direction holds", "not comparable", "not reproduced", "untested")
"""From the most to the least favourable."""

RULES: dict[Kind, str] = {
    "reproduced": (
        "The setting is comparable, the whole 95 % interval lies on the claimed side of no effect, and it reaches 90 % "
        "of the claimed gain; of a range, that of its modest end. Gains of ratios are compared as logarithms. A claim "
        "that nothing is lost, or no more than so much, needs the whole interval within the stated loss over 90 %, "
        "with one percent of slack; so does a claim of a gain of at most so much. An absolute figure needs an interval "
        "that comes within 10 % of it, or is better."
    ),
    "direction holds": (
        "The whole interval lies on the claimed side of no effect but short of 90 %; or it lies there in a setting "
        "that is not comparable, so that the figure itself is neither confirmed nor refuted. What repeats exactly has "
        "no interval; there, less than 1 % and less than a tenth of the claimed gain count as no effect."
    ),
    "not reproduced": "The setting is comparable, and neither of the two is the case.",
    "not comparable": (
        "The setting differs too much for the figure to be confirmed or refuted, and not even its direction was seen; "
        "or the figure is an absolute one, which has no direction. The reason says what was measured."
    ),
    "untested": (
        "No recorded run gives the figure: no case tests the claim, its case was not run, or the run has too few "
        "samples for an interval."
    ),
}

REACH = 0.9
SLACK = 0.01
"""Share of the baseline that counts as no loss."""
RESAMPLES = 1000


@dataclass(frozen=True)
class Figure:
    """A measured figure in a claim's form, with its 95 % interval; that of an exact one has no width.

    slack: how large a gain counts as none, in the figure's form; see `RULES`.
    """

    value: float
    lo: float
    hi: float
    slack: float = SLACK

    @property
    def is_exact(self) -> bool:
        """Whether it has no interval."""
        return self.lo == self.hi


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
    stale: str | None
    """What changed in the code since it was measured; None where nothing did."""


@dataclass(frozen=True)
class Verdict:
    """The verdict on a claim; `outcomes` holds one for each run that gives the figure."""

    kind: Kind
    reason: str
    outcomes: tuple[Outcome, ...] = ()


class NoFigureError(ValueError):
    """A run has the case, but not what the claim needs of it. The message says what is missing."""


def judge(claim: Claim, runs: Mapping[str, Run], age: Callable[[Run], str | None] = lambda _: None) -> Verdict:
    """Hold a claim against every recorded run of its case. `age` says what changed in the code since a run."""
    trial = claim.test
    if trial is None:
        return Verdict("untested", "no benchmark case tests it yet")
    outcomes: list[Outcome] = []
    missing: list[str] = []
    for file, run in sorted(runs.items()):
        missing += _unavailable(trial, run)
        try:
            pair = _pair(trial, run)
            if pair is not None:
                outcomes.append(_outcome(claim, trial, file, run, *pair, age(run)))
        except NoFigureError as error:
            missing.append(f"{error} in the run on {run.machine.name}")
    if not outcomes:
        return Verdict("untested", "; ".join(missing) or f"waits for a run of {trial.case}")
    worst = max(outcomes, key=lambda outcome: KINDS.index(outcome.kind))
    return Verdict(worst.kind, _reason(claim, trial, worst, outcomes), tuple(outcomes))


def _unavailable(trial: Trial, run: Run) -> list[str]:
    return [
        f"{one.implementation} could not run on {run.machine.name}: {one.reason}"
        for one in run.unavailable
        if one.case == trial.case and one.implementation in (trial.implementation, trial.against)
    ]


def _pair(trial: Trial, run: Run) -> tuple[Measurement, Measurement] | None:
    """The measurement that tests the claim and the one it is compared with; None where the run lacks one."""
    found = {one.implementation: one for one in run.measurements if one.case == trial.case}
    baseline = next((one.implementation for one in found.values() if one.role == "baseline"), "")
    method, against = found.get(trial.implementation), found.get(trial.against or baseline)
    return (method, against) if method and against else None


def _outcome(
    claim: Claim, trial: Trial, file: str, run: Run, method: Measurement, against: Measurement, stale: str | None
) -> Outcome:
    figure = measure(claim, trial, method, against)
    return Outcome(
        kind=kind_of(claim, figure, METRICS[claim.metric].better, trial.comparable),
        file=file,
        machine=run.machine.name,
        when=run.started.date().isoformat(),
        command=run.command,
        figure=figure,
        shown=shown(claim, figure),
        n=len(_values(method, trial)),
        converged=method.converged and (claim.form == "absolute" or against.converged),
        stale=stale,
    )


def measure(claim: Claim, trial: Trial, method: Measurement, against: Measurement) -> Figure:
    """The claim's figure from the two measurements. Raises NoFigureError where they do not give it."""
    values = _values(method, trial)
    if claim.form == "absolute":
        places = points.drawn_rounds(len(values), RESAMPLES)
        return _figure(float(np.median(values)), np.median(values[places], axis=1), 0.0)
    a, b = _same_rounds(values, _values(against, trial))
    if claim.form == "ratio":
        if min(a.min(), b.min()) <= 0:
            raise NoFigureError(f"a ratio needs values above zero, {method.implementation} has others")
        ratio = points.compare(tuple(a), tuple(b))  # as technique pages show it
        return Figure(ratio.value, ratio.lo, ratio.hi)
    places = points.drawn_rounds(len(a), RESAMPLES)
    draws = np.median(a[places], axis=1) - np.median(b[places], axis=1)
    middle = float(np.median(b))
    return _figure(float(np.median(a)) - middle, draws, SLACK * abs(middle))


def _values(one: Measurement, trial: Trial) -> Array:
    """The samples, or the quality that goes with them. -> (n,)"""
    if trial.metric is not None:
        if one.quality is None or one.quality.metric != trial.metric:
            raise NoFigureError(f"{one.implementation} has no {METRICS[trial.metric].title}")
        return np.asarray([one.quality.value])
    if not is_enough(one):
        raise NoFigureError(f"{one.implementation} has too few samples for an interval, {len(one.samples)},")
    return np.asarray(one.samples, dtype=float)


def _same_rounds(a: Array, b: Array) -> tuple[Array, Array]:
    """Both over the rounds that both have; a single value stands for every round. (n,), (m,) -> (k,), (k,)"""
    if 1 in (len(a), len(b)):
        first, second = np.broadcast_arrays(a, b)
        return first, second
    rounds = min(len(a), len(b))
    return a[:rounds], b[:rounds]


def _figure(value: float, draws: Array, slack: float) -> Figure:
    lo, hi = np.quantile(draws, [0.025, 0.975])
    return Figure(value, float(lo), float(hi), slack)


def kind_of(claim: Claim, figure: Figure, better: Better, is_comparable: bool) -> Kind:
    """The verdict that one figure gives, by `RULES`."""
    if claim.form == "absolute":
        if not is_comparable:
            return "not comparable"
        return "reproduced" if _comes_near(claim, figure, better) else "not reproduced"
    claimed, low, high = _gains(claim, figure, better)
    if claimed > 0:
        nothing = min((1 - REACH) * claimed, figure.slack) if figure.is_exact else 0.0
        side, reached = low > nothing, high >= REACH * claimed
    else:  # nothing, or no more than this, is lost
        side = reached = low >= claimed / REACH - figure.slack
    if is_comparable:
        return "reproduced" if side and reached else "direction holds" if side else "not reproduced"
    return "direction holds" if side else "not comparable"


def _gains(claim: Claim, figure: Figure, better: Better) -> tuple[float, float, float]:
    """-> the claimed gain and the ends of the measured interval, above zero on the claimed side.

    "At least" of a loss claims that there is one, which makes the loss the claimed side; "at most" of a gain is a
    bound, as "at most" of a loss is, seen from the other side.
    """
    change = log if claim.form == "ratio" else float
    ends = [change(as_number(value)) for value in (claim.value, claim.to) if value is not None]
    sign = {"higher": 1.0, "lower": -1.0, "neither": 1.0 if ends[0] >= 0 else -1.0}[better]
    gains = [sign * end for end in ends]
    if (claim.bound == "at_least" and max(gains) < 0) or (claim.bound == "at_most" and min(gains) > 0):
        sign, gains = -sign, [-gain for gain in gains]
    low, high = sorted((sign * change(figure.lo), sign * change(figure.hi)))
    return min(gains), low, high


def _comes_near(claim: Claim, figure: Figure, better: Better) -> bool:
    """Whether an absolute figure comes within 10 % of what is claimed, or is better."""
    ends = sorted(as_number(value) for value in (claim.value, claim.to) if value is not None)
    enough = figure.hi >= ends[0] - (1 - REACH) * abs(ends[0])
    little = figure.lo <= ends[-1] + (1 - REACH) * abs(ends[-1])
    if claim.bound == "at_least" or (better == "higher" and claim.bound != "at_most"):
        return enough
    return little and (enough or better == "lower" or claim.bound == "at_most")


def shown(claim: Claim, figure: Figure) -> str:
    """A measured figure with its interval, in the claim's form and unit."""
    texts = [_in_words(claim, one) for one in (figure.value, figure.lo, figure.hi)]
    return texts[0] if figure.is_exact else f"{texts[0]} [{texts[1].rstrip('×')}, {texts[2].rstrip('×')}]"


def _in_words(claim: Claim, value: float) -> str:
    unit = METRICS[claim.metric].unit
    if claim.form == "ratio":
        return f"{value:.4g}×" if 0.9 < value < 1.1 else f"{value:.3g}×"  # 0.9988 is not 1
    if claim.form == "absolute":
        return number(value, unit) if unit != "B" else amount([float(f"{value:.4g}")], unit)
    sign = "−" if value < 0 else "+"
    return sign + number(abs(value), difference_unit(unit))


def _reason(claim: Claim, trial: Trial, worst: Outcome, outcomes: list[Outcome]) -> str:
    """One sentence with the numbers."""
    claimed = claim_value(claim) + (f" ({_ratio_text(claim)})" if claim.form == "ratio" else "")
    differs = "in a setting that differs too much to confirm or refute the figure"
    told = {
        "reproduced": f"agrees with the claimed {claimed}",
        "direction holds": f"goes the same way as the claimed {claimed}, "
        + ("but falls short of it" if trial.comparable else differs),
        "not reproduced": f"does not show the claimed {claimed}, in a comparable setting",
        "not comparable": f"stands beside the claimed {claimed}, {differs}"
        if claim.form == "absolute"
        else f"does not show the claimed {claimed}, but {differs}",
    }[worst.kind]
    notes = [
        "an exact value, without an interval" if worst.figure.is_exact else "",
        "" if worst.converged else "the run had not converged",
        "machines disagree, and the least favourable one decides" if len({one.kind for one in outcomes}) > 1 else "",
    ]
    return "; ".join([f"{worst.shown}, measured on {worst.machine}, {told}", *filter(None, notes)])


def _ratio_text(claim: Claim) -> str:
    values = [as_number(value) for value in (claim.value, claim.to) if value is not None]
    return " to ".join(f"{value:.3g}×" for value in values)
