"""The step over static shapes is the plain decoder's, compiled and not, with plain and with packed weights."""

import shutil

import pytest
import torch

from reference_impls.quantization import rtn
from reference_impls.quantization.apply import quantize_model
from reference_impls.quantization.compiled import _LAYERS, StaticDecoder, compiled_block
from reference_impls.quantization.fused import fuse
from tests.quantization.cases import small_decoder, tokens_of

CAPACITY, PREFILL = 16, 5


def steps_of(static, model, tokens):
    """Scores of every position behind a prefill, token by token. -> (batch, positions, vocab)"""
    with torch.inference_mode():
        cache = model.new_cache(len(tokens), CAPACITY)
        model(tokens[:, :PREFILL], cache)
        static.load(cache)
        steps = [static(tokens[:, at], torch.tensor([at])) for at in range(PREFILL, tokens.shape[1])]
    return torch.stack(steps, 1)


def test_it_says_what_the_plain_decoder_says():
    model, tokens = small_decoder(dtype=torch.float64), tokens_of()
    static = StaticDecoder(model, CAPACITY, len(tokens), compiled=False)
    # RoPE's angles are float32 in both
    torch.testing.assert_close(steps_of(static, model, tokens), model(tokens)[:, PREFILL:], rtol=1e-6, atol=1e-6)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch's compiler needs g++ on a CPU")
def test_compiled_it_says_the_same_and_one_compilation_serves_all_layers_and_positions():
    model, tokens = small_decoder(), tokens_of()
    compiled_block.cache_clear()
    static = StaticDecoder(model, CAPACITY, len(tokens))
    torch.testing.assert_close(steps_of(static, model, tokens), model(tokens)[:, PREFILL:], rtol=1e-4, atol=1e-4)
    assert len(model.blocks) > 1
    again = StaticDecoder(small_decoder(seed=1), CAPACITY, len(tokens))
    assert again.block is static.block
    assert compiled_block.cache_info().misses == 1


def test_packed_layers_are_called_as_they_are():
    fused, tokens = fuse(small_decoder()), tokens_of()
    packed = quantize_model(fused, rtn, rtn.Config(8, None), effect="kernel", path="dequantize")
    static = StaticDecoder(packed, CAPACITY, len(tokens), compiled=False)
    torch.testing.assert_close(steps_of(static, packed, tokens), packed(tokens)[:, PREFILL:], rtol=1e-4, atol=1e-4)


def test_what_lies_beyond_the_position_is_not_seen():
    model, tokens = small_decoder(), tokens_of()
    static = StaticDecoder(model, CAPACITY, len(tokens), compiled=False)
    before = steps_of(static, model, tokens)
    static.storage[..., tokens.shape[1] :, :] = 1e4
    torch.testing.assert_close(steps_of(static, model, tokens), before, rtol=0, atol=0)
    static.storage[..., PREFILL - 1, :] = 1e4  # and what lies before it is
    assert not torch.equal(static(tokens[:, PREFILL], torch.tensor([PREFILL])), before[:, 0])


def test_a_prefill_that_does_not_fit_is_refused():
    model, tokens = small_decoder(), tokens_of()
    cache = model.new_cache(len(tokens), CAPACITY)
    model(tokens, cache)
    with pytest.raises(ValueError, match="has 8 positions, 12"):
        StaticDecoder(model, 8, len(tokens), compiled=False).load(cache)


def test_layers_are_known_as_long_as_they_live():
    before = len(_LAYERS)
    static = StaticDecoder(small_decoder(), CAPACITY, compiled=False)
    assert len(_LAYERS) > before
    del static
    assert len(_LAYERS) == before
