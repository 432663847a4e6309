"""Seeds draw what they say, equal bytes are equal, and published shapes give what their papers count."""

import pytest
import torch

from reference_impls.attention import bench, bench_heads, bench_sharing
from reference_impls.measurement.case import Ceilings
from reference_impls.pruning.bench_models import SEEDS
from scripts.bench.runner import Budget, run_case

CASES = {case.id: case for case in bench.cases()}
KINDS = (*bench_heads.HEADS, *bench_heads.LATENTS)


def values(name):
    result = run_case(CASES[name], "cpu", Ceilings(), Budget())
    assert not result.unavailable
    return {one["implementation"]: one["samples"] for one in result.measurements}


@pytest.fixture
def short(monkeypatch, one_thread):
    pytest.importorskip("tokenizers", reason="tokenizers is not installed")
    for name, value in {"TOY_STEPS": 2, "UPTRAIN_STEPS": 1, "EVALUATED": 256, "CONTEXT": 64}.items():
        monkeypatch.setattr(bench_heads, name, value)
    kept = bench_heads.uptrained, bench_heads.untrained
    for one in kept:
        one.cache_clear()
    yield
    for one in kept:
        one.cache_clear()


def test_every_sample_is_a_training_of_its_own(short):
    found = values("attention/heads/toy/perplexity")
    equal = values("attention/heads/toy-two-heads/perplexity")
    assert found["gqa-2"] == equal["gqa-2"]
    found |= equal
    assert set(found) == set(KINDS)
    for samples in found.values():
        assert len(set(samples)) == SEEDS
    assert found["gqa-2"][3] == bench_heads._toy_perplexity("gqa-2", "", 3)  # a seed gives the same again


def test_only_what_is_trained_on_differs_by_seed(short):
    found = values("attention/gqa/tiny-target/one-head/perplexity")
    assert {name: len(set(samples)) for name, samples in found.items()} == {
        "two-heads": 1,
        "two-heads-trained": SEEDS,
        "mean": 1,
        "first": 1,
        "mean-trained": SEEDS,
        "first-trained": SEEDS,
    }


def test_latents_have_as_many_bytes_as_the_heads_they_are_compared_with():
    found = {name: samples[0] for name, samples in values("attention/heads/toy/kv_bytes").items()}
    equal = {name: samples[0] for name, samples in values("attention/heads/toy-two-heads/kv_bytes").items()}
    assert found["mla"] == found["mqa"]
    assert equal["mla-64"] == equal["gqa-2"] == found["gqa-2"]
    assert found["mha"] == 6 * found["mqa"]


@pytest.mark.parametrize("kind", KINDS)
def test_all_kinds_start_from_weights_of_the_same_deviation(kind):
    model = bench_heads.toy(kind, 0)
    for name, weight in model.named_parameters():
        if weight.dim() > 1:
            assert float(weight.detach().std()) == pytest.approx(bench_heads.INITIAL_DEVIATION, rel=0.1), name


def test_the_rate_rises_and_falls_to_nothing(monkeypatch):
    pytest.importorskip("tokenizers", reason="tokenizers is not installed")
    rates = []
    plain = torch.optim.AdamW.step
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self: rates.append(self.param_groups[0]["lr"]) or plain(self))
    bench_heads.train(bench_heads.toy("mqa", 0), 8, 1.0, 1, 8, warmup=3)
    assert rates == [0.25, 0.5, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]


def test_the_published_shapes_give_the_share_that_the_paper_counts():
    found = {name: samples[0] for name, samples in values("attention/published/deepseek-v2/kv_bytes").items()}
    assert found["deepseek-67b"] == 95 * 2 * 8 * 128 * 2
    assert 1 - found["latents-6-bit"] / found["deepseek-67b"] == pytest.approx(0.933, abs=5e-4)
    assert 1 - found["latents-16-bit"] / found["deepseek-67b"] == pytest.approx(0.822, abs=5e-4)


def test_limits_of_shared_heads_are_those_of_their_bytes(monkeypatch):
    monkeypatch.setattr(bench_sharing, "DIM", 8)
    [case] = [case for case in CASES.values() if "/decode-heads-cpu/" in case.id]
    limits = {one.name: one.limit(case.workload, Ceilings(read_bytes_per_s=1e10)) for one in case.implementations}
    assert limits["separate-heads"].value == 32 * limits["one-head"].value == 4 * limits["groups-of-4"].value
    for one in case.implementations:
        assert one.prepare({**case.workload, "cached_tokens": 16}, "cpu")() is None
