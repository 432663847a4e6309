"""Verdicts: each rule on hand-made runs, whose figures are known."""

import json
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap

from scripts.catalogue.model import Claim, Run
from scripts.website.derive import claim_value
from scripts.website.verdicts import KINDS, RULES, Figure, Kind, judge, kind_of
from tests.builders import CLAIM

MACHINE: dict[str, Any] = {
    "name": "desk",
    "cpu": "a CPU",
    "cores": 2,
    "memory_bytes": 1,
    "os": "Linux",
    "python": "3.11",
    "torch": "2.13.0",
    "threads": 1,
}


def measurement(name: str, samples: list[float], role: str = "method", **more: Any) -> dict[str, Any]:
    return {
        "case": "family/case",
        "implementation": name,
        "role": role,
        "effect": "kernel",
        "workload": {},
        "metric": "latency",
        "unit": "s",
        "better": "lower",
        "samples": samples,
        "first": samples[0],
        "warmup": 0,
        "rounds": len(samples),
        "converged": True,
        "stop_reason": "converged",
        "seed": 0,
        "limit": None,
        "quality": None,
        "throttled": False,
    } | more


def run(*measurements: dict[str, Any], machine: str = "desk", unavailable: list[dict[str, str]] | None = None) -> Run:
    record = {
        "schema_version": 1,
        "suite": "family",
        "command": "python -m scripts.bench family",
        "started": "2026-11-22T10:00:00+00:00",
        "finished": "2026-11-22T10:01:00+00:00",
        "code": {"commit": "0" * 40, "dirty": False},
        "machine": MACHINE | {"name": machine},
        "ceilings": {},
        "measurements": measurements,
        "unavailable": unavailable or [],
    }
    return Run.model_validate_json(json.dumps(record))


def claim(value: Any, form: str = "ratio", comparable: bool = True, **more: Any) -> Claim:
    test = {"case": "family/case", "implementation": "new", "comparable": comparable, "differs": "in nothing"}
    test |= more.pop("test", {})
    return Claim.model_validate(CLAIM | {"value": value, "form": form, "test": test} | more)


def timed(factor: float, spread: float = 0.01, machine: str = "desk", **more: Any) -> Run:
    """`new` takes `factor` times as long as `old`, in 30 rounds with a spread of its own."""
    wobble = [1 + spread * ((7 * n) % 11 - 5) / 5 for n in range(30)]
    old = measurement("old", [1.0] * 30, "baseline")
    return run(measurement("new", [factor * w for w in wobble], **more), old, machine=machine)


@pytest.mark.parametrize(
    ("claimed", "measured", "comparable", "kind"),
    [
        ("1/3", 0.33, True, "reproduced"),
        ("1/3", 0.30, True, "reproduced"),
        ("1/3", 0.36, True, "reproduced"),  # log(1/.36) is 93 % of log 3
        ("1/3", 0.40, True, "direction holds"),
        ("1/3", 1.00, True, "not reproduced"),
        ("1/3", 1.30, True, "not reproduced"),
        ("1/3", 0.33, False, "direction holds"),
        ("1/3", 1.00, False, "not comparable"),
        ("1/3", 1.30, False, "not comparable"),
        (0.98, 1.00, True, "not reproduced"),  # a claim of 2 % is not met by no change
        (0.995, 1.00, True, "not reproduced"),  # nor one of half a percent
        (1.0, 1.0, True, "reproduced"),  # nothing lost
        (1.0, 1.2, True, "not reproduced"),
        (1.1, 1.1, True, "reproduced"),  # no more than a tenth lost
        (1.1, 1.3, True, "not reproduced"),
    ],
)
def test_ratios_of_what_should_be_low(claimed, measured, comparable, kind):
    verdict = judge(claim(claimed, comparable=comparable), {"r": timed(measured)})
    assert verdict.kind == kind


