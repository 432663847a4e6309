"""Every path that multiplies by packed weights agrees with dequantizing first."""

import pytest
import torch

from reference_impls.quantization import gptq, rtn
from reference_impls.quantization.apply import effects, quantize_model
from reference_impls.quantization.calibration import stats_of
from reference_impls.quantization.grid import decode_weight, fake_quantize_rows
from reference_impls.quantization.matmul import PATHS, KernelLinear, choose_path, obstacles, prepare
from reference_impls.quantization.packed import pack, unpack
from tests.quantization.cases import inputs_of, small_decoder, tokens_of, weight_of

pytestmark = pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")  # the engine behind fbgemm_int8

TOLERANCE = {  # of the output's norm
    torch.float32: 1e-6,  # sums in another order
    torch.float16: 1e-3,  # 11 digits
    torch.bfloat16: 8e-3,  # 8 digits: of the output, and for aten_int4 of the shifted zero
}
WEIGHTS = {
    "int8 symmetric": rtn.Config(8, None, symmetric=True),
    "int8 asymmetric": rtn.Config(8, None),
    "int4 g32": rtn.Config(4, 32),
    "int4 g64 symmetric": rtn.Config(4, 64, symmetric=True),
    "int4 row": rtn.Config(4, None),
    "int3": rtn.Config(3, 32),
}


def relative(values, expected):
    return float((values.float() - expected.float()).norm() / expected.float().norm())


def runs(config):
    packed = pack(rtn.quantize(weight_of(48, 128), config))
    return [name for name, reason in obstacles(packed).items() if reason is None]


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("rows", [1, 4, 33])
@pytest.mark.parametrize(
    "case, path", [(case, path) for case, config in WEIGHTS.items() for path in runs(config) if path != "triton"]
)
def test_every_available_path_equals_the_oracle(case, path, rows, dtype):
    packed = pack(rtn.quantize(weight_of(48, 128), WEIGHTS[case]))
    inputs = inputs_of(rows, 128, dtype=dtype)
    expected = inputs.float() @ decode_weight_of(packed).T
    got = prepare(packed, path)(inputs)
    assert got.dtype == dtype
    tolerance = TOLERANCE[dtype] if not PATHS[path].rounds_activations else 0.03
    # 0.03: activations in 7 bits over the range of a whole batch
    assert relative(got, expected) < tolerance


def decode_weight_of(packed):
    return decode_weight(unpack(packed)).float()


@pytest.mark.parametrize("symmetric", [True, False])
def test_fbgemm_equals_integer_arithmetic(symmetric):
    packed = pack(rtn.quantize(weight_of(48, 128), rtn.Config(8, None, symmetric)))
    if "fbgemm_int8" not in runs(rtn.Config(8, None, symmetric)):
        pytest.skip(str(obstacles(packed)["fbgemm_int8"]))
    inputs = inputs_of(4, 128)
    bits = 8 if torch.cpu._is_vnni_supported() else 7
    low, high = min(float(inputs.min()), 0.0), max(float(inputs.max()), 0.0)
    scale = (high - low) / (2**bits - 1)
    zero = round(-low / scale)
    codes = ((inputs / scale).round() + zero).clamp(0, 2**bits - 1)
    expected = ((codes - zero) * scale) @ decode_weight_of(packed).T
    assert relative(prepare(packed, "fbgemm_int8")(inputs), expected) < 1e-3  # ties in rounding fall differently


def test_leading_axes_scaled_and_reordered_inputs_are_handled():
    stats = stats_of(inputs_of(256, 128))
    q = gptq.quantize(weight_of(48, 128), gptq.Config(4, 32, act_order=True, static_groups=False), stats)
    inputs = inputs_of(6, 128).view(2, 3, 128)
    expected = inputs @ rtn.dequantize(q).T
    for path in runs(rtn.Config(4, 32)):
        if path != "triton":
            assert relative(prepare(pack(q), path)(inputs), expected) < 1e-5


def test_unavailable_paths_say_why():
    packed = pack(rtn.quantize(weight_of(48, 128), rtn.Config(3, 32)))
    with pytest.raises(ValueError, match="path aten_int4 needs 4 bits in groups of 32, 64, 128 or 256, got 3 bits"):
        prepare(packed, "aten_int4")
    with pytest.raises(ValueError, match=r"path: expected one of dequantize, .*, got 'nope'"):
        prepare(packed, "nope")
    assert all(reason is None or reason.startswith(("needs", "runs")) for reason in obstacles(packed).values())


def test_paths_that_round_activations_are_never_chosen_unasked():
    for config in WEIGHTS.values():
        path = choose_path(pack(rtn.quantize(weight_of(48, 128), config)))
        assert not PATHS[path].rounds_activations
    assert choose_path(pack(rtn.quantize(weight_of(48, 128), rtn.Config(3, 32)))) == "dequantize"


def test_a_model_of_kernels_is_labelled_and_agrees():
    model, tokens = small_decoder(), tokens_of()
    simulated = quantize_model(model, "rtn", rtn.Config(4, 32))(tokens)
    kernels = quantize_model(model, "rtn", rtn.Config(4, 32), effect="kernel")
    assert relative(kernels(tokens), simulated) < 1e-5
    oracle = quantize_model(model, "rtn", rtn.Config(4, 32), effect="kernel", path="dequantize")
    assert set(effects(kernels).values()) == {"kernel"}
    assert set(effects(oracle).values()) == {"packed"}  # what dequantizes at each call is not called a kernel


def test_a_kernel_that_cannot_serve_a_layer_names_it():
    with pytest.raises(ValueError, match=r"blocks.0.attention.query: path aten_int8 needs 8 bits"):
        quantize_model(small_decoder(), "rtn", rtn.Config(4, 32), effect="kernel", path="aten_int8")


def test_kernel_layer_adds_its_bias():
    packed, bias = pack(rtn.quantize(weight_of(48, 128), rtn.Config(4, 32))), weight_of(1, 48, seed=5)[0]
    inputs = inputs_of(3, 128)
    difference = KernelLinear(packed, bias)(inputs) - KernelLinear(packed)(inputs)
    assert torch.allclose(difference, bias.expand(3, -1), atol=1e-5)


def test_rounded_rows_are_what_int8_arithmetic_gives():
    inputs, weight = inputs_of(4, 128), weight_of(48, 128)
    rows, columns = (fake_quantize_rows(t, 8) for t in (inputs, weight))
    of_row, of_column = inputs.abs().amax(1, keepdim=True) / 127, weight.abs().amax(1) / 127
    codes = (inputs / of_row).round().int(), (weight / of_column[:, None]).round().int()
    expected = (codes[0] @ codes[1].T).float() * of_row * of_column
    assert torch.allclose(rows @ columns.T, expected, rtol=1e-4, atol=1e-4)
