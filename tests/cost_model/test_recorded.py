"""The bounds against what was recorded in results/: nothing beats them, and they are as strict as the bench's."""

from pathlib import Path
from statistics import median

import pytest

from reference_impls.cost_model import Machine, Tables
from scripts.catalogue.load import load_catalogue
from scripts.catalogue.model import Run
from scripts.website.predictions import (
    TOLERANCE,
    evidence,
    format_of_kernel,
    linear_bound,
    machine_of,
    measured_machines,
    model_error,
    predictions,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def runs() -> dict[str, Run]:
    return load_catalogue(ROOT).runs


def test_no_recorded_run_beats_its_bound(tables: Tables, runs: dict[str, Run]) -> None:
    found = predictions(tables, runs)
    assert len(found) >= 20
    beaten = [(one.case, one.implementation, one.slower) for one in found if one.slower < 1 / TOLERANCE]
    assert beaten == []


def test_bounds_are_no_looser_than_those_that_the_bench_recorded(tables: Tables, runs: dict[str, Run]) -> None:
    """Ours count scales, norms and the cache as well; the recorded ones only the weights."""
    compared = 0
    for one in predictions(tables, runs):
        for row in runs[one.file].measurements:
            if (row.case, row.implementation) == (one.case, one.implementation) and row.limit:
                compared += 1
                tighter = one.bound / row.limit.value if row.better == "lower" else row.limit.value / one.bound
                assert tighter >= 0.98, (one.case, one.implementation, one.bound, row.limit.value)
    assert compared >= 20


def test_counts_of_the_error_follow_from_the_rows(tables: Tables, runs: dict[str, Run]) -> None:
    found = predictions(tables, runs)
    error = model_error(found)
    assert error.rows == len(found)
    assert error.within_2 == len([one for one in found if one.slower <= 2]) <= error.rows
    assert error.tightest is not None
    assert error.loosest is not None
    assert error.tightest.slower <= min(one.slower for one in found)
    assert error.loosest.slower >= max(one.slower for one in found)
    assert model_error([]).tightest is None


def test_a_run_that_is_too_fast_is_counted_as_beating(tables: Tables, runs: dict[str, Run]) -> None:
    file, run = next(item for item in runs.items() if item[1].suite == "quantization")
    fast = [row.model_copy(update={"samples": [value / 1e6 for value in row.samples]}) for row in run.measurements
            if row.metric == "step_time"]  # fmt: skip
    quick = run.model_copy(update={"measurements": fast})
    error = model_error(predictions(tables, {file: quick}))
    assert error.beaten == error.rows > 0


def test_measured_machines_carry_the_recorded_ceilings(runs: dict[str, Run]) -> None:
    rows = measured_machines(runs)
    assert set(rows) == {run.machine.name for run in runs.values() if machine_of(run)}
    for run in runs.values():
        machine = rows[run.machine.name].machine
        assert machine.read_bytes_per_s >= (run.ceilings.read_bytes_per_s or 0)
        assert machine.bfloat16_flops_per_s >= run.ceilings.matmul_flops_per_s.get("bfloat16", 0)


def test_evidence_is_what_the_records_say(tables: Tables, runs: dict[str, Run]) -> None:
    seen = evidence(tables, runs, predictions(tables, runs))
    assert seen["int4-g64"].exact
    assert not seen["int4-g128"].exact
    for row in seen.values():
        for one in row.quality:
            samples = {
                found.implementation: found.samples for found in runs[one.file].measurements if found.case == one.case
            }
            base = next(m for m in runs[one.file].measurements if m.case == one.case and m.role == "baseline")
            assert one.ratio == pytest.approx(median(samples[one.method]) / median(base.samples), rel=1e-3)
        assert all(0 < one.low <= one.high <= 100 for one in row.speed)
    assert "gguf-q8_0" not in seen


def test_kernels_are_known_by_the_names_in_the_records(tables: Tables) -> None:
    assert format_of_kernel(tables, "int4-aten") == "int4-g64"
    assert format_of_kernel(tables, "int8-aten") == "int8"
    assert format_of_kernel(tables, "bf16") == "bf16"
    assert format_of_kernel(tables, "dequantize-int8") is None
    assert format_of_kernel(tables, "int4-aten", gpu=True) == "int4-g128"
    known = [name for row in tables.weight_rows.values() if row.evidence for name in row.evidence.kernels]
    assert len(known) == len(set(known))
    for row in tables.weight_rows.values():
        assert not (row.evidence and row.evidence.like) or row.evidence.like in tables.weight_rows


def test_the_bound_of_one_layer_by_hand(tables: Tables) -> None:
    """4,096 x 4,096 in 4 bits with 32 bits for 64: 9,437,184 bytes; 64 rows of inputs: 2.1e9 operations."""
    machine = Machine(memory_bytes=1, read_bytes_per_s=1e9, bfloat16_flops_per_s=1e12)
    assert linear_bound(4096, 4096, 1, machine, tables.weights["int4-g64"]) == 9_437_184 / 1e9
    slow = Machine(memory_bytes=1, read_bytes_per_s=1e12, bfloat16_flops_per_s=1e9)
    assert linear_bound(4096, 4096, 64, slow, tables.weights["int4-g64"]) == 2 * 64 * 4096**2 / 1e9
