"""The family's cases: what fits and what is shared follows from counting, and modules that are named exist."""

from importlib import import_module

import pytest

from reference_impls.serving import bench, bench_capacity, bench_prefix
from reference_impls.serving.bench_clock import SteadyClock
from reference_impls.serving.bench_engine import CPU, TRACED, rank_correlation, requests_of
from reference_impls.serving.bench_simulated import LOADS, TRACES, highest

CASES = bench.cases()


def test_modules_that_are_named_exist():
    for case in CASES:
        for one in case.implementations:
            if one.module:
                import_module(f"reference_impls.serving.{one.module}")


def test_every_set_up_of_the_engine_has_fifty_requests_and_trials_to_compare():
    assert all(setup.requests >= 50 and setup.trials >= 3 for setup in CPU)
    for model in {setup.model for setup in CPU}:
        served = {(setup.trace, setup.load) for setup in TRACED if setup.model == model and setup.requests >= 50}
        assert served == {(trace, load) for trace in TRACES for load in LOADS}


@pytest.mark.parametrize("setup", TRACED, ids=lambda setup: f"{setup.model}-{setup.trace}-{setup.load}")
def test_requests_that_are_shortened_stay_within_their_bounds(setup):
    found = requests_of(setup, 0)
    assert len(found) == setup.requests
    assert max(one.output for one in found) <= setup.longest
    assert len({one.output for one in found}) > 1
    assert sum(one.output for one in found) > 100


def test_a_reservation_holds_as_many_requests_as_longest_ones_fit():
    """All but the last few iterations are full."""
    most = bench_capacity.MEMORY_TOKENS / bench_capacity.LONGEST
    reserved = bench_capacity.concurrent(bench_capacity.LONGEST, 0)
    paged = bench_capacity.concurrent(256, 0)
    assert 0.9 * most < reserved <= most
    assert paged > 2 * reserved


def test_what_programs_share_is_not_computed_again():
    engine = bench_prefix.engine_of(True, SteadyClock())
    engine.serve(bench_prefix.calls())
    shared, calls, programs = bench_prefix.SHARED, bench_prefix.CALLS, bench_prefix.PROGRAMS
    assert engine.reused_tokens == programs * (calls - 1) * shared
    plain = bench_prefix.engine_of(False, SteadyClock())
    plain.serve(bench_prefix.calls())
    assert plain.answers == engine.answers


def test_the_highest_is_found_to_four_per_cent():
    assert highest(lambda x: x <= 3.7, 0.2, 20.0) == pytest.approx(3.7, rel=0.04)
    for never_or_always in (False, True):
        with pytest.raises(ValueError, match="above" if never_or_always else "below"):
            highest(lambda _, found=never_or_always: found, 0.2, 20.0)


def test_ranks():
    assert rank_correlation([1.0, 2.0, 3.0], [10.0, 20.0, 30.0]) == pytest.approx(1.0)
    assert rank_correlation([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]) == pytest.approx(-1.0)
    a, b = [0.5, 0.5, 0.25, 4.0, 0.5 + 1e-12, 3.0], [0.7, 0.6, 0.5, 2.0, 0.8, 2.0]
    assert rank_correlation(a, b) == pytest.approx(0.92406166)  # scipy.stats.spearmanr of a rounded, and b


@pytest.mark.slow
def test_continuous_batching_of_transformers_gives_the_same_answers():
    pytest.importorskip("transformers")
    from reference_impls.serving import bench_hugging_face, fcfs
    from reference_impls.serving.bench_engine import TINY, run
    from reference_impls.serving.cost import CostModel

    _, engine = run(TINY, lambda _: fcfs.Scheduler(), 0, "cpu", None, CostModel())
    assert bench_hugging_face.answers(TINY) == engine.answers
