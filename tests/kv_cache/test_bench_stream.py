"""A stream's parts are those of one text, and windows, sinks and dense attention are one until tokens leave."""

import math

import pytest
import torch

from reference_impls.kv_cache import bench_stream
from reference_impls.kv_cache.bench_stream import recomputed, streamed
from reference_impls.models.perplexity import mean_loss
from tests.kv_cache.test_bench import values


@pytest.fixture
def short(monkeypatch):
    """A stream of a thirtieth."""
    pytest.importorskip("tokenizers", reason="tokenizers is not installed")
    monkeypatch.setattr(bench_stream, "TOKENS", 601)
    kept = recomputed, streamed
    for one in kept:
        one.cache_clear()
    yield
    for one in kept:
        one.cache_clear()


@pytest.mark.parametrize(("context", "stride"), [(64, 8), (128, 128)])
def test_windows_read_anew_are_those_of_perplexity(short, context, stride):
    wanted = mean_loss(bench_stream.load_model("tiny-target"), bench_stream.stream(), context, stride)
    assert float(recomputed(context, stride).double().mean()) == pytest.approx(wanted, rel=1e-5)


def test_until_tokens_leave_all_ways_are_one(short):
    dense = recomputed(512, 512)
    for losses in (streamed(256, 4), streamed(256, 0), recomputed(256, 32)):
        assert torch.allclose(losses[:256], dense[:256], atol=1e-4)
        assert (losses - dense)[256:].abs().max() > 1e-2


def test_samples_are_the_parts_of_one_stream(short):
    found = values("kv_cache/stream/tiny-target/budget-64/perplexity")
    for name, losses in {"streaming-llm": streamed(64, 4), "window": streamed(64, 0)}.items():
        mean = sum(math.log(one) for one in found[name]) / len(found[name])  # the parts are as long as each other
        assert mean == pytest.approx(float(losses.double().mean()))
    assert len(found["recomputed"]) == bench_stream.PARTS


def test_the_stream_is_many_times_as_long_as_the_models_positions():
    for case in bench_stream.cases():
        assert case.workload["tokens"] == 20_000 > 10 * case.workload["max_positions"]