@pytest.mark.parametrize(
    ("measured", "kind"), [(3.2, "reproduced"), (2.95, "reproduced"), (1.5, "direction holds"), (0.9, "not reproduced")]
)
def test_ratios_of_what_should_be_high(measured, kind):
    recorded = timed(measured, metric="decode_throughput", unit="tokens/s", better="higher")
    old = measurement("old", [1.0] * 30, "baseline", metric="decode_throughput", unit="tokens/s", better="higher")
    recorded = run(recorded.measurements[0].model_dump(), old)
    assert judge(claim(3.25, metric="decode_throughput"), {"r": recorded}).kind == kind


def test_a_range_asks_for_its_modest_end():
    assert judge(claim("1/2", to="1/4"), {"r": timed(0.5)}).kind == "reproduced"


@pytest.mark.parametrize(("value", "kind"), [(-0.37, "reproduced"), (-0.9, "direction holds"), (0.2, "not reproduced")])
def test_differences(value, kind):
    """new - old is -0.37; lower is better, so a claim of +0.2 allows for a loss and is met."""
    found = judge(claim(value, "difference"), {"r": timed(0.63)})
    assert found.kind == ("reproduced" if value > 0 else kind)


@pytest.mark.parametrize(
    ("value", "comparable", "kind"),
    [
        (2.0, True, "reproduced"),
        (2.4, True, "reproduced"),
        (1.0, True, "not reproduced"),
        (2.0, False, "not comparable"),
    ],
)
def test_absolute_figures(value, comparable, kind):
    found = judge(claim(value, "absolute", comparable, against=None), {"r": timed(2.0)})
    assert found.kind == kind


def test_quality_instead_of_samples():
    quality = {"metric": "perplexity", "value": 6.0}
    new, old = (
        measurement("new", [1.0], quality=quality),
        measurement("old", [1.0], "baseline", quality={"metric": "perplexity", "value": 5.0}),
    )
    asked = claim(1.2, metric="perplexity", test={"metric": "perplexity"})
    verdict = judge(asked, {"r": run(new, old)})
    assert verdict.kind == "reproduced"
    assert verdict.outcomes[0].figure.value == pytest.approx(1.2)
    missing = judge(asked, {"r": run(measurement("new", [1.0]), old)})
    assert missing.kind == "untested"
    assert "new has no token perplexity in the run on desk" in missing.reason


def test_another_baseline_can_be_named():
    third = measurement("third", [4.0] * 30)
    recorded = run(*(one.model_dump() for one in timed(2.0).measurements), third)
    assert judge(claim("1/2", test={"against": "third"}), {"r": recorded}).kind == "reproduced"


def test_untested_says_why():
    plain = Claim.model_validate(CLAIM)
    assert judge(plain, {}).kind == "untested"
    assert "family/case" in judge(claim(0.5), {}).reason
    failed = run(unavailable=[{"case": "family/case", "implementation": "new", "reason": "not installed: x"}])
    assert "not installed: x" in judge(claim(0.5), {"r": failed}).reason


def test_the_least_favourable_machine_decides_and_it_is_said():
    verdict = judge(claim("1/3"), {"a": timed(0.3, machine="fast"), "b": timed(1.2, machine="slow")})
    assert verdict.kind == "not reproduced"
    assert "machines disagree" in verdict.reason
    assert "slow" in verdict.reason
    assert [one.machine for one in verdict.outcomes] == ["fast", "slow"]


def test_wide_intervals_claim_nothing():
    assert judge(claim(1.0), {"r": timed(1.0, spread=0.5)}).kind == "not reproduced"  # it may lose a tenth, or not
    wide = judge(claim("1/3"), {"r": timed(0.97, spread=0.5)})
    assert wide.kind == "not reproduced"
    assert wide.outcomes[0].figure.lo < 0.97 < wide.outcomes[0].figure.hi


def test_an_unconverged_run_says_so():
    assert "not converged" in judge(claim("1/3"), {"r": timed(0.3, converged=False)}).reason


