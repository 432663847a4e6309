"""Exact whatever the verdicts are: batches of every drafter, every pattern of acceptance, a real model in float32."""

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_impls.models import generate as plain
from reference_impls.models import smollm2
from reference_impls.speculative_decoding import Context
from reference_impls.speculative_decoding.generate import generate
from reference_impls.speculative_decoding.tree import Tree
from tests.speculative_decoding.conftest import prompts, seeded, some_tokens, target
from tests.speculative_decoding.makers import MAKERS, known

TOP_GAP = 1e-4
"""Two tokens whose float32 scores are nearer than this may change places when a pass has other shapes."""


class Scripted:
    """Trees in which the right token stands where a pattern says, and wrong ones everywhere else."""

    def __init__(self, text: list[int], pattern: list[list[int]]) -> None:
        self.text, self.pattern, self.round = text, pattern, 0

    def session(self) -> "Scripted":
        return self

    def propose(self, context: Context) -> Tree:
        """pattern: for each depth which of three children is right; another number: none of them."""
        tokens, parents, node, start = [int(context.tokens[-1])], [-1], 0, len(context.tokens)
        for depth, place in enumerate(self.pattern[self.round % len(self.pattern)]):
            right = self.text[start + depth]
            following = node
            for child in range(3):
                tokens.append(right if child == place else (right + 1 + child) % 32)
                parents.append(node)
                following = len(tokens) - 1 if child == place else following
            if following == node:
                break
            node = following
        self.round += 1
        return Tree(torch.tensor(tokens), tuple(parents))


@cache
def text_of(seed: int) -> tuple[torch.Tensor, list[int]]:
    """A prompt, and it with the target's continuation."""
    prompt = some_tokens(1 + seed, vocab=32, seed=seed)
    return prompt, known(target(), prompt)


PATTERNS = st.lists(st.lists(st.integers(0, 3), max_size=5), min_size=1, max_size=6)


@given(pattern=PATTERNS, seed=st.integers(0, 4))
@settings(max_examples=25, deadline=None)
def test_any_pattern_of_acceptance_gives_the_targets_text(pattern, seed):
    """And accepts exactly what was right: guesses up to the first place without the right child."""
    prompt, text = text_of(seed)
    result = generate(target(), Scripted(text, pattern), [prompt], 20)
    assert [*prompt.tolist(), *result.tokens[0]] == text[: len(prompt) + 20]
    made = 0
    for number, one in enumerate(result.rounds):
        places = pattern[number % len(pattern)]
        right = next((depth for depth, place in enumerate(places) if place > 2), len(places))
        assert one.accepted == min(right, 20 - made - 1)
        made += one.accepted + 1


ALONE = ("oracle", "self_speculative", "quantized_draft")


@pytest.mark.parametrize("name", [name for name in sorted(MAKERS) if name not in ALONE])
def test_rows_of_a_batch_are_what_they_are_alone(name):
    """Rows of other lengths that accept other numbers of guesses. The oracle knows one text, the others one cache."""
    model, many = target(), prompts(4)
    together = generate(model, MAKERS[name](model, many[0]), many, 12)
    for row, prompt in enumerate(many):
        assert together.tokens[row] == plain.generate(model, prompt[None], 12)[0].tolist()
    counts = {row: sum(one.accepted for one in together.rounds if one.row == row) for row in range(4)}
    assert name in ("lookahead", "retrieval", "prompt_lookup", "eagle") or len(set(counts.values())) > 1


@pytest.mark.parametrize("name", sorted(MAKERS))
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_one_generator_gives_one_text(name, temperature):
    model, prompt = target(), some_tokens(5, vocab=32)
    config = plain.Config(temperature)
    first, second = (
        generate(model, MAKERS[name](model, prompt), [prompt], 10, config, generator=seeded(4)).tokens for _ in range(2)
    )
    assert first == second


@pytest.mark.slow
def test_a_real_model_differs_only_where_two_tokens_are_as_good_as_equal(record_property):
    """Passes of other shapes round differently in float32: a token may differ where the best two are within TOP_GAP."""
    pytest.importorskip("tokenizers")
    if smollm2.smollm2_path() is None:
        pytest.skip(smollm2.HOW_TO_GET_IT)
    from reference_impls.speculative_decoding.bench_recipes import smollm2_recipes
    from reference_impls.speculative_decoding.bench_setups import Setup, run
    from reference_impls.speculative_decoding.bench_setups import prompts as chats
    from reference_impls.speculative_decoding.bench_setups import target as load

    model = load("smollm2-135m")
    near = 0
    for setup in (Setup("smollm2-135m", kind, tokens=16, count=2) for kind in ("copy", "free")):
        for recipe in (one for one in smollm2_recipes() if one.module not in ("medusa", "eagle")):
            for prompt, one in zip(chats(setup), run(model, recipe.make(setup), setup), strict=True):
                made = torch.tensor(one.tokens[0])
                scores = model(torch.cat([prompt, made])[None])[0, len(prompt) - 1 : -1]
                gaps = scores.max(-1).values - scores.gather(1, made[:, None])[:, 0]
                assert float(gaps.max()) < TOP_GAP, recipe.name
                near += int((gaps > 0).sum())
    record_property("tokens_that_differ", near)
