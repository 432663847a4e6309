"""A Hugging Face Llama is a target like any other: the same states, the same tokens, the same cache after a tree."""

import pytest
import torch

pytest.importorskip("transformers")

from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from reference_impls.models.weights import HUGGING_FACE, config_to_hugging_face, names
from reference_impls.speculative_decoding import draft_model, token_tree
from reference_impls.speculative_decoding.generate import generate
from reference_impls.speculative_decoding.hf import HuggingFaceModel
from tests.speculative_decoding.conftest import TARGET, draft, near, prompts, some_tokens, target
from tests.speculative_decoding.makers import MAKERS


def llama(attention: str = "eager") -> LlamaForCausalLM:
    """The tests' target as transformers computes it."""
    model = target()
    config = LlamaConfig(**config_to_hugging_face(TARGET, torch.float64), attn_implementation=attention)
    made = LlamaForCausalLM(config).to(torch.float64)
    renamed = names(TARGET, HUGGING_FACE)
    made.load_state_dict({renamed[name]: value for name, value in model.named_parameters()})
    return made.requires_grad_(False)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_states_are_the_decoders(attention):
    tokens, wrapped = some_tokens(2, 9, vocab=32), HuggingFaceModel(llama(attention))
    assert torch.allclose(wrapped.hidden_states(tokens), target().hidden_states(tokens), atol=1e-6)
    cache = wrapped.new_cache()
    first = wrapped.hidden_states(tokens[:, :5], cache)
    second = wrapped.hidden_states(tokens[:, 5:], cache)
    assert torch.allclose(torch.cat([first, second], 1), target().hidden_states(tokens), atol=1e-6)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_greedy_output_is_what_transformers_generates(attention):
    model = llama(attention)
    for prompt in prompts(4):
        plain = model.generate(prompt[None], max_new_tokens=12, do_sample=False, eos_token_id=None, pad_token_id=0)
        for drafter in (
            draft_model.Drafter(near(target(), 0.1)),
            token_tree.Drafter(near(target(), 0.1), token_tree.fixed_shape((2, 2, 1))),
        ):
            made = generate(HuggingFaceModel(model), drafter, [prompt], 12).tokens[0]
            assert made == plain[0, len(prompt) :].tolist()


def test_rows_of_different_lengths():
    many, wrapped = prompts(3), HuggingFaceModel(llama())
    together = generate(wrapped, draft_model.Drafter(near(target(), 0.1)), many, 10).tokens
    assert together == generate(target(), draft_model.Drafter(near(target(), 0.1)), many, 10).tokens


def test_it_may_be_the_draft_too():
    prompt = some_tokens(4, vocab=32)
    perfect = generate(target(), draft_model.Drafter(HuggingFaceModel(llama())), [prompt], 20)
    assert perfect.acceptance_rate == 1


def test_moving_and_cropping():
    tokens, wrapped = some_tokens(1, 6, vocab=32), HuggingFaceModel(llama())
    cache = wrapped.new_cache()
    wrapped.hidden_states(tokens, cache)
    before = cache.held.layers[1].keys.clone()
    cache.move(torch.tensor([[4, 5]]), torch.tensor([[2, 3]]))
    cache.crop(4)
    assert cache.length == 4
    assert torch.equal(cache.held.layers[1].keys, before[:, :, [0, 1, 4, 5]])
    with pytest.raises(ValueError, match="crop keeps 0 to 4"):
        cache.crop(5)


def test_what_is_no_llama_is_refused():
    other = GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=2, n_embd=8, vocab_size=32))
    with pytest.raises(ValueError, match="model_type"):
        HuggingFaceModel(other)
    with pytest.raises(TypeError, match="new_cache"):
        HuggingFaceModel(llama()).hidden_states(some_tokens(1, 3, vocab=32), draft().new_cache())


@pytest.mark.parametrize("name", ["lookahead", "medusa", "prompt_lookup", "retrieval"])
def test_drafters_that_need_no_decoder_run_on_it(name):
    """With states, verdicts or nothing of the target: the text is the one that the decoder itself makes."""
    wrapped = HuggingFaceModel(llama())
    for prompt in prompts(3):
        made = generate(wrapped, MAKERS[name](target(), prompt), [prompt], 14)
        assert made.tokens == generate(target(), MAKERS[name](target(), prompt), [prompt], 14).tokens
