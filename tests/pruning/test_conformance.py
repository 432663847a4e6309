"""Every module that is found keeps the family's face."""

import ast
import dataclasses
from importlib import import_module
from inspect import getsource, signature
from pkgutil import iter_modules

import pytest
import torch

from reference_impls import pruning
from reference_impls.pruning import HEADER_FIELDS, Calibration, methods, model_methods
from reference_impls.pruning.apply import prune_model, prune_weight
from reference_impls.quantization.calibration import stats_of
from tests.quantization.cases import SHAPES, inputs_of, small_decoder, tokens_of, weight_of

WEIGHTS, MODELS = methods(), model_methods()
EVERY = {**WEIGHTS, **MODELS}
HELPERS = {"apply", "masks", "surgery"}
TECHNIQUES = [
    found.name for found in iter_modules(pruning.__path__) if found.name not in HELPERS and "bench" not in found.name
]
every_method = pytest.mark.parametrize("name", EVERY)
every_weight_method = pytest.mark.parametrize("name", WEIGHTS)
every_model_method = pytest.mark.parametrize("name", MODELS)


def calibration():
    return Calibration([tokens_of(), tokens_of(seed=4)])


def test_all_known_methods_are_found():
    assert {"magnitude", "wanda", "sparsegpt", "semi_structured"} <= set(WEIGHTS)
    assert {"structured", "width", "layers", "contextual"} <= set(MODELS)
    assert not set(WEIGHTS) & set(MODELS)


@pytest.mark.parametrize("name", TECHNIQUES)
def test_header_has_every_field(name):
    doc = import_module(f"reference_impls.pruning.{name}").__doc__
    missing = [field for field in HEADER_FIELDS if f"\n{field}: " not in doc]
    assert not missing, f"{name}: its header lacks {missing}"


@pytest.mark.parametrize("name", TECHNIQUES)
def test_functions_on_tensors_tell_their_shapes(name):
    source = getsource(import_module(f"reference_impls.pruning.{name}"))
    functions = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    public = [node for node in functions if not node.name.startswith("_") and "Tensor" in ast.unparse(node.args)]
    silent = [node.name for node in public if "(" not in (ast.get_docstring(node) or "")]
    assert not [one for one in silent if one not in ("block_scores",)], f"{name}: no shapes in {silent}"


@every_method
def test_config_is_frozen_and_has_defaults(name):
    config = EVERY[name].Config()
    field = dataclasses.fields(config)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config, field, getattr(config, field))


@every_weight_method
def test_weight_signatures_are_the_familys(name):
    assert list(signature(WEIGHTS[name].keep_mask).parameters) == ["weight", "config", "stats"]
    prune = getattr(WEIGHTS[name], "prune", None)
    assert prune is None or list(signature(prune).parameters) == ["weight", "config", "stats"]


@every_model_method
def test_model_signatures_are_the_familys(name):
    assert list(signature(MODELS[name].shrink).parameters) == ["model", "config", "calibration"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@every_weight_method
def test_half_is_removed_and_the_weight_is_left_alone(name, shape, dtype):
    weight = weight_of(*shape, dtype=dtype)
    before = weight.clone()
    method, stats = WEIGHTS[name], stats_of(inputs_of(128, shape[1]))
    mask = method.keep_mask(weight, method.Config(), stats)
    pruned = prune_weight(weight, method, method.Config(), stats)
    assert torch.equal(weight, before)
    assert (mask.shape, mask.dtype) == (weight.shape, torch.bool)
    assert (pruned.shape, pruned.dtype) == (weight.shape, weight.dtype)
    assert int(mask.sum()) == weight.numel() // 2
    assert torch.equal(pruned != 0, mask)  # what stays is normal, so never 0 by itself


@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.25, 0.77, 1.0])
@every_weight_method
def test_the_share_asked_for_is_removed(name, sparsity):
    method, weight = WEIGHTS[name], weight_of(20, 100)
    if name == "semi_structured":
        pytest.skip("its share is always one half")
    mask = method.keep_mask(weight, method.Config(sparsity), stats_of(inputs_of(300, 100)))
    assert int((~mask).sum()) == round(sparsity * weight.numel())


@pytest.mark.parametrize("n_of_m", [(2, 4), (4, 8), (1, 4), (0, 4), (4, 4)], ids=str)
@every_weight_method
def test_n_of_m_is_kept_in_every_group(name, n_of_m):
    method, weight = WEIGHTS[name], weight_of(12, 96)
    if name == "semi_structured" and n_of_m != (2, 4):
        pytest.skip("2:4 only")
    mask = method.keep_mask(weight, method.Config(n_of_m=n_of_m), stats_of(inputs_of(300, 96)))
    assert (mask.view(12, -1, n_of_m[1]).sum(-1) == n_of_m[0]).all()


@every_weight_method
def test_a_row_that_is_no_multiple_is_refused(name):
    method = WEIGHTS[name]
    with pytest.raises(ValueError, match="multiple of 4"):
        method.keep_mask(weight_of(4, 30), method.Config(n_of_m=(2, 4)), stats_of(inputs_of(99, 30)))


@pytest.mark.parametrize("name", [name for name, method in WEIGHTS.items() if hasattr(method, "NEEDS")])
def test_methods_that_need_statistics_say_so(name):
    with pytest.raises(ValueError, match="calibrate"):
        WEIGHTS[name].keep_mask(weight_of(4, 32), WEIGHTS[name].Config(), None)


@pytest.mark.parametrize("wrong", [{"sparsity": -0.1}, {"sparsity": 1.1}, {"n_of_m": (5, 4)}, {"n_of_m": (0, 0)}])
@every_weight_method
def test_impossible_configs_are_refused(name, wrong):
    with pytest.raises(ValueError, match=r"sparsity must be|n_of_m is"):
        WEIGHTS[name].Config(**wrong)


@every_method
def test_models_run_through_every_method(name):
    model = small_decoder()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    method = EVERY[name]
    config = method.Config(rank=8, steps=3) if name == "contextual" else method.Config()
    result = prune_model(model, name, config, calibration())
    logits = result(tokens_of())
    assert logits.shape == (2, 12, 50)
    assert logits.isfinite().all()
    assert not torch.allclose(logits, model(tokens_of()), atol=1e-4)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@every_model_method
def test_model_methods_refuse_other_models(name):
    with pytest.raises(TypeError, match="Decoder, got Linear"):
        MODELS[name].shrink(torch.nn.Linear(4, 4), MODELS[name].Config(), calibration())


@every_model_method
def test_model_methods_ask_for_text(name):
    with pytest.raises(ValueError, match="give calibration"):
        MODELS[name].shrink(small_decoder(), MODELS[name].Config(), None)
