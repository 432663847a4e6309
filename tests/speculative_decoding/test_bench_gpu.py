"""The GPU's cases with tiny shapes on the CPU: every arm runs, the oracle is as right as it was told to be."""

import pytest
import torch

from reference_impls.measurement.case import Ceilings
from reference_impls.models import generate as plain
from reference_impls.speculative_decoding import bench_breakeven, bench_gpu
from reference_impls.speculative_decoding.generate import generate

CASES = {case.id: case for case in bench_gpu.cases()}


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(bench_gpu, "PROMPT", 24)
    monkeypatch.setattr(bench_gpu, "TOKENS", 20)
    for one in (bench_gpu.prompt, bench_gpu.known):
        one.cache_clear()
    yield
    for one in (bench_gpu.prompt, bench_gpu.known):
        one.cache_clear()


@pytest.mark.parametrize("name", sorted(CASES))
def test_every_arm_runs(name):
    case = CASES[name]
    assert case.devices == ("cuda",)
    for one in case.implementations:
        made = one.prepare(case.workload, "cpu")()
        assert (made is None) == case.timed


def test_limits_count_both_models():
    case = CASES["speculative_decoding/8b-shape/acceptance-0.8/decode_throughput"]
    limits = {one.name: one.limit(case.workload, Ceilings(read_bytes_per_s=3e12)).value for one in case.implementations}
    assert limits["plain"] == pytest.approx(3e12 / (2 * 8.03e9), rel=0.01)
    tokens = (1 - 0.8**5) / 0.2
    assert limits["oracle"] == pytest.approx(tokens * 3e12 / (2 * (8.03e9 + 4 * 1.24e9)), rel=0.01)


@pytest.mark.parametrize("ahead", [True, False])
def test_the_streamed_target_is_the_target(ahead):
    own, big = bench_gpu.streamed("cpu", ahead), bench_gpu.model("target", "cpu")
    wanted = plain.generate(big, bench_gpu.prompt("cpu")[None], 12)[0].tolist()
    assert generate(own, bench_gpu.drafter(0.8, "cpu"), [bench_gpu.prompt("cpu")], 12).tokens[0] == wanted
    assert len(own.resident) == 1
    assert own.log.peak_bytes <= own.stream.budget_bytes


def test_the_price_is_paid_for_every_guess():
    paid: list[int] = []
    guesses = bench_gpu.drafter(1.0, "cpu")
    guesses.price = lambda: paid.append(1)
    result = generate(bench_gpu.model("target", "cpu"), guesses, [bench_gpu.prompt("cpu")], 15)
    assert len(paid) == sum(one.drafted for one in result.rounds)
    assert result.tokens_per_pass == 5


def test_the_trees_of_the_verification_case():
    assert [len(bench_gpu.tree_of(n).parents) for n in bench_gpu.NODES] == list(bench_gpu.NODES)
    assert max(bench_gpu.tree_of(129).depths) == 7


@pytest.mark.parametrize("axis", ["acceptance", "cost"])
def test_both_ends_of_the_break_even_axes(axis):
    """A place is a case; measured and foretold ones have equal workloads but for that word, so figures join them."""
    pytest.importorskip("tokenizers")
    mine = [case for case in bench_breakeven.cases() if f"break-even-{axis}" in case.id]
    for measured, foretold in zip(mine[::2], mine[1::2], strict=True):
        assert dict(measured.workload) | {"values": 0} == dict(foretold.workload) | {"values": 0}
    field = "acceptance" if axis == "acceptance" else "draft_cost"
    assert len({case.workload[field] for case in mine}) == 5
    assert torch.is_grad_enabled()
    for one in mine[-1].implementations:
        assert one.prepare(mine[-1].workload, "cpu")() > 0
    assert mine[-2].implementations[1].prepare(mine[-2].workload, "cpu")() is None
