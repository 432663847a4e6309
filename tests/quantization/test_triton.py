"""The Triton kernels against dequantizing first: on a GPU where there is one, else under Triton's interpreter."""

import pytest
import torch

from reference_impls.quantization import rtn
from reference_impls.quantization.grid import fake_quantize_rows
from reference_impls.quantization.packed import pack
from reference_impls.quantization.w4a16_triton import multiply, multiply_w8a8, obstacle, obstacle_w8a8, reference
from tests.quantization.cases import inputs_of, weight_of
from tests.triton_here import MISSING, ON_GPU, needs_triton

pytestmark = needs_triton
DEVICE = "cuda" if ON_GPU else "cpu"
CONFIGS = [
    rtn.Config(4, 32),
    rtn.Config(4, 96, symmetric=True),
    rtn.Config(4, None),
    rtn.Config(8, 64),
    rtn.Config(8, None, symmetric=True),
]
TOLERANCE = {torch.float32: 1e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}  # the output's own rounding
GRID = [(rows, dtype) for rows in (1, 3, 17, 64, 70) for dtype in TOLERANCE]
HALVES = (torch.float16, torch.bfloat16)
# The interpreter is slow for large tiles: every type with one row and with several, and float32 with the larger ones.
INTERPRETED = [(1, dtype) for dtype in TOLERANCE] + [(3, half) for half in HALVES]
INTERPRETED += [(17, torch.float32), (17, torch.bfloat16), (70, torch.float32)]


def relative(values, expected):
    return float((values.float() - expected.float()).norm() / expected.float().norm())


def test_triton_is_there():
    """Skipped where it is not pinned or nothing asks for the whole suite; under CI its absence fails."""
    assert not MISSING, "triton is missing: pip install -r requirements/torch.txt"


@pytest.mark.skipif(ON_GPU, reason="of the interpreter")
def test_the_interpreter_multiplies_tiles_of_bfloat16_wrongly_until_mended(request):
    """Once Triton multiplies them as numbers this fails, and the mending can go."""
    weight = pack(rtn.quantize(weight_of(40, 192, dtype=torch.bfloat16), CONFIGS[0]))
    inputs = inputs_of(3, 192, dtype=torch.bfloat16)
    expected = reference(inputs, weight)
    assert relative(multiply(inputs, weight), expected) > 1
    request.getfixturevalue("mended")
    assert relative(multiply(inputs, weight), expected) < TOLERANCE[torch.bfloat16]


@pytest.mark.parametrize("rows, dtype", GRID if ON_GPU else INTERPRETED, ids=str)
@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_kernel_equals_the_oracle(config, rows, dtype, mended):
    weight = pack(rtn.quantize(weight_of(40, 192, dtype=dtype).to(DEVICE), config))
    inputs = inputs_of(rows, 192, dtype=dtype).to(DEVICE)
    assert obstacle(weight) is None
    got = multiply(inputs, weight)
    assert (got.shape, got.dtype) == ((rows, 40), dtype)
    assert relative(got, reference(inputs, weight)) < TOLERANCE[dtype]


@pytest.mark.parametrize("rows", [1, 5, 33])
def test_w8a8_equals_the_rounded_product(rows):
    weight = pack(rtn.quantize(weight_of(40, 160).to(DEVICE), rtn.Config(8, None, symmetric=True)))
    inputs = inputs_of(rows, 160).to(DEVICE)
    assert obstacle_w8a8(weight) is None
    assert relative(multiply_w8a8(inputs, weight), reference(fake_quantize_rows(inputs, 8), weight)) < 1e-6


def test_weights_it_cannot_serve_are_refused_with_the_reason():
    def reason(config, check=obstacle):
        return check(pack(rtn.quantize(weight_of(8, 96).to(DEVICE), config)))

    assert "4 or 8 bits, got 3" in reason(rtn.Config(3, 32))
    assert "multiple of 32, got 48" in reason(rtn.Config(4, 48))
    assert "per tensor" in reason(rtn.Config(8, None, per_tensor=True))
    assert "symmetric" in reason(rtn.Config(8, None), obstacle_w8a8)
