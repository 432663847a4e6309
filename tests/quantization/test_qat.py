"""Training through the rounding: it starts at RTN, its gradients are the formulas', its export is exact."""

import pytest
import torch
from torch import nn

from reference_impls.quantization import qat, rtn
from reference_impls.quantization.apply import effects, quantize_model
from reference_impls.quantization.grid import GridConfig
from tests.quantization.cases import inputs_of, small_decoder, tokens_of, weight_of

CONFIGS = [GridConfig(bits, size, symmetric) for bits in (2, 4) for size in (16, None) for symmetric in (True, False)]
every_config = pytest.mark.parametrize("config", CONFIGS, ids=str)


def layer_of(config, out=6, width=32):
    layer = nn.Linear(width, out, dtype=torch.float64)
    layer.weight = nn.Parameter(weight_of(out, width, dtype=torch.float64))
    return qat.QatLinear(layer, config)


@every_config
def test_before_training_it_is_rtn(config):
    layer = layer_of(config)
    expected = rtn.dequantize(
        rtn.quantize(layer.weight.detach(), rtn.Config(config.bits, config.group_size, config.symmetric))
    )
    torch.testing.assert_close(layer.rounded().detach(), expected, rtol=1e-12, atol=1e-12)


@every_config
def test_gradients_are_the_straight_through_and_lsq_formulas(config):
    layer = layer_of(config)
    with torch.no_grad():
        layer.scale *= 0.6  # so that some weights are outside the codes' range
    layer.zero_grad()
    outer = torch.randn(6, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (layer.rounded() * outer).sum().backward()
    low, high = (1 if config.symmetric else 0), 2**config.bits - 1
    size = config.group_size or 32
    steps = layer.scale.detach().repeat_interleave(size, 1).view(6, 32)
    zeros = layer.zero_point.repeat_interleave(size, 1).view(6, 32)
    units = layer.weight.detach() / steps + zeros
    inside = (units > low) & (units < high)
    assert inside.any()
    assert (~inside).any()
    torch.testing.assert_close(layer.weight.grad, outer * inside)
    # d/ds of (round(w / s + z) - z) s with round passed through: code - z - w / s inside, code - z where it is cut
    codes = units.clamp(low, high).round()
    by_weight = torch.where(inside, codes - units, codes - zeros) * outer
    torch.testing.assert_close(layer.scale.grad[..., 0], by_weight.view(6, -1, size).sum(2))


@every_config
def test_export_is_what_was_trained(config):
    student, teacher = qat.prepare(small_decoder(), GridConfig(config.bits, 16, config.symmetric)), small_decoder()
    qat.train(student, teacher, [tokens_of()], qat.Training(steps=3, learning_rate=1e-2, scale_learning_rate=1e-3))
    packed = qat.export(student)
    torch.testing.assert_close(packed(tokens_of()), student(tokens_of()), rtol=1e-5, atol=1e-5)
    assert set(effects(packed).values()) == {"packed"}
    grids = [module.export() for module in student.modules() if isinstance(module, qat.QatLinear)]
    assert all(grid.codes.max() < 2**config.bits for grid in grids)


def test_training_recovers_what_rounding_lost_and_touches_nothing_else():
    teacher, batches = small_decoder(), [tokens_of(4, 24, seed=seed) for seed in range(40)]
    student = qat.prepare(teacher, GridConfig(2, 16))
    losses = []
    qat.train(student, teacher, batches, qat.Training(120, 5e-3, 1e-3), lambda step, loss: losses.append(loss))
    rounded = quantize_model(teacher, "rtn", rtn.Config(2, 16))
    fresh = tokens_of(4, 24, seed=99)
    with torch.no_grad():
        meant = teacher(fresh)
        after, before = (float(qat.distillation_loss(one(fresh), meant)) for one in (student, rounded))
    assert losses[0] == pytest.approx(
        float(qat.distillation_loss(rounded(batches_used(0, batches)), teacher(batches_used(0, batches)))), rel=1e-4
    )
    assert after < 0.7 * before
    for name, parameter in teacher.named_parameters():
        if "norm" in name or "embedding" in name:
            assert torch.equal(parameter, dict(student.named_parameters())[name])


def batches_used(seed, batches):
    """The batch that the first step draws."""
    return batches[int(torch.randint(len(batches), (), generator=torch.Generator().manual_seed(seed)))]


def test_loss_is_kl_by_definition_and_zero_only_when_both_agree():
    logits = inputs_of(6, 5).view(2, 3, 5)
    other = logits + inputs_of(6, 5, seed=4).view(2, 3, 5)
    p, q = logits.softmax(-1), other.softmax(-1)
    assert float(qat.distillation_loss(other, logits)) == pytest.approx(float((p * (p / q).log()).sum() / 6), rel=1e-5)
    assert float(qat.distillation_loss(logits, logits)) == pytest.approx(0, abs=1e-6)


def test_wrong_uses_are_told():
    with pytest.raises(ValueError, match=r"make it with qat\.prepare"):
        qat.train(small_decoder(), small_decoder(), [tokens_of()])
    with pytest.raises(ValueError, match="steps must be at least 1"):
        qat.Training(steps=0)
