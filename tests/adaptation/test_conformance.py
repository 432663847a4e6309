"""Every method that is found keeps the family's face: what is frozen stays bit for bit, what merges is exact."""

import dataclasses
from inspect import signature

import pytest
import torch

from reference_impls.adaptation import HEADER_FIELDS, methods, trainable, updates
from tests.adaptation.cases import adapted, loss_of, model_of, state_of, train
from tests.quantization.cases import seeded, tokens_of

METHODS, UPDATES = methods(), updates()
MERGING = [name for name, module in METHODS.items() if hasattr(module, "merge")]
every_method = pytest.mark.parametrize("name", METHODS)


def test_all_known_methods_are_found():
    assert {"lora", "dora", "pissa", "lora_plus", "bottleneck", "prefix", "bitfit"} <= set(METHODS)
    assert {"mezo", "lomo"} <= set(UPDATES)
    assert {"lora", "dora", "pissa", "lora_plus", "bitfit"} <= set(MERGING)


@pytest.mark.parametrize("name", [*METHODS, *UPDATES])
def test_header_and_config_are_as_everywhere(name):
    module = {**METHODS, **UPDATES}[name]
    places = [module.__doc__.find(f"\n{field}: ") for field in HEADER_FIELDS]
    assert -1 not in places, f"{name}: its header lacks {HEADER_FIELDS[places.index(-1)]}"
    assert places == sorted(places)
    config = module.Config()
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config, dataclasses.fields(config)[0].name, None)


@pytest.mark.parametrize("name", UPDATES)
def test_an_update_has_the_arguments_of_the_face(name):
    assert list(signature(UPDATES[name].step).parameters) == ["parameters", "loss", "config", "seed"]


@pytest.mark.parametrize("name", [name for name in METHODS if name != "prefix"])  # a prefix is seen from the start
def test_step_0_is_the_model_itself(name):
    model = model_of()
    found, expected = adapted(name, model)(tokens_of()), model(tokens_of())
    if name in ("pissa", "bitfit"):  # a sum of two parts; a product with a sum behind it
        assert torch.allclose(found, expected, atol=1e-12)
    else:
        assert torch.equal(found, expected)


@every_method
def test_training_changes_its_own_parameters_and_leaves_the_rest_bit_for_bit(name):
    model = model_of()
    result = adapted(name, model)
    base, before = state_of(model), state_of(result)
    own = {key for key, parameter in result.named_parameters() if parameter.requires_grad}
    losses = train(result)
    assert losses[-1] < losses[0] - 0.03
    assert own
    changed = {key for key, value in result.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == own
    assert all(torch.equal(value, base[key]) for key, value in model.state_dict().items())
    assert {id(p) for p in trainable(result)} == {id(p) for p in result.parameters() if p.requires_grad}


@every_method
def test_frozen_weights_get_no_gradient(name):
    result = adapted(name)
    loss_of(result).backward()
    assert all((p.grad is not None) == p.requires_grad for p in result.parameters())


@pytest.mark.parametrize("name", MERGING)
def test_merging_is_exact_and_leaves_plain_layers(name):
    result = adapted(name)
    train(result)
    plain = METHODS[name].merge(result)
    assert torch.allclose(plain(tokens_of()), result(tokens_of()), atol=1e-10)
    assert {type(module) for module in plain.modules()} == {type(module) for module in model_of().modules()}
    assert any(parameter.requires_grad for parameter in result.parameters())  # what was merged is as it was


@every_method
def test_the_same_generator_gives_the_same_start(name):
    first, again = (state_of(adapted(name)) for _ in range(2))
    assert all(torch.equal(value, again[key]) for key, value in first.items())
    model, before = model_of(), torch.get_rng_state()
    METHODS[name].adapt(model, METHODS[name].Config(), seeded())
    assert torch.equal(torch.get_rng_state(), before)  # nothing is drawn from the global generator


@pytest.mark.parametrize("name", [name for name in METHODS if name != "prefix"])
def test_targets_that_match_nothing_are_refused(name):
    with pytest.raises(ValueError, match="targets="):
        adapted(name, targets=("magic",))


@pytest.mark.parametrize(
    ("name", "wrong", "word"),
    [
        ("dora", {"rank": 0}, "rank"),
        ("pissa", {"rank": 0}, "rank"),
        ("lora_plus", {"ratio": 0.0}, "ratio"),
        ("bottleneck", {"bottleneck": 0}, "bottleneck"),
        ("prefix", {"tokens": 0}, "tokens"),
        ("mezo", {"eps": 0.0}, "eps"),
        ("lomo", {"clip_norm": 0.0}, "clip_norm"),
    ],
)
def test_impossible_configs_are_refused(name, wrong, word):
    with pytest.raises(ValueError, match=word):
        {**METHODS, **UPDATES}[name].Config(**wrong)
