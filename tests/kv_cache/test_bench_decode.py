"""A step leaves its cache as it was, computes what the method does, and bytes follow from shapes."""

import pytest
import torch

from reference_impls.kv_cache import bench_decode, bench_published
from reference_impls.kv_cache.bench_decode import filled, observing
from tests.kv_cache.test_bench import CASES, values

NAMES = ("full", *bench_decode.METHODS, "kivi")


@pytest.fixture(autouse=True)
def tokens(one_thread):
    pytest.importorskip("tokenizers", reason="tokenizers is not installed")


@pytest.mark.parametrize("name", NAMES)
def test_a_step_starts_from_the_same_cache_each_time(name):
    own, take_off = filled(name, 96)
    model, newest = bench_decode.load_model("tiny-target"), bench_decode._read(96)[1]
    found = []
    with torch.inference_mode():
        for _ in range(2):
            with observing(own):
                found.append(model(newest, own, torch.tensor([own.length])))
            if name in ("h2o", "random", "streaming-llm"):
                assert own.held == bench_decode.BUDGET
            take_off()
    assert torch.equal(*found)


def test_steps_run_and_say_what_they_ran():
    for case in bench_decode.cases():
        key = "cached_tokens" if "cached_tokens" in case.workload else "budget"
        for one in case.implementations:
            step = one.prepare({**case.workload, key: 80}, "cpu")
            with torch.inference_mode():
                assert step() is None
                assert step() is None
    assert [one.name for one in CASES["kv_cache/evict/tiny-target/context-448/decode_throughput"].implementations] == [
        *NAMES
    ]


def test_no_group_is_rounded_within_a_step():
    for length in bench_decode.CONTEXTS:
        own, _ = filled("kivi", length)
        before = own.place.nbytes
        with torch.inference_mode():
            bench_decode.load_model("tiny-target")(bench_decode._read(length)[1], own)
        assert own.place.nbytes == before > 0


def test_bytes_of_a_long_prompt_are_those_of_its_tokens(monkeypatch):
    monkeypatch.setattr(bench_published, "LONG", 2048)
    bench_published.long_prompt.cache_clear()
    found = {name: samples[0] for name, samples in values("kv_cache/long-prompt/context-16384/kv_bytes").items()}
    token = bench_published.long_shape().bytes_per_token
    assert found["full"] == 2048 * token
    assert found["snapkv"] == found["streaming-llm"] == 1024 * token
    coded = (2048 - 128) * token * 3 / 16  # 2 bits, and 32 for each group of 32
    assert found["kivi-2"] == coded + 128 * token
    assert found["snapkv-4-bit"] < found["snapkv"] * 0.4
    bench_published.long_prompt.cache_clear()


def test_a_request_of_opt_holds_what_the_formula_gives():
    found = {name: samples[0] for name, samples in values("kv_cache/published/opt-175b/kv_bytes").items()}
    assert found["half-precision"] == found["formula"] == 4 * 96 * 12_288 * 512
