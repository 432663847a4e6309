"""What each drafter promises beyond the common laws: shapes, copies, matches, fixed points."""

from itertools import pairwise, product

import pytest
import torch

from reference_impls.models import generate as plain
from reference_impls.speculative_decoding import Context, lookahead, oracle, prompt_lookup, retrieval, self_speculative
from reference_impls.speculative_decoding.follower import Follower, TreeFollower
from reference_impls.speculative_decoding.generate import generate
from reference_impls.speculative_decoding.token_tree import best_shape, fixed_shape
from reference_impls.speculative_decoding.tree import Tree
from tests.speculative_decoding.conftest import near, some_tokens, target


def context(tokens: list[int]) -> Context:
    return Context(torch.tensor(tokens), plain.GREEDY, 20)


def test_lookup_copies_what_followed_the_longest_latest_match():
    #                              7 8 comes twice; the later one is followed by 5
    assert prompt_lookup.continuation([7, 8, 1, 2, 7, 8, 5, 6, 7, 8], 3, 2) == [5, 6]
    assert prompt_lookup.continuation([9, 7, 8, 1, 2, 7, 8, 5, 9, 7, 8], 3, 2) == [1, 2]
    assert prompt_lookup.continuation([1, 2, 3], 3, 4) == []


def test_store_finds_what_a_scan_finds():
    tokens = some_tokens(500, vocab=4).tolist()
    store = retrieval.Store(tokens, 5)
    for n, start in product(range(1, 6), range(0, 400, 37)):
        ngram = tokens[start : start + n]
        scan = [at for at in range(len(tokens)) if tokens[at : at + n] == ngram]
        assert sorted(store.find(ngram, 1000)) == scan
    assert store.find([9], 10) == []


def test_retrieval_takes_the_frequent_continuations():
    paths = retrieval.frequent_paths([[1, 2], [1, 3], [1, 2], [4]], 3)
    assert paths == [(1,), (1, 2), (4,)]


def test_lookahead_refines_towards_the_greedy_text():
    """With no n-gram accepted by luck, row 0's chain follows Jacobi's iteration, whose fixed point is the text."""
    model, prompt = target(), some_tokens(5, vocab=32)
    greedy = plain.generate(model, prompt[None], 6)[0]
    guess = torch.zeros(6, dtype=torch.long)
    for _ in range(6):  # each step makes one more token right
        guess = model(torch.cat([prompt, guess[:-1]])[None])[0, 4:].argmax(-1)
    assert torch.equal(guess, greedy)
    session = lookahead.Drafter(lookahead.Config(vocab=32, window=3, ngram=3)).session()
    tree = session.propose(context(prompt.tolist()))
    assert tree.depths[0] == 0
    assert max(tree.depths) == 4  # three columns, and a diagonal one deeper
    for column, nodes in enumerate(session.diagonals):
        assert [tree.depths[node] for node in nodes] == [column + 1, column + 2]
        assert tree.parents[nodes[1]] == nodes[0]


def test_lookahead_learns_a_repeating_text():
    model = target()
    prompt = some_tokens(3, vocab=32)
    result = generate(model, lookahead.Drafter(lookahead.Config(vocab=32)), [prompt], 120)
    made = plain.generate(model, prompt[None], 120)[0].tolist()
    assert result.tokens[0] == made
    period = any(made[-30:] == made[-30 - n : -n] for n in range(1, 20))
    assert not period or result.tokens_per_pass > 1.2


@pytest.mark.parametrize("alpha", [0.3, 0.8])
def test_the_oracle_is_right_as_often_as_told(alpha):
    model, prompt = target(), some_tokens(3, vocab=32)
    known = [*prompt.tolist(), *plain.generate(model, prompt[None], 230)[0].tolist()]
    drafter = oracle.Drafter(known, oracle.Config(alpha, vocab=32, length=3))
    result = generate(model, drafter, [prompt], 200)
    # passes are independent; five standard errors
    expected = oracle.expected_tokens(alpha, 3)
    assert abs(result.tokens_per_pass - expected) < 5 * 1.2 / len(result.rounds) ** 0.5
    assert oracle.expected_tokens(1.0, 3) == 4


