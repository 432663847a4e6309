"""Codes against rounding by hand, bytes against the formula, and the axes against each other."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference_impls.kv_cache import kivi
from reference_impls.kv_cache.kivi import Config, KiviCodec, dequantize, quantize
from reference_impls.models import tiny
from tests.kv_cache.models import MODEL, MORE, PROMPT, expected, run, shape
from tests.models.conftest import seeded


def test_one_group_by_hand():
    codes, scale, offset = quantize(torch.tensor([[-1.0, 0.0, 0.4, 2.0]]), 2)
    assert (float(scale), float(offset)) == (1.0, -1.0)
    assert codes.tolist() == [[0 | 1 << 2 | 1 << 4 | 3 << 6]]
    assert dequantize(codes, scale, offset, 2).tolist() == [[-1.0, 0.0, 0.0, 2.0]]


@given(st.sampled_from([2, 4, 8]), st.integers(0, 50), st.floats(1e-3, 1e3))
def test_error_is_at_most_half_a_step(bits, seed, size):
    grouped = torch.randn(5, 32, generator=seeded(seed)) * size + size
    codes, scale, offset = quantize(grouped, bits)
    error = (dequantize(codes, scale, offset, bits) - grouped).abs()
    slack = grouped.abs().amax(-1, keepdim=True) * 2.0**-10  # scale and offset are float16
    assert (error <= scale.float() / 2 + slack).all()


@pytest.mark.parametrize("constant", [0.0, 3.0, -70.0])
def test_equal_numbers_are_kept(constant):
    assert torch.equal(dequantize(*quantize(torch.full((2, 8), constant), 4), 4), torch.full((2, 8), constant))


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_bytes_are_those_of_the_formula(bits):
    config = Config(bits, group_size=16, recent_tokens=8)
    cache = kivi.new_cache(shape(), config)
    MODEL(PROMPT, cache)  # 40 tokens: 32 sealed, 8 as they are
    numbers = 2 * 2 * 3 * 2 * 16  # of one token: rows, keys and values, layers, heads, head_dim
    assert cache.nbytes == 32 * numbers * config.bits_per_number / 8 + 8 * numbers * 8
    assert config.bits_per_number == bits + 2


def test_the_newest_tokens_are_exact_and_more_bits_are_better():
    errors = [(run(kivi.new_cache(shape(), Config(bits, 16, 16))) - expected()).norm() for bits in (2, 4, 8)]
    assert errors[0] > 2 * errors[1] > 4 * errors[2] > 0
    cache = kivi.new_cache(shape(), Config(2, 16, 16))
    MODEL(PROMPT, cache)
    keys, _ = cache.append(0, torch.zeros(2, 2, 1, 16).double(), torch.zeros(2, 2, 1, 16).double())
    whole = MODEL.new_cache(2)
    MODEL(PROMPT, whole)
    plain = whole.storage[0, 0, :, :, :40]
    assert torch.equal(keys[:, :, 16:40], plain[:, :, 16:])
    assert not torch.equal(keys[:, :, :16], plain[:, :, :16])


def test_a_prompt_attends_to_itself_as_it_is():
    cache = kivi.new_cache(shape(), Config(2, 16, 0))
    assert torch.allclose(MODEL(PROMPT, cache), MODEL(PROMPT), atol=1e-10)


def test_crop_into_a_sealed_group_keeps_its_rounded_tokens():
    cache, again = (kivi.new_cache(shape(), Config(8, 16, 0)) for _ in range(2))
    MODEL(PROMPT, cache)
    cache.crop(21)
    assert cache.length == 21
    logits = MODEL(MORE[:, :5], cache)
    MODEL(PROMPT[:, :32], again)
    whole = MODEL(torch.cat([PROMPT[:, :21], MORE[:, :5]], 1))[:, 21:]
    assert (logits - whole).norm() < 0.05 * whole.norm()
    cache.crop(0)
    assert torch.allclose(MODEL(PROMPT, cache), MODEL(PROMPT), atol=1e-10)


def real_keys(tokens=256):
    """Keys and values of the trained model's layers. -> (layers, kv_heads, tokens, head_dim) each"""
    model = tiny.load_target().requires_grad_(False)
    cache = model.new_cache(1, tokens)
    model(tiny.heldout_tokens(tokens)[None], cache)
    return cache.storage[:, 0, 0], cache.storage[:, 1, 0]


def test_on_real_keys_a_scale_for_each_token_is_worse():
    pytest.importorskip("tokenizers", reason="tokenizers is not installed")
    keys, values = real_keys()
    size = min(32, keys.shape[-1])

    def error(config):
        opened = KiviCodec(config).open(KiviCodec(config).seal(keys, values, size))
        whole = [part.movedim(0, 2).flatten(2, 3) for part in opened]
        return [float((got - own).norm() / own.norm()) for got, own in zip(whole, (keys, values), strict=True)]

    straight = error(Config(2, size))
    swapped = error(Config(2, size, keys="token", values="channel"))
    assert swapped[0] > 1.15 * straight[0]


def test_misuse_is_refused():
    with pytest.raises(ValueError, match="bits must be 2, 4 or 8"):
        Config(bits=3)
    with pytest.raises(ValueError, match="whole bytes"):
        Config(bits=2, group_size=6)
    with pytest.raises(ValueError, match=r"divide head_dim \(16\), got 32"):
        kivi.new_cache(shape(), Config(group_size=32))
