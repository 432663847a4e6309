"""LLMCad: exact whatever its parts do; pacer and alpha by hand; no rejected guess survives."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_impls.models import generate as plain
from reference_impls.speculative_decoding import Context, llmcad
from reference_impls.speculative_decoding.generate import generate
from reference_impls.speculative_decoding.llmcad import Config, Drafter, Growth, judge_by_branches, next_alpha
from reference_impls.speculative_decoding.tree import Tree
from reference_impls.speculative_decoding.verify import verify_greedy
from tests.speculative_decoding.conftest import draft, near, prompts, some_tokens, target

PARTS = [
    Config(),
    Config(branch_threshold=1.0),
    Config(adaptive=False, alpha0=0.5),
    Config(provisional=False),
    Config(alpha_rule="linear"),
    Config(branch_threshold=0.05, max_branches=4, max_tree=9),
]


class Waiting:
    """A target that gives the drafter time for `steps` provisional guesses in every pass."""

    def __init__(self, drafter: Drafter, steps: int) -> None:
        self.model, self.drafter, self.steps = target(), drafter, steps
        self.head, self.new_cache = self.model.head, self.model.new_cache

    def hidden_states(self, *arguments):
        for _ in range(self.steps):
            if not self.drafter.meanwhile():
                break
        return self.model.hidden_states(*arguments)


@pytest.mark.parametrize("config", PARTS, ids=lambda config: f"{PARTS.index(config)}")
@pytest.mark.parametrize("steps", [0, 1, 5])
def test_output_is_the_targets_with_every_part_on_or_off(config, steps):
    model = target()
    for noise, prompt in zip((0.0, 0.05, 0.2, 1.0), prompts(4), strict=True):
        drafter = Drafter(near(model, noise), config)
        made = generate(Waiting(drafter, steps), drafter, [prompt], 24).tokens[0]
        assert made == plain.generate(model, prompt[None], 24)[0].tolist()


def test_a_stem_outlives_its_verification_only_if_all_was_right():
    model, prompt = target(), some_tokens(4, vocab=32)
    perfect = Drafter(model, Config(adaptive=False, alpha0=0.3))
    generate(Waiting(perfect, 4), perfect, [prompt], 40)
    assert any(one.stem for one in perfect.last.log)
    for before, after in zip(perfect.last.log, perfect.last.log[1:], strict=False):
        assert not after.stem or before.accepted > 0
    stranger = Drafter(draft(), Config())
    generate(Waiting(stranger, 4), stranger, [prompt], 40)
    assert sum(one.stem for one in stranger.last.log) <= sum(one.stem for one in perfect.last.log)


def test_no_rejected_guess_survives():
    """Random verdicts instead of the target's: what is drafted next starts from what was committed, always."""
    rng = random.Random(1)
    drafter = Drafter(near(target(), 0.1), Config(branch_threshold=0.1))
    session = drafter.session()
    tokens = some_tokens(4, vocab=32).tolist()
    for _ in range(25):
        tree = session.propose(Context(torch.tensor(tokens), plain.GREEDY, 40))
        assert int(tree.tokens[0]) == tokens[-1]
        for _ in range(rng.randrange(6)):
            drafter.meanwhile()
        path = tree.path(rng.randrange(len(tree.parents)))
        tokens = [*tokens, *(int(tree.tokens[node]) for node in path[1:]), rng.randrange(32)]
        fresh = near(target(), 0.1)(torch.tensor([tokens]))[0, -1]
        assert torch.allclose(session.follower.begin(tokens), fresh, atol=1e-8)
        assert session.follower.cache.length == len(tokens)


def test_perfect_draft_with_alpha_near_zero_fills_the_tree():
    model = target()
    drafter = Drafter(model, Config(branch_threshold=1.0, adaptive=False, alpha0=1e-6, max_tree=6))
    result = generate(model, drafter, [some_tokens(4, vocab=32)], 28)
    confident = [one for one in drafter.last.log if one.t_c > 1e-6]
    assert all(one.drafted == 6 for one in confident[:-1])
    assert result.acceptance_rate == 1


def test_pacer_by_hand():
    growth = Growth([9])
    a, b = growth.add(1, 0, 0.6), growth.add(2, 0, 0.3)
    # two guesses; a deserves 2 * .6 / .9 = 1.33 and has 1, b deserves 0.67 and has 1
    assert growth.next_branch(9) == a
    longer = growth.add(3, growth.add(4, a, 1.0), 1.0)
    # four guesses; a's branch deserves 2.67 and has 3 (-.33), b deserves 1.33 and has 1 (.33)
    assert growth.next_branch(9) == b
    assert growth.t_c == 0.6
    assert growth.best_leaf() == longer
    assert growth.next_branch(1) is None or growth.depths[growth.next_branch(1)] < 1


def test_alpha_by_hand():
    config = Config()
    assert next_alpha(0.01, 0.2, 5, 5, config) == 0.005
    assert next_alpha(0.005, 0.2, 5, 5, config) == 0.0025
    assert next_alpha(0.01, 0.25, 4, 2, config) == pytest.approx(0.02)  # .01 / .25 ** .5
    assert next_alpha(0.01, 0.25, 4, 1, Config(alpha_rule="linear")) == 0.75


@given(
    alpha=st.floats(1e-6, 0.9),
    t_c=st.floats(0, 1),
    drafted=st.integers(0, 40),
    share=st.floats(0, 1),
    rule=st.sampled_from(["exponential", "linear"]),
)
def test_alpha_stays_in_bounds(alpha, t_c, drafted, share, rule):
    found = next_alpha(alpha, t_c, drafted, int(drafted * share), Config(alpha_rule=rule))
    assert 1e-6 <= found <= 0.9


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_branches_in_a_batch_give_what_the_tree_pass_gives(seed):
    model, rng = target(), random.Random(seed)
    committed = some_tokens(5, vocab=32, seed=seed)
    right = plain.generate(model, committed[None], 6)[0].tolist()
    tokens, parents, depths = [int(committed[-1])], [-1], [0]
    for _ in range(rng.randrange(1, 12)):
        parent = rng.randrange(len(tokens))
        guess = right[depths[parent]] if depths[parent] < 6 and rng.random() < 0.7 else rng.randrange(32)
        if (parent, guess) in zip(parents, tokens, strict=True):
            continue
        tokens.append(guess)
        parents.append(parent)
        depths.append(depths[parent] + 1)
    tree = Tree(torch.tensor(tokens), tuple(parents))
    alone = torch.stack(
        [model(torch.cat([committed[:-1], tree.tokens[tree.path(node)]])[None])[0, -1] for node in range(len(tokens))]
    )
    verdict = verify_greedy(tree, alone.argmax(-1))
    expected = [*(int(tree.tokens[node]) for node in verdict.path[1:]), verdict.token]
    assert judge_by_branches(model, committed, tree) == expected


@pytest.mark.parametrize(
    "wrong", [{"branch_threshold": 0.0}, {"alpha0": 0.0}, {"alpha0": 0.95}, {"max_tree": 0}, {"max_branches": 0}]
)
def test_settings_are_checked(wrong):
    with pytest.raises(ValueError):
        llmcad.Config(**wrong)
