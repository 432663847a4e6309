"""change_linears: which layers, in which order, with which statistics; the loop that three families share."""

import pytest
import torch
from torch import nn

from reference_impls.pruning import wanda
from reference_impls.pruning.apply import prune_model
from reference_impls.quantization import calibration as calibrating
from reference_impls.quantization.calibration import Calibration, collect, stats_of
from reference_impls.quantization.linears import change_linears, find_linears, matches
from tests.quantization.cases import inputs_of, small_decoder, tokens_of


def halved(_name, layer, _stats):
    result = nn.Linear(1, 1, bias=False)
    result.weight = nn.Parameter(layer.weight.detach() / 2)
    return result


def test_each_layer_is_what_the_change_makes_of_it_and_the_given_model_stays():
    model = small_decoder()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    result = change_linears(model, halved, skip=("head", "query"))
    for name, value in result.state_dict().items():
        changed = ".weight" in name and any(part in name for part in ("key", "value", "output", "ffn"))
        assert torch.equal(value, before[name] / 2 if changed and "norm" not in name else before[name]), name
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_in_order_a_block_sees_what_the_ones_before_it_became():
    model, tokens = small_decoder(), tokens_of()
    seen = {}

    def change(name, layer, stats):
        seen[name] = stats
        return halved(name, layer, stats)

    change_linears(model, change, ("mean_square",), Calibration([tokens], sequential=True))
    layers = list(find_linears(model))
    assert list(seen) == layers
    dense = collect(model, dict(find_linears(model)), Calibration([tokens]))
    half = change_linears(model, lambda n, x, s: halved(n, x, s) if n.startswith("blocks.0") else x)
    later = collect(half, dict(find_linears(half)), Calibration([tokens]))
    for name in layers:
        expected = dense if name.startswith("blocks.0") else later
        assert torch.allclose(seen[name].mean_square, expected[name].mean_square, rtol=1e-4), name
    assert not torch.allclose(seen[layers[-1]].mean_square, dense[layers[-1]].mean_square, rtol=1e-2)


def test_statistics_at_hand_are_used_as_they_are():
    model = small_decoder()
    held = collect(model, dict(find_linears(model)), Calibration([tokens_of()]))
    seen = {}
    change_linears(model, lambda name, layer, stats: seen.update({name: stats}) or layer, ("mean_abs",), held)
    assert all(seen[name] is stats for name, stats in held.items())


@pytest.mark.parametrize("sequential", [False, True])
def test_wanda_pays_for_no_hessian(monkeypatch, sequential):
    asked = []

    class Watched(calibrating._Recorder):
        def __init__(self, hessian, rows):
            asked.append(hessian)
            super().__init__(hessian, rows)

    monkeypatch.setattr(calibrating, "_Recorder", Watched)
    prune_model(small_decoder(), wanda, wanda.Config(), Calibration([tokens_of()], sequential=sequential))
    assert asked
    assert not any(asked)


def test_the_mean_square_is_half_the_diagonal_of_the_hessian():
    stats = stats_of(inputs_of(50, 12, dtype=torch.float64))
    assert torch.allclose(stats.mean_square, stats.hessian.diagonal() / 2)
    assert stats_of(inputs_of(50, 12), hessian=False).hessian is None


def test_errors_name_the_layer():
    def refuse(_name, _layer, _stats):
        raise ValueError("too square")

    with pytest.raises(ValueError, match=r"^blocks\.0\.attention\.query: too square"):
        change_linears(small_decoder(), refuse)
    with pytest.raises(ValueError, match="needs mean_square of the inputs"):
        change_linears(small_decoder(), halved, ("mean_square",))


def test_patterns_are_of_the_whole_name_or_its_last_part():
    assert matches("blocks.0.attention.query", ("query",))
    assert matches("blocks.0.attention.query", ("blocks.0.*",))
    assert not matches("blocks.0.attention.query", ("attention", "quer"))