def test_every_kind_has_its_rule():
    assert set(RULES) == set(KINDS) == set(get_args(Kind))
    assert (KINDS[0], KINDS[-1]) == ("reproduced", "untested")


@pytest.mark.parametrize(
    ("value", "bound", "measured", "kind"),
    [
        (2.0, "at_least", 2.1, "reproduced"),  # a loss that is claimed to be there
        (2.0, "at_least", 1.3, "direction holds"),
        (2.0, "at_least", 1.0, "not reproduced"),
        (2.0, "at_most", 1.0, "reproduced"),  # a loss that is claimed to be no larger
        (2.0, "up_to", 2.5, "not reproduced"),
        ("1/2", "at_most", 0.9, "reproduced"),  # a gain that is claimed to be no larger
        ("1/2", "at_most", 0.3, "not reproduced"),
        ("1/2", "at_least", 0.3, "reproduced"),
        ("1/2", "up_to", 0.7, "direction holds"),
    ],
)
def test_hedges_are_of_the_size_of_the_effect(value, bound, measured, kind):
    assert judge(claim(value, bound=bound), {"r": timed(measured)}).kind == kind


@pytest.mark.parametrize(("measured", "kind"), [(1.04, "reproduced"), (1.5, "not reproduced")])
def test_a_range_of_losses_allows_its_larger_end(measured, kind):
    assert judge(claim(1.01, to=1.05), {"r": timed(measured)}).kind == kind


@pytest.mark.parametrize(
    ("bound", "measured", "kind"),
    [
        ("at_most", 1.0, "reproduced"),
        ("at_most", 2.3, "not reproduced"),
        ("at_least", 1.0, "not reproduced"),
        ("at_least", 2.3, "reproduced"),
        ("exact", 1.0, "reproduced"),  # a latency below the claimed one is better
    ],
)
def test_hedges_of_absolute_figures(bound, measured, kind):
    found = judge(claim(2.0, "absolute", against=None, bound=bound), {"r": timed(measured)})
    assert found.kind == kind


def exact(new: float, old: float = 1.0) -> Run:
    more = {"stop_reason": "deterministic"}
    return run(measurement("new", [new], **more), measurement("old", [old], "baseline", **more))


@pytest.mark.parametrize(
    ("value", "measured", "kind"),
    [
        (0.977, 0.999, "not reproduced"),  # less than a tenth of the claimed gain
        (0.977, 0.99, "direction holds"),
        ("1/800", 0.98, "direction holds"),  # more than 1 %, though far less than a tenth of the gain
        ("1/800", 0.995, "not reproduced"),
        (0.977, 0.978, "reproduced"),
    ],
)
def test_exact_values_have_no_interval_but_a_threshold(value, measured, kind):
    verdict = judge(claim(value), {"r": exact(measured)})
    assert verdict.kind == kind
    assert "exact value" in verdict.reason
    assert "[" not in verdict.outcomes[0].shown


def test_a_loss_within_one_percent_of_the_baseline_is_none():
    assert judge(claim(0.0, "difference"), {"r": exact(100.9, 100.0)}).kind == "reproduced"
    assert judge(claim(0.0, "difference"), {"r": exact(101.2, 100.0)}).kind == "not reproduced"


def test_what_gives_no_figure_is_untested():
    few = run(measurement("new", [0.3] * 5), measurement("old", [1.0] * 30, "baseline"))
    verdict = judge(claim("1/3"), {"r": few})
    assert verdict.kind == "untested"
    assert "too few samples for an interval, 5, in the run on desk" in verdict.reason
    zero = run(measurement("new", [0.0] * 30), measurement("old", [1.0] * 30, "baseline"))
    assert judge(claim("1/3"), {"r": zero}).kind == "untested"
    assert judge(claim(-1.0, "difference"), {"r": zero}).kind == "reproduced"
    both = judge(claim("1/3"), {"a": few, "b": timed(0.3, machine="other")})
    assert (both.kind, [one.machine for one in both.outcomes]) == ("reproduced", ["other"])