def test_fixed_shape_by_hand():
    assert fixed_shape((2, 1)).parents == (-1, 0, 0, 1, 2)


def test_best_shape_is_the_best_of_all():
    """Against every tree of up to five guesses, ordered by rank."""
    acceptance = [0.5, 0.25, 0.1]

    def expected(tree: Tree) -> float:
        reach = [1.0]
        for node in range(1, len(tree.parents)):
            parent = tree.parents[node]
            rank = tree.children[parent].index(node)
            reach.append(reach[parent] * (acceptance[rank] if rank < 3 else 0.0))
        return sum(reach[1:])

    for nodes in range(1, 6):
        shapes = product(*(range(node) for node in range(1, nodes + 1)))
        trees = (Tree(torch.zeros(nodes + 1, dtype=torch.long), (-1, *shape)) for shape in shapes)
        best = max(map(expected, trees))
        found = best_shape(acceptance, nodes).parents
        assert len(found) == nodes + 1
        assert expected(Tree(torch.zeros(nodes + 1, dtype=torch.long), found)) == pytest.approx(best)


def test_a_follower_scores_as_a_pass_without_cache_does():
    model, follower = target(), Follower(target())
    texts = [some_tokens(n, vocab=32, seed=n // 3).tolist() for n in (4, 5, 9, 2, 9, 9)]
    for text in texts:
        assert torch.allclose(follower.advance(text), model(torch.tensor([text]))[0, -1], atol=1e-10)


def test_branches_of_a_follower_do_not_meet():
    model, follower = target(), TreeFollower(target())
    prompt = some_tokens(6, vocab=32).tolist()
    follower.begin(prompt)
    first = follower.extend([3, 4], [0, 0], [1, 1])
    second = follower.extend([5, 6, 7], [1, 2, 2], [2, 2, 2])
    paths = [[3], [4], [3, 5], [4, 6], [4, 7]]
    for path, scores in zip(paths, [*first, *second], strict=True):
        assert torch.allclose(scores, model(torch.tensor([prompt + path]))[0, -1], atol=1e-10)
    assert torch.allclose(follower.begin([*prompt, 4, 6]), model(torch.tensor([[*prompt, 4, 6]]))[0, -1], atol=1e-10)


def test_all_layers_draft_perfectly_and_leave_the_cache_alone():
    model, prompt = target(), some_tokens(5, vocab=32)
    drafter = self_speculative.Drafter(model, self_speculative.exit_at(2, length=3))
    assert generate(model, drafter, [prompt], 20).acceptance_rate == 1
    cache = model.new_cache(1, 40)
    model(prompt[None, :-1], cache)
    before = cache.storage[..., : cache.length, :].clone()
    drafter.propose(Context(prompt, plain.GREEDY, 9, cache=cache))
    assert cache.length == 4
    assert torch.equal(cache.storage[..., :4, :], before)


def test_skipping_a_layer_is_the_model_without_it():
    model, prompt = target(), some_tokens(5, vocab=32)
    cache = model.new_cache(1, 40)
    model(prompt[None, :-1], cache)
    partial = self_speculative.partial_pass(model, [0], int(prompt[-1]), 4, cache)
    shallow = target()
    del shallow.blocks[1]
    assert torch.allclose(partial, shallow(prompt[None])[0, -1], atol=1e-10)


def test_one_prompt_at_a_time_on_the_targets_cache():
    drafter = self_speculative.Drafter(target(), self_speculative.exit_at(1))
    with pytest.raises(ValueError, match="one prompt"):
        generate(target(), drafter, [torch.tensor([1]), torch.tensor([2])], 4)


@pytest.mark.parametrize("layers", [(), (1, 0), (-1,)])
def test_layers_are_checked(layers):
    with pytest.raises(ValueError, match="layers"):
        self_speculative.Config(layers)


def test_a_better_draft_is_accepted_more():
    from reference_impls.speculative_decoding import draft_model

    model, prompt = target(), some_tokens(5, vocab=32)
    rates = [
        generate(model, draft_model.Drafter(near(model, noise)), [prompt], 80).acceptance_rate
        for noise in (0.0, 0.1, 1.0)
    ]
    assert all(better > worse for better, worse in pairwise(rates))
