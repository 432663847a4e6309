"""The loops in C++ compute the integers that torch computes, and say clearly where they cannot be had."""

import pytest
import torch

from reference_impls import cpp
from reference_impls.quantization import rtn
from reference_impls.quantization.grid import decode_weight
from reference_impls.quantization.matmul import prepare
from reference_impls.quantization.packed import pack, unpack
from tests.quantization.cases import inputs_of, weight_of

needs_compiler = pytest.mark.skipif(cpp.compiler() is None, reason="needs a C++ compiler")


def packed_of(out, width):
    return pack(rtn.quantize(weight_of(out, width), rtn.Config(8, None, symmetric=True)))


def in_integers(packed, inputs):
    """The formula, value by value."""
    codes = packed.codes.long() - 128
    step = inputs.abs().amax(1, keepdim=True) / 127
    step[step == 0] = 1
    rounded = (inputs * (1 / step)).round().long()
    return (rounded @ codes.T).float() * (packed.scale.float().flatten() * step)


@needs_compiler
@pytest.mark.parametrize(
    ("rows", "out", "width"), [(1, 48, 128), (2, 7, 95), (3, 5, 7), (1, 1, 1), (4, 9, 64), (17, 33, 100), (0, 4, 8)]
)
def test_it_computes_what_integers_give(rows, out, width):
    packed, inputs = packed_of(out, width), inputs_of(rows, width)
    torch.testing.assert_close(prepare(packed, "w8a8_cpu")(inputs), in_integers(packed, inputs), rtol=1e-6, atol=0)


@needs_compiler
def test_sums_of_the_largest_codes_do_not_overflow():
    width = 16384
    weight, inputs = torch.ones(2, width), torch.ones(1, width)
    weight[1] = -1
    got = prepare(pack(rtn.quantize(weight, rtn.Config(8, None, symmetric=True))), "w8a8_cpu")(inputs)
    torch.testing.assert_close(got, torch.tensor([[width, -width]], dtype=torch.float32), rtol=1e-2, atol=0)


@needs_compiler
@pytest.mark.parametrize("rows", [1, 2, 5])
def test_the_code_that_has_no_opposite_keeps_its_sign(rows):
    packed, inputs = packed_of(4, 100), inputs_of(rows, 100)
    packed.codes.zero_()  # -128 each
    torch.testing.assert_close(prepare(packed, "w8a8_cpu")(inputs), in_integers(packed, inputs), rtol=1e-6, atol=0)
    inputs.fill_(-3)  # pairs of the largest products
    assert torch.equal(prepare(packed, "w8a8_cpu")(inputs), in_integers(packed, inputs))


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_other_dtypes_round_as_torch_does(dtype):
    packed, inputs = packed_of(48, 128), inputs_of(6, 128).to(dtype)
    got = prepare(packed, "w8a8_cpu")(inputs.view(2, 3, 128))
    assert torch.equal(got, prepare(packed, "w8a8_cpu")(inputs.float()).to(dtype).view(2, 3, 48))


@needs_compiler
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_every_row_has_its_own_scale_and_threads_change_nothing(threads):
    packed, inputs = packed_of(48, 128), inputs_of(4, 128) * torch.tensor([[1.0], [1e-3], [1e4], [0.0]])
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        got = prepare(packed, "w8a8_cpu")(inputs)
    finally:
        torch.set_num_threads(before)
    exact = inputs @ decode_weight(unpack(packed)).T
    error = (got - exact).norm(dim=1) / exact.norm(dim=1)
    assert float(error[:3].max()) < 0.01
    assert torch.equal(got[3], torch.zeros(48))
    torch.testing.assert_close(got, in_integers(packed, inputs), rtol=1e-6, atol=0)


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_is_not_rounded_to_one(bad, dtype):
    inputs = inputs_of(2, 128).to(dtype)
    inputs[0, 5] = bad
    got = prepare(packed_of(48, 128), "w8a8_cpu")(inputs)
    assert not got[0].isfinite().any()
    assert got[1].isfinite().all()


def test_without_a_compiler_it_says_so(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ValueError, match="path w8a8_cpu needs a C\\+\\+ compiler on the path, or in CXX"):
        prepare(packed_of(4, 8), "w8a8_cpu")
