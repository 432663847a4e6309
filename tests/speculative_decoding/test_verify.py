"""Whatever was guessed, what is committed is distributed as the target's own: by enumeration and by chi-square."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from reference_impls.speculative_decoding.tree import Tree, chain
from reference_impls.speculative_decoding.verify import residual, verify, verify_greedy, without
from tests.speculative_decoding.conftest import seeded

VOCAB = 5
DRAWS = 20_000


def some_probs(rows: int, seed: int, vocab: int = VOCAB) -> torch.Tensor:
    return (2 * torch.randn(rows, vocab, generator=seeded(seed), dtype=torch.float64)).softmax(-1)


def first_token(tree: Tree, p: torch.Tensor, generator: torch.Generator) -> int:
    verdict = verify(tree, p.expand(len(tree.parents), -1), generator)
    return int(tree.tokens[verdict.path[1]]) if len(verdict.path) > 1 else verdict.token


def drawn(q: torch.Tensor, count: int, generator: torch.Generator) -> Tree:
    """A root with `count` children drawn from q without replacement."""
    tokens = torch.multinomial(q, count, replacement=False, generator=generator)
    probs = torch.zeros(count + 1, len(q), dtype=q.dtype)
    probs[0] = q
    return Tree(torch.cat([torch.tensor([0]), tokens]), (-1, *[0] * count), probs)


@pytest.mark.parametrize("children", [1, 2, 3])
def test_drawn_guesses_leave_the_distribution_alone(children):
    p, q = some_probs(2, seed=children)
    generator = seeded(10 + children)
    counts = torch.zeros(VOCAB)
    for _ in range(DRAWS):
        counts[first_token(drawn(q, children, generator), p, generator)] += 1
    assert chisquare(counts, DRAWS * p.numpy()).pvalue > 1e-3


@pytest.mark.parametrize("tokens", [[1], [4, 2], [0, 1, 2, 3, 4]])
def test_chosen_guesses_leave_the_distribution_alone(tokens):
    p = some_probs(1, seed=7)[0]
    tree = Tree(torch.tensor([0, *tokens]), (-1, *[0] * len(tokens)))
    generator = seeded(20)
    counts = torch.zeros(VOCAB)
    for _ in range(DRAWS):
        counts[first_token(tree, p, generator)] += 1
    assert chisquare(counts, DRAWS * p.numpy()).pvalue > 1e-3


def test_a_rule_without_the_residual_would_be_caught():
    """Drawing the replacement from p itself is the usual mistake; the test above must be able to see it."""
    p, q = some_probs(2, seed=1)
    generator = seeded(3)
    counts = torch.zeros(VOCAB)
    for _ in range(DRAWS):
        guess = int(torch.multinomial(q, 1, generator=generator))
        kept = float(torch.rand((), generator=generator)) * q[guess] < p[guess]
        counts[guess if kept else int(torch.multinomial(p, 1, generator=generator))] += 1
    assert chisquare(counts, DRAWS * p.numpy()).pvalue < 1e-6


@given(seed=st.integers(0, 10_000))
@settings(max_examples=200, deadline=None)
def test_acceptance_and_residual_add_up_to_the_target(seed):
    """Enumerated: sum over guesses of q * min(1, p / q), plus what is rejected times the residual, is p."""
    p, q = some_probs(2, seed)
    accepted = torch.minimum(p, q)
    total = accepted + (1 - accepted.sum()) * residual(p, q)
    assert torch.allclose(total, p, atol=1e-12)
    assert torch.allclose(without(q, torch.tensor(2)).sum(), torch.ones((), dtype=q.dtype))


def test_equal_distributions_always_accept():
    q = some_probs(1, seed=4)[0]
    generator = seeded(5)
    for _ in range(500):
        verdict = verify(drawn(q, 1, generator), q.expand(2, -1), generator)
        assert len(verdict.path) == 2


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_greedy_is_the_certain_case_of_the_same_rule(data):
    nodes = data.draw(st.integers(1, 8))
    tokens = torch.tensor(data.draw(st.lists(st.integers(0, 3), min_size=nodes, max_size=nodes)))
    parents = (-1, *(data.draw(st.integers(0, node - 1)) for node in range(1, nodes)))
    choices = torch.tensor(data.draw(st.lists(st.integers(0, 3), min_size=nodes, max_size=nodes)))
    tree = Tree(tokens, parents)
    certain = torch.zeros(nodes, 4).scatter(1, choices[:, None], 1.0)
    assert verify(tree, certain, seeded()) == verify_greedy(tree, choices)


def test_greedy_by_hand():
    #   0 -> 7 -> 3, 0 -> 5 -> 9; the target says 5, then 9, then 2
    tree = Tree(torch.tensor([0, 7, 3, 5, 9]), (-1, 0, 1, 0, 3))
    verdict = verify_greedy(tree, torch.tensor([5, 1, 1, 9, 2]))
    assert (verdict.path, verdict.token) == ([0, 3, 4], 2)


def test_a_chain_stops_at_the_first_disagreement():
    verdict = verify_greedy(chain([1, 2, 3, 4]), torch.tensor([2, 9, 4, 5]))
    assert (verdict.path, verdict.token) == ([0, 1], 9)
