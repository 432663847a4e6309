"""Verdicts: each rule on hand-made runs, whose figures are known."""

from typing import Any

import pytest

from scripts.catalogue.model import Claim, Run
from scripts.website.verdicts import KINDS, judge
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
    return Run.model_validate_json(
        __import__("json").dumps(
            {
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
        )
    )


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
    assert missing.kind == "not comparable"


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
    assert judge(claim("1/1.2"), {"r": timed(0.97, spread=0.5)}).kind in ("not reproduced", "reproduced")
    wide = judge(claim("1/3"), {"r": timed(0.97, spread=0.5)})
    assert wide.kind == "not reproduced"
    assert wide.outcomes[0].figure.lo < 0.97 < wide.outcomes[0].figure.hi


def test_an_unconverged_run_says_so():
    assert "not converged" in judge(claim("1/3"), {"r": timed(0.3, converged=False)}).reason


def test_kinds_are_ordered_from_best_to_worst():
    assert KINDS[0] == "reproduced"
    assert KINDS[-1] == "untested"