def test_intervals_are_those_of_an_independent_bootstrap():
    rng = np.random.default_rng(5)
    shared = rng.lognormal(0, 0.3, 80)  # what disturbs a round disturbs both
    new, old = shared * rng.normal(0.6, 0.02, 80), shared * rng.normal(1.0, 0.02, 80)
    recorded = run(measurement("new", new.tolist()), measurement("old", old.tolist(), "baseline"))
    forms = {
        "ratio": lambda a, b, axis: np.median(a, axis=axis) / np.median(b, axis=axis),
        "difference": lambda a, b, axis: np.median(a, axis=axis) - np.median(b, axis=axis),
    }
    for form, statistic in forms.items():
        figure = judge(claim(0.6, form), {"r": recorded}).outcomes[0].figure
        peer = bootstrap((new, old), statistic, paired=True, vectorized=True, method="percentile", rng=1)
        width = peer.confidence_interval.high - peer.confidence_interval.low
        assert figure.lo == pytest.approx(peer.confidence_interval.low, abs=0.15 * width)
        assert figure.hi == pytest.approx(peer.confidence_interval.high, abs=0.15 * width)


RATIOS = st.floats(0.05, 20).map(lambda value: round(value, 4))


@given(RATIOS, RATIOS, st.floats(1, 2), st.floats(1, 1.5), st.booleans())
def test_a_better_figure_never_has_a_worse_verdict(value, measured, better_by, width, comparable):
    asked = claim(value)
    figures = [Figure(at, at / width, at * width) for at in (measured, measured / better_by)]
    worse, best = (KINDS.index(kind_of(asked, figure, "lower", comparable)) for figure in figures)
    assert best <= worse


@given(RATIOS, RATIOS, st.floats(1.001, 1.5), st.booleans(), st.sampled_from(["exact", "at_least", "at_most", "up_to"]))
def test_a_ratio_and_its_inverse_are_judged_alike(value, measured, width, comparable, bound):
    """Latency over latency is throughput over throughput, upside down."""
    low = Figure(measured, measured / width, measured * width)
    high = Figure(1 / measured, 1 / low.hi, 1 / low.lo)
    ours = kind_of(claim(value, bound=bound), low, "lower", comparable)
    assert ours == kind_of(claim(1 / value, bound=bound), high, "higher", comparable)
    possible = {True: ("reproduced", "direction holds", "not reproduced"), False: ("direction holds", "not comparable")}
    assert ours in possible[comparable]


def test_an_outcome_says_what_changed_since():
    verdict = judge(claim("1/3"), {"r": timed(0.3)}, lambda run: f"older than {run.suite}")
    assert verdict.outcomes[0].stale == "older than family"


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.835, "1.2× lower"), ("1/5.1", "5.1× lower"), (0.1234, "8.104× lower"), (0.001, "1000× lower")],
)
def test_factors_have_no_more_digits_than_the_source(value, words):
    assert claim_value(claim(value)) == words


@pytest.mark.parametrize(
    ("metric", "form", "value", "words"),
    [
        ("peak_memory", "absolute", 48_000_000_000, "48 GB"),
        ("quantize_time", "absolute", 14_400, "14,400 s"),
        ("accuracy", "difference", -39.91, "39.91 percentage points lower"),
        ("bits_per_weight", "difference", 0.373, "0.373 bit higher"),
        ("perplexity", "absolute", 5.27, "5.27"),
    ],
)
def test_claims_in_words(metric, form, value, words):
    assert claim_value(claim(value, form, metric=metric)) == words


def test_differences_show_their_sign():
    shown = judge(claim(-0.5, "difference"), {"r": timed(0.6, spread=0)}).outcomes[0].shown
    assert shown == "−400 ms"
