"""The limits of an iteration, in both ways to mix, and what chunks do to the time between tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_impls.serving import Job, Limits, Request, fcfs
from reference_impls.serving.chunked_prefill import compose, is_decode
from reference_impls.serving.cost import CostModel
from reference_impls.serving.metrics import SUMMARIES
from reference_impls.serving.simulate import simulate

ROWS = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 3), st.booleans()), max_size=20)


def jobs_of(rows):
    made = []
    for n, (prompt, generated, is_cached) in enumerate(rows):
        cached = prompt + generated - 1 if generated and is_cached else 0
        made.append(Job(n, 0.0, prompt, 9, cached=cached, generated=generated))
    return made


@given(rows=ROWS, batch=st.integers(1, 6), tokens=st.integers(1, 50), chunk=st.one_of(st.none(), st.integers(1, 12)))
def test_an_iteration_keeps_its_limits(rows, batch, tokens, chunk):
    jobs = jobs_of(rows)
    found = compose(jobs, Limits(batch, tokens, chunk))
    assert len(found.jobs) == len(found.tokens) <= batch
    assert bool(found.jobs) == bool(jobs)
    assert sum(found.tokens) <= tokens or (len(found.jobs) == 1 and chunk is None)
    assert all(1 <= n <= min(job.pending, chunk or 99) for job, n in zip(found.jobs, found.tokens, strict=True))
    assert found.prefill_tokens + found.decoders == sum(found.tokens)
    assert found.kv_tokens == sum(job.cached for job in found.jobs)
    prompts = [(job, n) for job, n in zip(found.jobs, found.tokens, strict=True) if not is_decode(job)]
    assert found.pairs == sum(job.cached + place for job, n in prompts for place in range(1, n + 1))
    assert found.passes == max(1, sum(n > 1 for n in found.tokens) + any(n == 1 for n in found.tokens))


@given(rows=ROWS)
def test_apart_means_that_no_iteration_has_both(rows):
    jobs = jobs_of(rows)
    apart, both = (compose(jobs, Limits(20, 4096, mixing=mixing)) for mixing in ("separate", "mixed"))
    assert not (apart.prefill_tokens and apart.decoders)
    assert {job.id for job in [*apart.jobs, *apart.held]} == {job.id for job in both.jobs}
    assert all(is_decode(job) for job in apart.held)


def test_chunks_bound_the_time_between_tokens_and_delay_the_first():
    """Decodes beside long prompts: whole prompts hold them up, pieces do not; the prompt itself takes longer."""
    trace = [Request(0, 0.0, 8, 200), *(Request(n, 0.3 * n, 1000, 4) for n in range(1, 10))]
    cost = CostModel(a=0.01, b=0.0002, c=0.0005, d=1e-7)
    whole, pieces, apart = (
        simulate(trace, fcfs.Scheduler(), cost, limits)
        for limits in (Limits(8), Limits(8, 128, 128), Limits(8, mixing="separate"))
    )
    gap, first = SUMMARIES["tbt_p99"], SUMMARIES["ttft"]
    assert gap(pieces) < 0.04 < 0.2 < gap(whole)
    assert first(pieces) > first(whole)
    assert gap(apart) > 0.2
    assert sum(job.output for job in whole.jobs) == sum(job.output for job in pieces.jobs)


def test_limits_refuse_what_has_no_meaning():
    for wrong in ({"batch": 0}, {"tokens": 0}, {"chunk": 0}, {"mixing": "sometimes"}):
        with pytest.raises(ValueError, match="must be"):
            Limits(**wrong)
