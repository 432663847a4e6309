"""Packed weights: real bytes, the same values."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from reference_impls.quantization import awq, gptq, hqq, rtn
from reference_impls.quantization.apply import quantize_model, weight_bytes
from reference_impls.quantization.calibration import Calibration, stats_of
from reference_impls.quantization.packed import (
    PackedLinear,
    load_packed,
    pack,
    pack_codes,
    stored_bits,
    unpack,
    unpack_codes,
)
from tests.quantization.cases import inputs_of, small_decoder, tokens_of, weight_of


@given(st.integers(1, 8), st.integers(1, 5), st.integers(1, 6), st.integers(0, 2**31))
def test_codes_survive_packing(bits, rows, bytes_a_row, seed):
    width = bytes_a_row * 8 // stored_bits(bits)
    codes = torch.randint(0, 2**bits, (rows, width), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    packed = pack_codes(codes, bits)
    assert packed.shape == (rows, bytes_a_row)
    assert torch.equal(unpack_codes(packed, bits), codes)


def test_the_first_code_is_in_the_lowest_bits():
    assert pack_codes(torch.tensor([[1, 2, 15, 0]], dtype=torch.uint8), 4).tolist() == [[0x21, 0x0F]]
    assert pack_codes(torch.tensor([[1, 2, 3, 0]], dtype=torch.uint8), 2).tolist() == [[0b00111001]]


def test_an_odd_width_is_refused():
    with pytest.raises(ValueError, match="multiple of it, got 5"):
        pack_codes(torch.zeros(2, 5, dtype=torch.uint8), 4)


def quantized_weights():
    weight, stats = weight_of(24, 64), stats_of(inputs_of(256, 64, outliers=2))
    return {
        "rtn 4 asymmetric": rtn.quantize(weight, rtn.Config(4, 16)),
        "rtn 8 symmetric": rtn.quantize(weight, rtn.Config(8, None, symmetric=True)),
        "rtn per tensor": rtn.quantize(weight, rtn.Config(8, None, per_tensor=True)),
        "rtn 3": rtn.quantize(weight, rtn.Config(3, 32)),
        "rtn 2 bf16": rtn.quantize(weight.bfloat16(), rtn.Config(2, 32)),
        "hqq": hqq.quantize(weight, hqq.Config(4, 16)),
        "awq": awq.quantize(weight, awq.Config(4, 16), stats),
        "gptq with order": gptq.quantize(weight, gptq.Config(4, 16, act_order=True, static_groups=False), stats),
    }


CASES = quantized_weights()


@pytest.mark.parametrize("case", CASES)
def test_packed_gives_the_simulated_outputs_exactly(case):
    q = CASES[case]
    inputs = inputs_of(5, 64).to(q.dtype)
    bias = weight_of(1, 24, seed=9)[0].to(q.dtype)
    again = unpack(pack(q))
    assert all(
        torch.equal(getattr(again, field.name), getattr(q, field.name))
        for field in dataclasses.fields(q)
        if isinstance(getattr(q, field.name), torch.Tensor)
    )
    expected = nn.functional.linear(inputs, rtn.dequantize(q), bias)
    assert torch.equal(PackedLinear(pack(q), bias)(inputs), expected)


@pytest.mark.parametrize("case", CASES)
def test_a_layer_survives_safetensors(case, tmp_path):
    safetensors = pytest.importorskip("safetensors.torch", reason="safetensors is not installed")
    layer = PackedLinear(pack(CASES[case]), torch.ones(24, dtype=CASES[case].dtype))
    safetensors.save_file(layer.state_dict(), tmp_path / "layer.safetensors")
    again = PackedLinear.from_state(safetensors.load_file(tmp_path / "layer.safetensors"))
    inputs = inputs_of(3, 64).to(CASES[case].dtype)
    assert torch.equal(again(inputs), layer(inputs))
    assert again.nbytes == layer.nbytes


@pytest.mark.parametrize("bits, group_size", [(8, None), (8, 32), (4, 16), (4, None), (2, 32)])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_bytes_are_the_formula(bits, group_size, symmetric, dtype):
    out, width = 24, 64
    packed = pack(rtn.quantize(weight_of(out, width, dtype=dtype), rtn.Config(bits, group_size, symmetric)))
    scales = out * width // (group_size or width) * (1 if symmetric else 2)
    assert packed.nbytes == out * width * bits // 8 + scales * dtype.itemsize


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_bits_per_weight_are_the_packed_bytes(bits):
    for case, q in CASES.items():
        if q.bits == bits and "tensor" not in case:
            assert pack(q).nbytes * 8 == pytest.approx(q.bits_per_weight * q.codes.numel()), case


def test_a_packed_model_is_smaller_and_loads_into_a_fresh_one(tmp_path):
    safetensors = pytest.importorskip("safetensors.torch", reason="safetensors is not installed")
    model, tokens = small_decoder(), tokens_of()
    packed = quantize_model(model, "rtn", rtn.Config(4, 16), effect="packed")
    kept = sum(parameter.nbytes for name, parameter in model.named_parameters() if "norm" in name or "emb" in name)
    weights = sum(m.weight.numel() for name, m in model.named_modules() if isinstance(m, nn.Linear) and name != "head")
    layers = 2 * 7
    assert weight_bytes(packed) == kept + weights // 2 + weights // 16 * 8 + layers * 12  # float32 scale and zero_point
    state = {name: tensor.clone() for name, tensor in packed.state_dict().items()}  # clone: tied tensors share memory
    safetensors.save_file(state, tmp_path / "model.safetensors")
    fresh = small_decoder(seed=7)
    load_packed(fresh, safetensors.load_file(tmp_path / "model.safetensors"))
    assert torch.equal(fresh(tokens), packed(tokens))


def test_packed_model_equals_simulated_model():
    model, tokens = small_decoder(), tokens_of()
    calibration = Calibration([tokens])
    for method, config in (("rtn", rtn.Config(3, 16)), ("awq", awq.Config(4, 16)), ("hqq", hqq.Config(4, 16))):
        logits = [
            quantize_model(model, method, config, calibration, effect=effect)(tokens)
            for effect in ("simulated", "packed")
        ]
        assert torch.equal(*logits)
