"""A copy at fewer bits on the target's cache: what it guesses, what it leaves behind, compiled and not."""

import shutil

import pytest
import torch

from reference_impls.kv_cache import kivi
from reference_impls.kv_cache.shape import CacheShape
from reference_impls.models import generate as plain
from reference_impls.models.decoder import Decoder
from reference_impls.quantization.apply import quantize_model
from reference_impls.quantization.compiled import StaticDecoder
from reference_impls.quantization.fused import fuse
from reference_impls.speculative_decoding import Context
from reference_impls.speculative_decoding.generate import generate, prefill
from reference_impls.speculative_decoding.quantized_draft import Config, Drafter, compiled_score
from tests.speculative_decoding.conftest import TARGET, near, some_tokens, target

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="torch's compiler needs g++ on a CPU")


def rounded(model, bits: int) -> Decoder:
    return quantize_model(fuse(model), "rtn", {"bits": bits, "group_size": None}, skip=())


def in_float32() -> Decoder:
    model = Decoder(TARGET)
    model.load_state_dict(target().state_dict())
    return model.requires_grad_(False)


def acceptance(drafter: Drafter) -> float:
    return generate(target(), drafter, [some_tokens(5, vocab=32)], 80).acceptance_rate


def test_a_copy_that_is_not_rounded_is_always_right_and_fewer_bits_are_right_less_often():
    rates = [acceptance(Drafter(rounded(target(), bits))) for bits in (8, 4, 2)]
    assert acceptance(Drafter(fuse(target()))) == 1
    assert rates[0] > rates[1] > rates[2]


def test_its_guesses_are_the_copys_own_text_and_the_cache_is_as_it_was():
    model, prompt = target(), some_tokens(9, vocab=32)
    copy = rounded(model, 4)
    cache = prefill(copy, [prompt], 20).cache  # what stands there is the copy's own, so its text is that of it alone
    before = cache.storage[..., : cache.length, :].clone()
    tree = Drafter(copy, Config(6)).session().propose(Context(prompt, plain.GREEDY, 9, cache=cache))
    assert tree.tokens[1:].tolist() == plain.generate(copy, prompt[None], 6)[0].tolist()
    assert cache.length == len(prompt) - 1
    assert torch.equal(cache.storage[..., : cache.length, :], before)


@needs_compiler
def test_compiled_it_guesses_the_same_whatever_the_memory_held_before():
    """Places behind the end hold what memory held, here no numbers at all."""
    model, prompt = in_float32(), some_tokens(9, vocab=32)
    copy = rounded(near_float32(model), 4)
    trees = []
    for compiled in (False, True):
        cache = prefill(model, [prompt], 20).cache
        cache.storage[..., cache.length :, :] = torch.nan
        drafter = Drafter(copy, Config(6, compiled))
        trees.append(drafter.session().propose(Context(prompt, plain.GREEDY, 9, cache=cache)))
        assert cache.length == len(prompt) - 1
    assert torch.equal(trees[0].tokens, trees[1].tokens)
    text = [generate(model, Drafter(copy, Config(4, compiled)), [prompt], 24).tokens[0] for compiled in (False, True)]
    assert text[0] == text[1] == plain.generate(model, prompt[None], 24)[0].tolist()


def near_float32(model: Decoder) -> Decoder:
    """Disturbed, so that some guesses are wrong and are cropped."""
    return near(model, 0.02).to(torch.float32)


@needs_compiler
def test_one_session_goes_on_with_the_cache_it_is_given():
    """A step belongs to a cache's memory: another cache gets another one."""
    model = in_float32()
    session = Drafter(fuse(model), Config(3, compiled=True)).session()
    for seed in (1, 2):
        prompt = some_tokens(7, vocab=32, seed=seed)
        cache = prefill(model, [prompt], 20).cache
        tree = session.propose(Context(prompt, plain.GREEDY, 9, cache=cache))
        assert tree.tokens[1:].tolist() == plain.generate(model, prompt[None], 3)[0].tolist()


def test_what_cannot_be_shared_is_refused():
    model, prompt = target(), some_tokens(5, vocab=32)
    shape = CacheShape(TARGET.layers, 1, TARGET.kv_heads, 16, TARGET.head_dim)
    with pytest.raises(ValueError, match="contiguous"):
        Drafter(model).session().propose(Context(prompt, plain.GREEDY, 9, cache=kivi.new_cache(shape)))
    with pytest.raises(ValueError, match="storage"):
        compiled_score(in_float32(), model.new_cache(1, 16))
    with pytest.raises(ValueError, match="storage"):
        StaticDecoder(model, 8, compiled=False, storage=model.new_cache(1, 16).storage)
    with pytest.raises(ValueError, match="length"):
        Config(0)
    with pytest.raises(ValueError, match="one prompt"):
        generate(model, Drafter(model), [prompt, prompt], 4)
