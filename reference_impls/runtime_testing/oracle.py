"""What deviates: every outcome against the specification's, with what it leaves open set aside; then clusters.

Paper: arXiv 2301.12102 (patterns of known bugs, tests from patterns, several engines side by side).
Idea: an outcome is compared with what the case or the reference interpreter says, and with the majority of the
    engines, which guards against an error of ours. Findings of one engine, pattern, instruction and pair of outcomes
    are one cluster.
Symbols: finding = one call of one engine that deviates; cluster = findings that look like one bug.
Simplified: a cluster is a guess at one bug; whether it is one, a person must say.
Differs: all of it: the paper's oracle was not seen in detail.
Cost: one comparison a call and engine.
Checked against: faults put into the interpreter on purpose, old engines with known bugs, and builds of one engine.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from reference_impls.runtime_testing import Call, Case
from reference_impls.runtime_testing.numeric import is_arithmetic_nan
from reference_impls.runtime_testing.outcome import Outcome
from reference_impls.runtime_testing.reference import Allowed, expected

ALIKE: tuple[frozenset[str], ...] = (
    frozenset({"integer overflow", "invalid conversion to integer"}),
    frozenset({"uninitialized element", "indirect call mismatch", "out of bounds table"}),
)
"""Kinds of trap that engines do not tell apart; the specification prescribes no words."""
HOST_ERROR = "? host error"


@dataclass(frozen=True)
class Config:
    """What is asked of a finding before it is reported."""

    repeats: int = 3
    """How often it must show in a fresh process."""

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise ValueError(f"repeats must be at least 1, got {self.repeats}")


@dataclass(frozen=True)
class Finding:
    """A call (or, at place 0, the loading) that an engine does otherwise."""

    engine: str
    case: Case
    place: int
    expected: Outcome
    got: Outcome

    @property
    def leaf(self) -> str:
        """Where it belongs: a trap that surfaces as an error of the host language is an unhandled error (C10)."""
        return "C10" if self.is_unhandled else self.case.leaf

    @property
    def is_unhandled(self) -> bool:
        """Trapped, as it should, but by an error that is no trap."""
        return self.expected.kind == "trap" and self.got.detail.startswith(HOST_ERROR)

    @property
    def label(self) -> str:
        """What was exercised."""
        if self.is_unhandled:
            return self.expected.detail
        return self.case.calls[self.place - 1].label if self.place else self.case.label

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Findings of one key are one cluster."""
        return self.engine, self.leaf, self.label, f"{_short(self.expected)} → {_short(self.got)}"


@dataclass(frozen=True)
class Cluster:
    """Findings that look like one bug, and the first of them."""

    witness: Finding
    count: int

    def __str__(self) -> str:
        _, leaf, label, pair = self.witness.key
        return f"{leaf} {label}: {pair}" + (f" ({self.count} calls)" if self.count > 1 else "")


def _short(outcome: Outcome) -> str:
    """Kind and detail, not the values: +0 for -0 and 1 for 2 are both "other values"."""
    return outcome.kind if outcome.kind == "values" else f"{outcome.kind} {outcome.detail}".strip()


def same(wanted: Outcome, got: Outcome, nan: str = "") -> bool:
    """Whether the specification's outcome was met. nan: type of a result whose NaN is free"""
    if wanted.kind != got.kind:
        return False
    if wanted.kind == "values":
        return wanted.values == got.values or (bool(nan) and _free_nans(wanted.values, got.values, int(nan[1:])))
    if wanted.kind == "trap":
        return _same_trap(wanted.detail, got.detail)
    return True  # a refusal at another stage is a refusal


def _free_nans(wanted: Sequence[int], got: Sequence[int], bits: int) -> bool:
    pairs = zip(wanted, got, strict=False)
    return len(wanted) == len(got) and all(
        a == b or (is_arithmetic_nan(a, bits) and is_arithmetic_nan(b, bits)) for a, b in pairs
    )


def _same_trap(wanted: str, got: str) -> bool:
    if wanted == got or any({wanted, got} <= kinds for kinds in ALIKE):
        return True
    return got.startswith("? ") and not got.startswith(HOST_ERROR)  # words we do not know prove nothing


def judge(engine: str, case: Case, outcomes: Sequence[Outcome]) -> list[Finding]:
    """Every deviation of one engine in one case. A module that does not load deviates once, not at every call."""
    wanted = expected(case)
    if any(one.kind == "unsupported" for one in outcomes[:1]):
        return []
    if not _meets(wanted[0], outcomes[0]):
        return [Finding(engine, case, 0, wanted[0][0], outcomes[0])]
    if outcomes[0].kind != "values":
        return []
    found = []
    for place, (call, allowed, got) in enumerate(zip(case.calls, wanted[1:], outcomes[1:], strict=True), 1):
        if got.kind != "unsupported" and allowed[0].kind != "unsupported" and not _meets(allowed, got, call.nan):
            found.append(Finding(engine, case, place, allowed[0], got))
    return found


def _meets(allowed: Allowed, got: Outcome, nan: str = "") -> bool:
    return any(same(one, got, nan) for one in allowed)


def compared(outcomes: Sequence[Outcome]) -> int:
    """Outcomes that were there to compare."""
    return sum(one.kind != "unsupported" for one in outcomes)


def clusters(findings: Iterable[Finding]) -> list[Cluster]:
    """One a key, in the order of the keys."""
    groups: dict[tuple[str, str, str, str], list[Finding]] = {}
    for one in findings:
        groups.setdefault(one.key, []).append(one)
    return [Cluster(groups[key][0], len(groups[key])) for key in sorted(groups)]


def majority(case: Case, runs: Mapping[str, Sequence[Outcome]]) -> list[Outcome | None]:
    """What more than half of the engines give, for loading and each call; None where no outcome has a majority."""
    found: list[Outcome | None] = []
    for place in range(1 + len(case.calls)):
        call = case.calls[place - 1] if place else None
        votes = [outcomes[place] for outcomes in runs.values() if outcomes[place].kind != "unsupported"]
        common = Counter(_ballot(one, call) for one in votes).most_common(1)
        winner = common[0] if common and 2 * common[0][1] > len(votes) else None
        found.append(next(one for one in votes if _ballot(one, call) == winner[0]) if winner else None)
    return found


def _ballot(outcome: Outcome, call: Call | None) -> tuple[str, tuple[int, ...]]:
    """Outcomes that count as one vote: all free NaNs are one, and all traps, whose words differ."""
    if call and call.nan and outcome.values:
        bits = int(call.nan[1:])
        return outcome.kind, tuple(-1 if is_arithmetic_nan(one, bits) else one for one in outcome.values)
    return outcome.kind, outcome.values


def doubts(case: Case, runs: Mapping[str, Sequence[Outcome]]) -> list[int]:
    """Places at which a majority of three engines or more contradicts what the rig expects: look at the rig first."""
    if len(runs) < 3:
        return []
    wanted = expected(case)
    return [
        place
        for place, winner in enumerate(majority(case, runs))
        if winner
        and wanted[place][0].kind != "unsupported"
        and not _meets(wanted[place], winner, case.calls[place - 1].nan if place else "")
    ]
