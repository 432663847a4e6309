"""Every method that is found keeps the family's face."""

import ast
import dataclasses
from inspect import getsource, signature

import pytest
import torch

from reference_impls.quantization import HEADER_FIELDS, methods
from reference_impls.quantization.calibration import stats_of
from tests.quantization.cases import SHAPES, inputs_of, weight_of

METHODS = methods()
KEPT_IN_DTYPE = (torch.float32, torch.float16, torch.bfloat16)
every_method = pytest.mark.parametrize("name", METHODS)


def those(wanted):
    return pytest.mark.parametrize("name", [name for name, method in METHODS.items() if wanted(method)])


with_bits = those(lambda method: "bits" in {field.name for field in dataclasses.fields(method.Config)})
with_needs = those(lambda method: hasattr(method, "NEEDS"))
with_inputs = those(lambda method: hasattr(method, "quantize_input"))


def small_config(name, **changes):
    """The method's defaults, with groups small enough for the tests' shapes."""
    names = {field.name for field in dataclasses.fields(METHODS[name].Config)}
    sizes = {"group_size": 16, "scale_group": 1}
    return METHODS[name].Config(**{key: value for key, value in (sizes | changes).items() if key in names})


def test_all_known_methods_are_found():
    known = {"rtn", "llm_int8", "gptq", "awq", "smoothquant", "nf4", "hqq", "quarot", "spqr", "fp8", "bitnet"}
    assert known <= set(METHODS)


@every_method
def test_header_has_every_field(name):
    missing = [field for field in HEADER_FIELDS if f"\n{field}: " not in METHODS[name].__doc__]
    assert not missing, f"{name}: its header lacks {missing}"


@every_method
def test_config_is_frozen_and_has_defaults(name):
    config = METHODS[name].Config()
    field = dataclasses.fields(config)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config, field, getattr(config, field))


@every_method
def test_signatures_are_the_familys(name):
    assert list(signature(METHODS[name].quantize).parameters) == ["weight", "config", "stats"]
    assert list(signature(METHODS[name].dequantize).parameters) == ["quantized"]


@every_method
def test_functions_on_tensors_tell_their_shapes(name):
    functions = [node for node in ast.parse(getsource(METHODS[name])).body if isinstance(node, ast.FunctionDef)]
    public = [node for node in functions if not node.name.startswith("_") and "Tensor" in ast.unparse(node)]
    silent = [
        node.name
        for node in public
        if "(" not in (ast.get_docstring(node) or "") and "shape" not in ast.get_docstring(node)
    ]
    assert not silent, f"{name}: no shapes in the docstrings of {silent}"


@pytest.mark.parametrize("dtype", KEPT_IN_DTYPE, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@every_method
def test_round_trip_keeps_shape_dtype_and_the_weight(name, shape, dtype):
    weight = weight_of(*shape, dtype=dtype)
    before = weight.clone()
    quantized = METHODS[name].quantize(weight, small_config(name), stats_of(inputs_of(128, shape[1], outliers=1)))
    again = METHODS[name].dequantize(quantized)
    assert again.shape == weight.shape == quantized.shape
    assert (again.dtype, again.device) == (weight.dtype, weight.device)
    assert torch.equal(weight, before)
    assert again.isfinite().all()
    ruined = 0.6 if name == "bitnet" else 0.4  # ternary without training is meant to be rough
    assert (again - weight).float().norm() < ruined * weight.float().norm()


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@with_bits
def test_any_bits_run_and_are_counted(name, bits):
    weight = weight_of(16, 64)
    stats = stats_of(inputs_of(256, 64))
    quantized = METHODS[name].quantize(weight, small_config(name, bits=bits), stats)
    assert bits <= quantized.bits_per_weight <= bits + 8  # 8: two 32-bit numbers for 16 weights, and what is a row's


@every_method
def test_weight_of_zeros_stays_zero(name):
    quantized = METHODS[name].quantize(torch.zeros(4, 32), small_config(name), stats_of(inputs_of(64, 32)))
    assert METHODS[name].dequantize(quantized).count_nonzero() == 0


@with_needs
def test_methods_that_need_statistics_say_so(name):
    with pytest.raises(ValueError, match="calibrate"):
        METHODS[name].quantize(weight_of(4, 32), small_config(name), None)


@with_inputs
def test_inputs_keep_their_shape_and_dtype(name):
    inputs = inputs_of(6, 32, dtype=torch.bfloat16).view(2, 3, 32)
    quantized = METHODS[name].quantize(weight_of(4, 32, dtype=torch.bfloat16), small_config(name), stats_of(inputs))
    rounded = METHODS[name].quantize_input(inputs, quantized)
    assert (rounded.shape, rounded.dtype) == (inputs.shape, inputs.dtype)
    assert (rounded - inputs).float().norm() < 0.2 * inputs.float().norm()
