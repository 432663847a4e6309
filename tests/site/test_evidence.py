"""Implementations and recorded runs as pages show them."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from reference_impls.measurement.paired import ratio_cis
from scripts.catalogue.load import load_catalogue
from scripts.catalogue.model import Run
from scripts.website.evidence import compare, run_view
from scripts.website.implementations import FIELDS, header_fields, implementations
from scripts.website.pages import cells
from scripts.website.plots import points
from scripts.website.plots.points import RESAMPLES

ROOT = Path(__file__).parents[2]


def measurement(name, role, samples, **more):
    fields = {
        "case": "s/c", "implementation": name, "role": role, "effect": "kernel", "workload": {"batch": 1},
        "metric": "step_time", "unit": "s", "better": "lower", "samples": samples, "first": 1.0, "warmup": 1,
        "rounds": len(samples), "converged": True, "stop_reason": "converged", "seed": 0, "limit": None,
        "quality": None, "throttled": False,
    }  # fmt: skip
    return fields | more


def run_of(*measurements, **more):
    now = datetime(2026, 1, 1, tzinfo=UTC)
    machine = {
        "name": "mm",
        "cpu": "c",
        "cores": 2,
        "memory_bytes": 1,
        "os": "o",
        "python": "3",
        "torch": "2",
        "threads": 1,
    }
    fields = {
        "schema_version": 1, "suite": "ss", "command": "bench s", "started": now, "finished": now,
        "code": {"commit": "a" * 40, "dirty": False}, "machine": machine, "ceilings": {},
        "measurements": list(measurements),
    }  # fmt: skip
    return Run.model_validate(fields | more)


def only_case(run):
    view = run_view("results/mm/ss.json", run)
    [case] = view.cases
    return case


def test_a_method_is_shown_beside_its_baseline_with_ratio_limit_and_quality():
    base = measurement("bf16", "baseline", [0.004] * 12)
    quality = {"metric": "layer_error", "value": 0.01}
    method = measurement("int8", "method", [0.002] * 12, limit={"value": 0.001, "formula": "f"}, quality=quality)
    first, second = only_case(run_of(method, base)).rows
    assert (first.name, first.ratio, first.value) == ("bf16", None, "4 ms")
    assert (second.ratio, second.value, second.limit) == ("0.5× [0.5, 0.5]", "2 ms", "50 %")
    assert second.quality == "relative output error of a layer 0.01"
    assert second.distinguishable


def test_equal_samples_are_not_called_different():
    samples = [0.001 * (1 + 0.1 * (n % 5)) for n in range(40)]
    rows = only_case(run_of(measurement("b", "baseline", samples), measurement("m", "method", samples[::-1]))).rows
    assert not rows[1].distinguishable


def test_what_could_not_run_is_shown_with_its_reason():
    missing = [{"case": "s/c", "implementation": "peer", "reason": "not installed: x"}]
    case = only_case(run_of(measurement("b", "baseline", [1.0]), unavailable=missing))
    assert case.unavailable == [("peer", "not installed: x")]


def test_exact_values_have_no_ratio_and_a_cut_is_said():
    exact = {"stop_reason": "deterministic", "metric": "perplexity", "unit": "1"}
    rows = only_case(
        run_of(measurement("b", "baseline", [20.0], **exact), measurement("m", "method", [21.0], **exact))
    ).rows
    assert (rows[1].ratio, rows[1].value) == (None, "21")
    cut = only_case(run_of(measurement("b", "baseline", [1.0, 1.0], converged=False, stop_reason="max_seconds")))
    assert not cut.rows[0].converged


@pytest.mark.parametrize("rounds", [2, 7, 40])
def test_the_ratio_is_that_of_the_library(rounds):
    random = np.random.default_rng(rounds)
    a, b = random.lognormal(0.1, 0.3, rounds), random.lognormal(0, 0.3, rounds)
    assert compare(a, b) == ratio_cis(a, b, RESAMPLES, np.random.default_rng(0))[0]


def test_the_ratio_is_that_of_the_medians_over_common_rounds():
    ratio = compare([2.0, 4.0, 6.0], [1.0, 2.0, 3.0, 100.0])
    assert ratio.value == pytest.approx(2.0)
    assert ratio.lo == ratio.hi == pytest.approx(2.0)


def test_header_fields_run_to_the_next_field_and_fold_white_space():
    doc = "Title.\n\nPaper: one\n    two.\nChecked against: three: four.\n"
    assert header_fields(doc) == {"Paper": "one two.", "Checked against": "three: four."}


@pytest.mark.parametrize("family", ["measurement", "quantization", "models"])
def test_every_module_with_a_header_is_shown_with_every_field(family):
    found = implementations(ROOT, family, "https://example.org/r")
    assert len(found) >= 5
    assert all(
        [name for name, _ in one.fields] == list(FIELDS) and all(text for _, text in one.fields) for one in found
    )
    assert all((ROOT / one.source_url.partition("/blob/main/")[2]).is_file() for one in found)


def test_every_family_named_by_a_page_exists():
    pages = load_catalogue(ROOT).pages
    named = [page.technique.family for page in pages.values() if page.technique.family]
    assert {"quantization", "measurement"} <= set(named)
    assert [family for family in named if not (ROOT / "reference_impls" / family / "__init__.py").is_file()] == []


@pytest.mark.parametrize("count", [1, 2, 3, 6, 7, 50])
def test_medians_and_quantiles_are_numpys_to_the_last_digit(count):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        rows = rng.lognormal(size=(40, count)).round(rng.integers(1, 17))
        expected = np.median(rows, axis=1)
        assert points.medians(rows.copy()).tolist() == expected.tolist()
        for share in (0.0, 0.025, (1 - 0.95) / 2, 0.3, 0.5, 0.975, 1.0):
            assert points.quantile(np.sort(expected), share) == np.quantile(expected, share)


def test_cells_escape_what_they_hold():
    assert cells(["a & b", 3, "<i>'\""]) == "<td>a &amp; b</td><td>3</td><td>&lt;i&gt;&#39;&#34;</td>"
    assert cells(["alone"]) == "<td>alone</td>"
