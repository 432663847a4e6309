"""NF4, FP8 and SpQR packed: the same weight, bit for bit, in the bytes that the method promises."""

import pytest
import torch

from reference_impls.quantization import fp8, nf4, rtn, spqr
from reference_impls.quantization.apply import effects, quantize_model, weight_bytes
from reference_impls.quantization.calibration import Calibration, stats_of
from reference_impls.quantization.packed_records import (
    RecordLinear,
    can_pack,
    dequantize_record,
    nbytes,
    pack_record,
    unpack_record,
)
from tests.quantization.cases import inputs_of, small_decoder, tokens_of, weight_of

DTYPES = (torch.float32, torch.bfloat16)


def records(dtype=torch.float32, out=48, width=128):
    weight, stats = weight_of(out, width, dtype=dtype), stats_of(inputs_of(256, width, outliers=2))
    return {
        "nf4": (nf4, nf4.quantize(weight, nf4.Config(double=False))),
        "nf4 double": (nf4, nf4.quantize(weight, nf4.Config(group_size=16))),
        "fp8": (fp8, fp8.quantize(weight, fp8.Config(per_channel=True))),
        "fp8 e5m2": (fp8, fp8.quantize(weight, fp8.Config("e5m2", None))),
        "spqr 3": (spqr, spqr.quantize(weight, spqr.Config(), stats)),
        "spqr 4 symmetric": (spqr, spqr.quantize(weight, spqr.Config(4, symmetric=True, scale_group=3), stats)),
        "spqr 2, no outliers": (spqr, spqr.quantize(weight, spqr.Config(2, outlier_share=0.0), stats)),
    }


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", records())
def test_unpacking_gives_the_same_weight_bit_for_bit(name, dtype):
    method, quantized = records(dtype)[name]
    packed = pack_record(quantized)
    assert torch.equal(dequantize_record(packed), method.dequantize(quantized))
    assert packed.shape == quantized.shape
    assert unpack_record(packed).bits_per_weight == quantized.bits_per_weight


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ["nf4", "nf4 double", "fp8", "fp8 e5m2"])
def test_bytes_are_what_bits_per_weight_says(name, dtype):
    _, quantized = records(dtype)[name]
    assert nbytes(pack_record(quantized)) * 8 == pytest.approx(quantized.bits_per_weight * 48 * 128)


def test_spqr_takes_its_bytes_by_the_formula():
    out, width = 48, 128
    packed = pack_record(records(torch.bfloat16)["spqr 3"][1])
    groups, outliers = width // 16, round(0.01 * out * width)
    codes = out * width // 2  # 3 bits take 4
    scales = 2 * (groups * out // 2 + 2 * groups * (out // 16) * 2)  # codes, then step and low in bfloat16
    assert nbytes(packed) == codes + scales + out * 4 + outliers * (2 + 2)


def test_a_column_beyond_15_bits_comes_back():
    width = 2**15 + 64
    weight = torch.zeros(2, width)
    weight[1, width - 1] = 9.0
    weight[0, 3] = -7.0
    grid = rtn.quantize(torch.zeros(2, width), rtn.Config(4, 16))
    scales = spqr.round_scales(grid.scale, 3, 2)
    zeros = spqr.round_scales(grid.zero_point, 3, 2)
    positions = weight.flatten().nonzero().flatten()
    quantized = spqr.SparseAndGrid(grid, positions, weight.flatten()[positions], 3, 2, scales, zeros)
    assert torch.equal(unpack_record(pack_record(quantized)).positions, positions)


def test_what_cannot_be_packed_is_refused():
    plain = spqr.quantize(weight_of(8, 32), spqr.Config(scale_bits=None), stats_of(inputs_of(64, 32)))
    assert not can_pack(plain)
    with pytest.raises(ValueError, match="spqr with scale_bits"):
        pack_record(plain)


@pytest.mark.parametrize("method, config", [("nf4", nf4.Config(16)), ("fp8", fp8.Config()), ("spqr", spqr.Config())])
def test_a_packed_model_says_the_same_and_is_smaller(method, config):
    model, tokens = small_decoder(), tokens_of()
    calibration = Calibration([tokens])
    simulated, packed = (quantize_model(model, method, config, calibration, effect=e) for e in ("simulated", "packed"))
    assert torch.equal(packed(tokens), simulated(tokens))
    assert set(effects(packed).values()) == {"packed"}
    assert weight_bytes(packed) < 0.5 * weight_bytes(model)
    layers = [one for one in packed.modules() if isinstance(one, RecordLinear)]
    assert len(layers) == 14
    # a state_dict gives back what it took
    other = quantize_model(small_decoder(seed=5), method, config, calibration, effect="packed")
    if method != "spqr":  # whose number of outliers in a row differs between weights, not their shapes elsewhere
        other.load_state_dict(packed.state_dict())
        assert torch.equal(other(tokens), packed(tokens))
