"""What the cases run computes attention, what they weigh is what lived, and limits are those of the bytes."""

import pytest
import torch

from reference_impls import cpp
from reference_impls.attention import bench, bench_prefill, bench_time
from reference_impls.attention.bench_prefill import WAYS, peak_bytes
from reference_impls.kv_cache import paged
from reference_impls.kv_cache.shape import CacheShape
from reference_impls.measurement.case import Ceilings
from reference_impls.models.attend import grouped_attention
from scripts.bench.runner import Budget, run_case
from tests.triton_here import needs_triton

CASES = {case.id: case for case in bench.cases()}
SCALARS = 64
"""Bytes that numbers in expressions take for a moment."""


# Memory.


def test_bytes_are_those_that_lived_at_a_time():
    x = torch.randn(1000)  # 4,000 bytes, which are not counted
    assert peak_bytes(lambda: x + x, "cpu") == 4000
    assert peak_bytes(lambda: (x + x) + x, "cpu") == 8000  # the sum within lives until the outer one is there
    assert peak_bytes(lambda: torch.stack([x + x for _ in range(3)]), "cpu") == 24_000
    assert peak_bytes(lambda: x.add_(x), "cpu") == 0

    def one_after_another():
        for _ in range(5):
            last = x + x
        return last

    assert peak_bytes(one_after_another, "cpu") == 8000  # a sum goes when the next one takes its name


def test_bytes_inside_an_operation_count():
    x = torch.randn(64, 64)
    assert peak_bytes(lambda: x.t().reshape(-1).sort().values, "cpu") >= 2 * x.nbytes + 8 * x.numel()  # and the places


def test_a_gpu_is_asked_for_its_most_beyond_what_was_there(monkeypatch):
    ran = []
    for name, value in {"reset_peak_memory_stats": None, "memory_allocated": 100, "max_memory_allocated": 160}.items():
        monkeypatch.setattr(torch.cuda, name, lambda name=name, value=value: ran.append(name) or value)
    assert peak_bytes(lambda: ran.append("run"), "cuda") == 60
    assert ran == ["run", "reset_peak_memory_stats", "memory_allocated", "run", "max_memory_allocated"]


@pytest.mark.parametrize("length", [96, 160])
def test_whole_scores_live_three_times_or_twice_beside_the_result(length):
    given = bench_time.inputs(length, length, torch.float32, "cpu")
    repeated = 2 * bench_time.HEADS * length * bench_time.DIM * 4
    scores, result = bench_time.HEADS * length**2 * 4, given[0].nbytes
    most = max(3 * scores, 2 * scores + result)  # scaled, with some hidden, as shares; or scaled, as shares, mixed
    found = peak_bytes(lambda: WAYS["whole-scores"][2](*given), "cpu")
    assert 0 <= found - (repeated + most + length**2) <= SCALARS  # and the mask, a byte each


def test_tiles_take_memory_in_proportion_to_the_length():
    found = {}
    for length in (256, 512, 1024):
        given = bench_time.inputs(length, length, torch.float32, "cpu")
        found[length] = peak_bytes(lambda given=given: WAYS["flash"][2](*given), "cpu")
        of_queries, tile = given[0].nbytes, bench_time.HEADS * 128**2 * 4
        assert 2 * of_queries < found[length] < 3.1 * of_queries + 8 * tile  # scaled queries, sums, the result; a tile
    assert found[1024] < 2 * found[512] < 4 * found[256]


def test_the_case_gives_what_was_weighed():
    case = CASES["attention/prefill/tokens-256/peak_memory"]
    result = run_case(case, "cpu", Ceilings(), Budget())
    found = {one["implementation"]: one["samples"] for one in result.measurements}
    assert not result.unavailable
    assert found["sdpa"][0] < found["flash"][0] < found["whole-scores"][0]
    given = bench_time.inputs(256, 256, torch.float32, "cpu")
    assert found["whole-scores"][0] == pytest.approx(peak_bytes(lambda: WAYS["whole-scores"][2](*given), "cpu"))


def test_every_way_of_prefill_computes_the_same(one_thread):
    given = bench_time.inputs(200, 200, torch.float32, "cpu")
    wanted = WAYS["whole-scores"][2](*(part.double() for part in given))
    for name, (_, _, way) in WAYS.items():
        assert torch.allclose(way(*given).double(), wanted, atol=1e-5), name


