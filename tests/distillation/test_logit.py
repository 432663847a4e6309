"""Divergences against torch and against their limits; the training step against what it is said to do."""

import math

import pytest
import torch
from torch.nn import functional

from reference_impls.distillation import HEADER_FIELDS, logit, methods
from reference_impls.distillation.logit import Config, divergence, loss, student_text, train_step
from reference_impls.models.decoder import Config as Shape
from reference_impls.models.shapes import random_model
from tests.quantization.cases import seeded, small_decoder, tokens_of

KINDS = pytest.mark.parametrize("kind", ["forward_kl", "reverse_kl", "jsd"])


def logits_of(seed=0, shape=(4, 7, 11)):
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64) * 2


def small_student():
    shape = Shape(vocab=50, hidden=32, layers=1, heads=2, kv_heads=1, head_dim=16, ffn=48)
    return random_model(shape, seeded(7))


def test_the_method_is_found_with_its_header():
    assert "logit" in methods()
    assert not [field for field in HEADER_FIELDS if f"\n{field}: " not in logit.__doc__]


@KINDS
def test_equal_logits_have_no_divergence_and_no_gradient(kind):
    student = logits_of().requires_grad_()
    found = loss(student, logits_of(), Config(kind))
    found.backward()
    assert float(found.detach()) == pytest.approx(0, abs=1e-12)
    assert student.grad.abs().max() < 1e-12
    shifted = divergence(logits_of() + 5, logits_of(), Config(kind))  # a constant does not change a distribution
    assert shifted.abs().max() < 1e-12


@KINDS
def test_different_logits_have_some(kind):
    assert (divergence(logits_of(), logits_of(1), Config(kind)) > 0).all()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_equals_torchs_kl(temperature):
    student, teacher = logits_of(), logits_of(1)
    log_q, log_p = (functional.log_softmax(one / temperature, -1) for one in (student, teacher))
    forward = functional.kl_div(log_q, log_p, log_target=True, reduction="none").sum(-1) * temperature**2
    reverse = functional.kl_div(log_p, log_q, log_target=True, reduction="none").sum(-1) * temperature**2
    assert torch.allclose(divergence(student, teacher, Config("forward_kl", temperature=temperature)), forward)
    assert torch.allclose(divergence(student, teacher, Config("reverse_kl", temperature=temperature)), reverse)


def test_a_worked_example():
    teacher, student = torch.tensor([0.5, 0.5]).log(), torch.tensor([0.25, 0.75]).log()
    assert float(divergence(student, teacher, Config("forward_kl"))) == pytest.approx(0.5 * math.log(4 / 3))
    reverse = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)
    assert float(divergence(student, teacher, Config("reverse_kl"))) == pytest.approx(reverse, abs=1e-6)


@pytest.mark.parametrize("kind", [Config(), Config("reverse_kl", temperature=2.0), Config("jsd", beta=0.2)], ids=str)
def test_gradient_is_that_of_finite_differences(kind):
    student = logits_of(shape=(2, 5)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, logits_of(1, (2, 5)), kind), student)


def test_jsd_is_symmetric_at_one_half_and_bounded():
    one, other = logits_of() * 20, logits_of(1) * 20
    half = Config("jsd", beta=0.5)
    assert torch.allclose(divergence(one, other, half), divergence(other, one, half))
    assert (divergence(one, other, half) <= math.log(2) + 1e-12).all()


def test_jsd_goes_to_either_kl_at_its_ends():
    student, teacher = logits_of(), logits_of(1)
    beta = 1e-6
    near_forward = divergence(student, teacher, Config("jsd", beta=beta)) / beta
    assert torch.allclose(near_forward, divergence(student, teacher, Config("forward_kl")), rtol=1e-3)
    near_reverse = divergence(student, teacher, Config("jsd", beta=1 - beta)) / beta
    assert torch.allclose(near_reverse, divergence(student, teacher, Config("reverse_kl")), rtol=1e-3)


def test_forward_covers_and_reverse_keeps_to_one_of_two_modes():
    """A student that can hold one bump, fitted to two: forward KL puts it between, reverse KL on one of them."""
    places = torch.arange(41.0, dtype=torch.float64)
    teacher = torch.logaddexp(-((places - 13) ** 2) / 4, -((places - 27) ** 2) / 4)
    means = {}
    for kind in ("forward_kl", "reverse_kl"):
        mean, width = torch.tensor(16.0, requires_grad=True), torch.tensor(1.0, requires_grad=True)
        optimizer = torch.optim.Adam([mean, width], lr=0.2)
        for _ in range(500):
            optimizer.zero_grad()
            loss((-((places - mean) ** 2) / (2 * width.exp() ** 2))[None], teacher[None], Config(kind)).backward()
            optimizer.step()
        means[kind] = float(mean.detach())
    assert means["forward_kl"] == pytest.approx(20, abs=1)
    assert means["reverse_kl"] == pytest.approx(13, abs=1)


@KINDS
def test_only_positions_of_the_mask_count(kind):
    student, teacher = logits_of(), logits_of(1)
    mask = torch.zeros(4, 7, dtype=torch.bool)
    mask[1, 3] = mask[2, 5] = True
    by_hand = divergence(student, teacher, Config(kind))[mask].mean()
    assert torch.allclose(loss(student, teacher, Config(kind), mask), by_hand)
    assert loss(student, teacher, Config(kind), torch.zeros_like(mask)) == 0


@pytest.mark.parametrize("on_policy", [0.0, 1.0])
@KINDS
def test_training_brings_the_student_closer(kind, on_policy):
    teacher, student = small_decoder(), small_student()
    config = Config(kind, on_policy=on_policy, prompt_tokens=2)
    optimizer = torch.optim.AdamW(student.parameters(), lr=5e-3)
    tokens, generator = tokens_of(8, 12), seeded()

    def distance():
        with torch.no_grad():
            return float(loss(student(tokens), teacher(tokens), Config(kind)))

    before = distance()
    held = {name: value.clone() for name, value in teacher.state_dict().items()}
    losses = [train_step(student, teacher, tokens, optimizer, config, generator) for _ in range(25)]
    assert distance() < 0.9 * before
    assert all(math.isfinite(one) for one in losses)
    assert all(torch.equal(value, held[name]) for name, value in teacher.state_dict().items())


def test_the_students_text_begins_as_given_and_is_its_own():
    student, tokens = small_student(), tokens_of(3, 12)
    text = student_text(student, tokens, Config(prompt_tokens=5), seeded())
    assert text.shape == tokens.shape
    assert torch.equal(text[:, :5], tokens[:, :5])
    assert not torch.equal(text, tokens)
    assert torch.equal(text, student_text(student, tokens, Config(prompt_tokens=5), seeded()))


@pytest.mark.parametrize(
    "wrong",
    [{"divergence": "magic"}, {"divergence": "jsd", "beta": 1.0}, {"temperature": 0.0}, {"on_policy": 2.0}],
    ids=str,
)
def test_impossible_configs_are_refused(wrong):
    with pytest.raises(ValueError, match=[*wrong][-1]):
        Config(**wrong)
