"""Packed forms: the same weight, the same product, the bytes that the formula says."""

import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from reference_impls.pruning import bitmask, semi_structured
from reference_impls.pruning.masks import MaskConfig, keep_by_layer
from reference_impls.pruning.semi_structured import (
    Config,
    SemiStructuredLinear,
    keep_mask,
    obstacle,
    pack,
    places_of,
    prepare,
    unpack,
)
from tests.quantization.cases import inputs_of, seeded, weight_of

DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)


def two_of_four(out=16, width=64, dtype=torch.float32):
    weight = weight_of(out, width, dtype=dtype)
    return weight * keep_mask(weight, Config())


@DTYPES
def test_unpacked_is_the_weight_bit_for_bit(dtype):
    weight = two_of_four(dtype=dtype)
    assert torch.equal(unpack(pack(weight)), weight)
    assert unpack(pack(weight)).dtype == dtype


@given(st.integers(0, 2**31), st.floats(0, 1))
def test_groups_with_fewer_than_two_pack_as_well(seed, share):
    generator = seeded(seed)
    weight = torch.randn(3, 16, generator=generator)
    weight = weight * keep_mask(weight, Config()) * (torch.rand(3, 16, generator=generator) < share)
    assert torch.equal(unpack(pack(weight)), weight)


def test_a_worked_example():
    packed = pack(torch.tensor([[0.0, 5.0, 0.0, 6.0, 7.0, 0.0, 8.0, 0.0]]))
    assert packed.values.tolist() == [[5.0, 6.0, 7.0, 8.0]]
    assert places_of(packed).tolist() == [[[1, 3], [0, 2]]]
    assert packed.codes.tolist() == [[0b10_00_11_01]]


@pytest.mark.parametrize("dtype, share", [(torch.float32, 17 / 32), (torch.bfloat16, 9 / 16)], ids=str)
def test_bytes_are_the_formula(dtype, share):
    weight = two_of_four(32, 128, dtype)
    assert pack(weight).nbytes == share * weight.nbytes
    layer = SemiStructuredLinear(pack(weight))
    assert sum(held.nbytes for held in layer.buffers()) == share * weight.nbytes


@DTYPES
@pytest.mark.parametrize("shape", [(64,), (5, 64), (2, 3, 64)], ids=str)
def test_product_is_the_dense_one(shape, dtype):
    weight = two_of_four(dtype=dtype)
    inputs = torch.randn(shape, generator=seeded(), dtype=torch.float32).to(dtype)
    dense = torch.nn.functional.linear(inputs, weight)
    assert torch.equal(prepare(pack(weight))(inputs), dense)
    bias = weight_of(1, 16, seed=4, dtype=dtype).flatten()
    assert torch.equal(
        SemiStructuredLinear(pack(weight), bias)(inputs), torch.nn.functional.linear(inputs, weight, bias)
    )


def test_a_layer_survives_its_state_and_moves_with_the_model():
    layer = SemiStructuredLinear(pack(two_of_four()), torch.ones(16))
    other = SemiStructuredLinear(pack(two_of_four() * 0), torch.zeros(16))
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(torch.ones(2, 64)), layer(torch.ones(2, 64)))
    assert nn.Sequential(layer).double()[0].values.dtype == torch.float64


def test_a_weight_with_more_than_two_is_refused():
    with pytest.raises(ValueError, match="n_of_m"):
        pack(weight_of(4, 16))
    with pytest.raises(ValueError, match="multiple of 8"):
        pack(torch.zeros(4, 12))
    with pytest.raises(ValueError, match="semi_structured is"):
        Config(n_of_m=(4, 8))


def test_paths_say_why_they_cannot():
    packed = pack(two_of_four())
    assert obstacle(packed, "unpack") is None
    assert "is not one of" in obstacle(packed, "magic")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="tensor_core runs on NVIDIA GPUs"):
            prepare(packed, "tensor_core")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("rows", [1, 16, 100])
def test_tensor_cores_give_the_dense_product(rows):
    weight = two_of_four(128, 256, torch.float16).cuda()
    packed = pack(weight)
    if obstacle(packed, "tensor_core"):
        pytest.skip(obstacle(packed, "tensor_core"))
    inputs = inputs_of(rows, 256, dtype=torch.float16).cuda()
    dense = torch.nn.functional.linear(inputs.float(), weight.float())
    assert torch.allclose(prepare(packed, "tensor_core")(inputs).float(), dense, rtol=2e-2, atol=2e-2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("rows", [1, 32, 100])
def test_tensor_cores_give_the_exact_sums_of_int8(rows):
    weight = two_of_four(128, 256, torch.float32).mul(20).clamp(-127, 127).to(torch.int8).cuda()
    packed = pack(weight)
    if obstacle(packed, "tensor_core"):
        pytest.skip(obstacle(packed, "tensor_core"))
    inputs = inputs_of(rows, 256).mul(20).clamp(-127, 127).to(torch.int8).cuda()
    found = prepare(packed, "tensor_core")(inputs)
    assert torch.equal(found.long().cpu(), inputs.long().cpu() @ weight.long().cpu().T)


def test_a_layer_takes_the_tensor_cores_where_they_are_and_unpacks_elsewhere(monkeypatch):
    weight, bias = two_of_four(32, 64, torch.float32), torch.randn(32)
    layer, inputs = SemiStructuredLinear(pack(weight), bias), torch.randn(3, 64)
    expected = torch.nn.functional.linear(inputs, weight, bias)
    assert torch.equal(layer(inputs), expected)
    assert layer._product is None
    made = []

    def prepare_once(packed, path):
        made.append(path)
        return lambda x: x @ semi_structured.unpack(packed).T

    monkeypatch.setattr(semi_structured, "obstacle", lambda _packed, _path: None)
    monkeypatch.setattr(semi_structured, "prepare", prepare_once)
    assert torch.allclose(layer(inputs), expected, atol=1e-5)
    assert torch.allclose(layer(inputs), expected, atol=1e-5)
    assert made == ["tensor_core"]  # its own form of the weight is made once
    layer.to(torch.float64)(inputs.double())
    assert made == ["tensor_core"] * 2  # and again where the weight became another
    layer(inputs)  # inputs of another dtype are for the dense product
    assert len(made) == 2


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.9, 1.0])
@DTYPES
def test_bitmask_keeps_the_weight_and_its_bytes_are_the_formula(dtype, sparsity):
    weight = weight_of(16, 64, dtype=dtype)
    weight = weight * keep_by_layer(weight.abs(), MaskConfig(sparsity))
    packed = bitmask.pack(weight)
    assert torch.equal(bitmask.unpack(packed), weight)
    kept = weight.numel() - round(sparsity * weight.numel())
    assert packed.nbytes == weight.numel() // 8 + kept * weight.element_size()
    assert packed.shape == weight.shape


def test_csr_bytes_are_those_of_torch():
    weight = two_of_four()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch calls its CSR a beta
        stored = weight.to_sparse_csr()
    parts = (stored.values(), stored.crow_indices().int(), stored.col_indices().int())
    assert bitmask.csr_bytes(weight) == sum(part.nbytes for part in parts)
    with pytest.raises(ValueError, match="multiple of 8"):
        bitmask.pack(torch.zeros(2, 9))


def test_at_one_half_two_of_four_costs_what_a_bitmask_does_and_csr_more_than_dense():
    weight = two_of_four(64, 128, torch.float16)
    sizes = [semi_structured.pack(weight).nbytes, bitmask.pack(weight).nbytes, bitmask.csr_bytes(weight)]
    assert sizes[0] == sizes[1] < weight.nbytes < sizes[2]
