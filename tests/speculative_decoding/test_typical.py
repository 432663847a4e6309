"""Typical acceptance: thresholds by hand, the longest of all passing paths, greedy text where nothing can pass."""

from itertools import pairwise
from math import log

import pytest
import torch

from reference_impls.models import generate as plain
from reference_impls.speculative_decoding import draft_model, token_tree
from reference_impls.speculative_decoding.generate import generate
from reference_impls.speculative_decoding.tree import Tree, chain
from reference_impls.speculative_decoding.typical import Config, thresholds, typical
from tests.speculative_decoding.conftest import near, prompts, target


def test_thresholds_by_hand():
    """A certain place has entropy 0 and asks for epsilon; of V equal tokens each has 1 / V, and delta / V is asked."""
    probs = torch.tensor([[1.0, 0, 0, 0], [0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0, 0]])
    torch.testing.assert_close(thresholds(probs, Config(0.09)), torch.tensor([0.09, 0.3 / 4, 0.09]))
    torch.testing.assert_close(thresholds(probs, Config(0.5, 0.2)), torch.tensor([0.2, 0.05, 0.1]))


def test_a_guess_stays_where_the_place_is_open_and_goes_where_it_is_not():
    """0.1 passes among many small ones, and does not beside 0.9: 0.3 exp(-0.325) = 0.217 is above epsilon = 0.2."""
    wide = torch.full((1, 10), 0.1).log()
    sure = torch.tensor([[0.9, 0.1, *[0.0] * 8]]).log()
    rule = typical(Config(0.2, 0.3))
    assert rule(chain([0, 1]), torch.cat([wide, wide])).path == [0, 1]
    gone = rule(chain([0, 1]), torch.cat([sure, sure]))
    assert (gone.path, gone.token) == ([0], 0)


@pytest.mark.parametrize("seed", range(30))
def test_the_longest_passing_path_of_random_trees(seed):
    generator = torch.Generator().manual_seed(seed)
    nodes, vocab, config = 14, 5, Config(0.3, 0.6, temperature=0.8)
    parents = (-1, *(int(torch.randint(at, (), generator=generator)) for at in range(1, nodes)))
    tree = Tree(torch.randint(vocab, (nodes,), generator=generator), parents)
    logits = torch.randn(nodes, vocab, generator=generator, dtype=torch.float64) * 2
    verdict = typical(config)(tree, logits)

    def asked(node):
        p = (logits[node] / 0.8).softmax(-1).tolist()
        entropy = -sum(one * log(one) for one in p)
        return min(0.3, 0.6 * 2.718281828459045**-entropy), p

    def path_to(node):
        return [0] if node == 0 else [*path_to(parents[node]), node]

    def passes(path):
        return all(asked(above)[1][int(tree.tokens[below])] > asked(above)[0] for above, below in pairwise(path))

    passing = [path for path in map(path_to, range(nodes)) if passes(path)]
    assert passes(verdict.path)
    assert len(verdict.path) == max(map(len, passing))
    assert verdict.token == int(logits[verdict.path[-1]].argmax())


def test_where_nothing_can_pass_the_text_is_the_greedy_one():
    model = target()
    drafter = token_tree.Drafter(near(model, 0.1), token_tree.fixed_shape((3, 2, 1)))
    for prompt in prompts(6):
        made = generate(model, drafter, [prompt], 16, rule=typical(Config(1.0, 1e9)))
        assert made.tokens[0] == plain.generate(model, prompt[None], 16)[0].tolist()
        assert made.acceptance_rate == 0


def test_a_lower_threshold_saves_passes_and_commits_what_the_target_likes_less():
    """Negative control for its losslessness: the text is another one, and less likely token by token."""
    model = target()
    passes, likelihood, same = [], [], []
    for epsilon in (0.9, 0.09, 0.0):
        results = [
            generate(model, draft_model.Drafter(near(model, 0.4)), [one], 24, rule=typical(Config(epsilon)))
            for one in prompts(8)
        ]
        passes.append(sum(len(one.rounds) for one in results))
        total = 0.0
        for one, prompt in zip(results, prompts(8), strict=True):
            text = torch.tensor([*prompt.tolist(), *one.tokens[0]])[None]
            scores = model(text[:, :-1]).log_softmax(-1)[0, len(prompt) - 1 :]
            total += float(scores.gather(1, text[0, len(prompt) :, None]).sum())
            same.append(one.tokens[0] == plain.generate(model, prompt[None], 24)[0].tolist())
        likelihood.append(total)
    assert passes[0] > passes[1] > passes[2]
    assert likelihood[0] > likelihood[2]
    assert not all(same)


@pytest.mark.parametrize("wrong", [{"epsilon": -0.1}, {"delta": -1.0}, {"temperature": 0.0}])
def test_what_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValueError, match="must not be negative"):
        Config(**wrong)
