"""The loop: the output is the target's own, token for token, whatever the drafter does."""

from dataclasses import replace

import pytest
import torch

from reference_impls.models import generate as plain
from reference_impls.speculative_decoding import Context, draft_model, llmcad, lookahead, token_tree
from reference_impls.speculative_decoding.generate import generate, judge, pass_inputs, prefill
from reference_impls.speculative_decoding.tree import Tree
from tests.models.conftest import lively
from tests.speculative_decoding.conftest import DRAFT, draft, near, prompts, seeded, some_tokens, target
from tests.speculative_decoding.makers import MAKERS


class Random:
    """An adversary: random trees of random tokens."""

    def __init__(self, vocab: int, nodes: int = 9, seed: int = 0) -> None:
        self.vocab, self.nodes, self.generator = vocab, nodes, seeded(seed)

    def session(self) -> "Random":
        return self

    def propose(self, context: Context) -> Tree:
        tokens = torch.randint(self.vocab, (self.nodes,), generator=self.generator)
        tokens[0] = context.tokens[-1]
        parents = [-1, *(int(torch.randint(node, (), generator=self.generator)) for node in range(1, self.nodes))]
        return Tree(tokens, tuple(parents))


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.3])
def test_greedy_output_is_the_targets(noise):
    model = target()
    drafter = draft_model.Drafter(near(model, noise), draft_model.Config(length=3))
    for prompt in prompts(20):
        made = generate(model, drafter, [prompt], 17).tokens[0]
        assert made == plain.generate(model, prompt[None], 17)[0].tolist()


def test_a_perfect_draft_needs_one_pass_for_length_plus_one_tokens():
    model = target()
    result = generate(model, draft_model.Drafter(model, draft_model.Config(length=4)), [some_tokens(5, vocab=32)], 20)
    assert result.acceptance_rate == 1
    assert result.tokens_per_pass == 5


def test_an_adversary_changes_nothing():
    model = target()
    for prompt in prompts(20):
        result = generate(model, Random(32, seed=len(prompt)), [prompt], 15)
        assert result.tokens[0] == plain.generate(model, prompt[None], 15)[0].tolist()
        assert len(result.rounds) <= 15


def test_rows_of_a_batch_do_not_meet():
    """Rows of different lengths that accept different numbers of guesses, against each row alone."""
    model = target()
    many = prompts(5)
    together = generate(model, draft_model.Drafter(near(model, 0.1)), many, 14)
    alone = [generate(model, draft_model.Drafter(near(model, 0.1)), [prompt], 14).tokens[0] for prompt in many]
    assert together.tokens == alone
    accepted = {row: [one.accepted for one in together.rounds if one.row == row] for row in range(5)}
    assert len({tuple(found) for found in accepted.values()}) > 1


def test_stop_token_ends_a_row():
    model = target()
    many = prompts(4)
    free = [plain.generate(model, prompt[None], 20)[0].tolist() for prompt in many]
    stop = free[0][7]
    made = generate(model, draft_model.Drafter(near(model, 0.05)), many, 20, stop_token=stop).tokens
    for row, usual in zip(made, free, strict=True):
        assert row == (usual[: usual.index(stop) + 1] if stop in usual else usual)


def test_the_tree_pass_scores_each_path_as_if_it_were_alone():
    model, prompt = target(), some_tokens(1, 6, vocab=32)
    tree = Random(32, nodes=12).propose(Context(prompt[0], plain.GREEDY, 9))
    cache = model.new_cache(1, 40)
    model(prompt[:, :-1], cache)
    tokens, positions, mask = pass_inputs([tree], [5], cache.length)
    together = model(tokens, cache, positions, mask)[0]
    for node in range(12):
        path = tree.tokens[tree.path(node)]
        alone = model(torch.cat([prompt[0, :-1], path])[None])[0, -1]
        assert torch.allclose(together[node], alone, atol=1e-10)


def test_what_stays_in_the_cache_is_what_was_accepted():
    model, prompt = target(), some_tokens(1, 6, vocab=32)
    right = plain.generate(model, prompt, 3)[0]
    wrong = (right + 1) % 32
    # two wrong nodes come between the accepted ones
    tokens = torch.tensor([int(prompt[0, -1]), int(wrong[0]), int(right[0]), int(wrong[1]), int(right[1])])
    cache = model.new_cache(1, 40)
    model(prompt[:, :-1], cache)
    passed = judge(model, cache, [Tree(tokens, (-1, 0, 0, 2, 2))], [5], plain.GREEDY)
    assert passed.verdicts[0].path == [0, 2, 4]
    fresh = model.new_cache(1, 40)
    expected = model.hidden_states(torch.cat([prompt, right[None, :2]], 1), fresh)
    assert cache.length == 8
    assert torch.allclose(cache.storage[..., :8, :], fresh.storage[..., :8, :], atol=1e-12)
    assert torch.allclose(passed.states[0, [0, 2, 4]], expected[0, 5:], atol=1e-12)


def test_sampled_output_depends_on_the_generator_alone():
    model, config = target(), plain.Config(temperature=1.0)
    runs = [
        generate(model, draft_model.Drafter(draft()), prompts(2), 12, config, generator=seeded(seed)).tokens
        for seed in (1, 1, 2)
    ]
    assert runs[0] == runs[1] != runs[2]


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="at least one token"):
        generate(target(), Random(32), [torch.tensor([], dtype=torch.long)], 4)
    with pytest.raises(ValueError, match="max_nodes"):
        generate(target(), Random(32, nodes=70), [torch.tensor([1])], 90)


@pytest.mark.parametrize("name", ["draft_model", "token_tree", "llmcad", "lookahead"])
def test_another_vocabulary_is_refused(name):
    other = lively(replace(DRAFT, vocab=40))
    drafter = {
        "draft_model": lambda: draft_model.Drafter(other),
        "token_tree": lambda: token_tree.Drafter(other, token_tree.fixed_shape((1,))),
        "llmcad": lambda: llmcad.Drafter(other),
        "lookahead": lambda: lookahead.Drafter(lookahead.Config(vocab=40)),
    }[name]()
    with pytest.raises(ValueError, match="40 tokens, the target one of 32"):
        generate(target(), drafter, [torch.tensor([1, 2])], 4)


def test_going_on_twice_from_one_prefill():
    """The same text as from the start, whatever stood behind the prompts before, also for drafters that need states."""
    model, many = target(), prompts(3)
    ready = prefill(model, many, 20 + 64)
    drafters = [
        draft_model.Drafter(near(model, 0.1)),
        MAKERS["eagle"](model, many[0]),
        MAKERS["medusa"](model, many[0]),
    ]
    for drafter in [*drafters, *drafters]:
        made = generate(model, drafter, many, 20, prefilled=ready)
        fresh = generate(model, drafter, many, 20)
        assert made.tokens == fresh.tokens
        assert [one.accepted for one in made.rounds] == [one.accepted for one in fresh.rounds]
