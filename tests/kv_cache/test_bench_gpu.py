"""What a GPU's cases do, run on a CPU where nothing of it needs the other machine."""

import pytest
import torch

from reference_impls.kv_cache import bench_gpu
from reference_impls.measurement.case import Ceilings

CASES = {case.id: case for case in bench_gpu.cases()}


@pytest.mark.parametrize("name", ["products-alone", "swap-then-products"])
def test_a_swap_and_products_leave_the_sequence_where_it_was(monkeypatch, name):
    monkeypatch.setattr(bench_gpu, "TOKENS", 64)
    full, made = bench_gpu._full, []
    monkeypatch.setattr(bench_gpu, "_full", lambda *asked: made.append(full(*asked)) or made[-1])
    step = bench_gpu._beside(name, {"products": 2, "side": 16}, "cpu")
    [(pool, sequence)] = made
    pool.storage[...] = torch.randn(pool.storage.shape, generator=torch.Generator().manual_seed(0))
    before = pool.storage[sequence.blocks].clone()
    step()
    assert sequence.place == "device"
    assert torch.equal(pool.storage[sequence.blocks], before)


def test_bounds_are_the_bytes_of_both_ways_and_the_products():
    ceilings = Ceilings(matmul_flops_per_s={"bfloat16": 1e15}, host_to_device_bytes_per_s=5e10)
    swap, beside = CASES["kv_cache/swap/8b-shape/step_time"], CASES["kv_cache/swap/8b-shape-beside-products/step_time"]
    assert swap.implementations[0].limit(swap.workload, ceilings).value == pytest.approx(2 * 4096 * 131_072 / 5e10)
    assert beside.implementations[0].limit(beside.workload, ceilings).value == pytest.approx(160 * 2 * 4096**3 / 1e15)
    assert all(case.devices == ("cuda",) for case in CASES.values())