# Decode.


@pytest.fixture(scope="module")
def three_rows():
    return bench_time.inputs(1, 64, torch.float32, "cpu", batch=3)


@pytest.mark.parametrize(
    "name",
    ["sdpa", "flash-attention", "grouped-products", "split-kv", "paged-gather", "paged-cpu", "contiguous-cpu"],
)
def test_every_way_of_decode_takes_several_rows(name, three_rows, one_thread):
    if name.endswith("cpu") and cpp.obstacle():
        pytest.skip(cpp.obstacle())
    got = bench_time._way(name, *three_rows)()
    assert torch.allclose(got, grouped_attention(*three_rows), atol=1e-5)


@pytest.mark.parametrize("name", ["sdpa", "flash-attention", "grouped-products", "split-kv"])
def test_what_a_gpu_runs_without_triton_runs_here_in_its_type(name, one_thread):
    case = CASES["attention/decode-cuda/batch-16-context-1024/step_time"]
    [one] = [one for one in case.implementations if one.name == name]
    assert one.prepare({**case.workload, "cached_tokens": 64}, "cpu")() is None  # it compares with float32 first


@needs_triton
@pytest.mark.parametrize("name", ["paged-kernel", "contiguous-kernel", "paged-kernel-8-bit"])
def test_the_kernels_take_several_rows(name, three_rows):
    error = (bench_time._way(name, *three_rows)() - grouped_attention(*three_rows)).abs().max()
    assert error < (0.02 if name.endswith("bit") else 1e-5)


def test_codes_of_several_rows_stand_for_their_numbers(three_rows):
    queries, keys, values = three_rows
    codes, rows = bench_time.coded(keys, values, 8)
    got = bench_time.decode(queries, codes, rows, path="gather")
    assert torch.allclose(got, grouped_attention(queries, keys, values), atol=0.02)


def test_blocks_lie_as_those_of_the_pool():
    _, keys, values = bench_time.inputs(1, 64, torch.float32, "cpu", batch=2)
    blocks, rows = bench_time.paged(keys, values)
    shape = CacheShape(1, 2, bench_time.KV_HEADS, bench_time.DIM, 64, torch.float32, "cpu")
    pool = paged.PagedPool(shape, paged.Config(tokens_per_block=bench_time.PER_BLOCK, device_blocks=8))
    assert blocks.keys.stride()[1:] == pool.layers[0][0].stride()[1:]  # a block holds one layer here, and no values
    assert sorted(rows.table.flatten().tolist()) == list(range(8))
    assert rows.table.flatten().tolist() != list(range(8))
    one_row, table = bench_time.contiguous(keys, values)
    assert one_row.keys.data_ptr() == keys.data_ptr()
    assert table.table.tolist() == [[0], [1]]


def test_limits_grow_with_the_rows():
    ceilings = Ceilings(read_bytes_per_s=1e10)
    alone = CASES["attention/decode-cuda/context-1024/step_time"]
    many = CASES["attention/decode-cuda/batch-16-context-1024/step_time"]
    for one, other in zip(alone.implementations, many.implementations, strict=True):
        assert 16 * one.limit(alone.workload, ceilings).value == other.limit(many.workload, ceilings).value


def test_a_gpu_has_the_same_kernel_on_pages_and_without_and_flash_attention_by_name():
    for case in CASES.values():
        if case.id.startswith("attention/decode-cuda/"):
            found = {one.name: one.module for one in case.implementations}
            assert found["paged-kernel"] == found["contiguous-kernel"] == "paged_decode_triton"
            assert found["flash-attention"] is None
            assert case.devices == ("cuda",)


def test_a_step_that_is_wrong_does_not_run(monkeypatch):
    case = CASES["attention/decode-cpu/context-1024/step_time"]
    monkeypatch.setattr(bench_time, "_way", lambda name, queries, *_: lambda: torch.zeros_like(queries))
    with pytest.raises(ValueError, match="relative error"):
        bench_time._decode("sdpa", {**case.workload, "cached_tokens": 64}, "cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_counts_its_own_bytes():
    x = torch.randn(1024, device="cuda")
    assert peak_bytes(lambda: x + x, "cuda") == 4096
    assert bench_prefill.WEIGHED["cuda"][0] == "bfloat16"
