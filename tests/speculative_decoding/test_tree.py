"""Trees: their masks against paths walked by hand, and what is refused."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference_impls.speculative_decoding.tree import Tree, chain, from_paths, prune

PARENTS = st.integers(1, 12).flatmap(lambda n: st.tuples(*(st.integers(0, max(0, at - 1)) for at in range(n))))


def tree_of(parents: tuple[int, ...]) -> Tree:
    return Tree(torch.arange(len(parents)), (-1, *parents[1:]))


@given(PARENTS)
def test_a_node_sees_its_path_and_nothing_else(parents):
    tree = tree_of(parents)
    for node, depth in enumerate(tree.depths):
        path = tree.path(node)
        assert tree.ancestors[node].nonzero().flatten().tolist() == path
        assert depth == len(path) - 1


@given(PARENTS, st.integers(0, 5))
def test_pruning_keeps_the_shallow_nodes(parents, max_depth):
    tree = tree_of(parents)
    cut = prune(tree, max_depth)
    assert cut.tokens.tolist() == [node for node, depth in enumerate(tree.depths) if depth <= max_depth]
    for node, token in enumerate(cut.tokens.tolist()):
        assert [int(cut.tokens[one]) for one in cut.path(node)] == tree.path(token)


def test_paths_share_what_they_have_in_common():
    tree = from_paths(9, [[1, 2, 3], [1, 2, 4], [5], [1, 2]])
    assert tree.tokens.tolist() == [9, 1, 2, 3, 4, 5]
    assert tree.parents == (-1, 0, 1, 2, 2, 0)


def test_a_chain_is_causal():
    assert torch.equal(chain([4, 5, 6]).ancestors, torch.ones(3, 3, dtype=torch.bool).tril())


@pytest.mark.parametrize(
    ("tokens", "parents", "probs"),
    [([1, 2], (-1,), None), ([], (), None), ([1, 2], (-1, 1), None), ([1], (0,), None), ([1], (-1,), torch.ones(2, 3))],
)
def test_what_is_no_tree_is_refused(tokens, parents, probs):
    with pytest.raises(ValueError):
        Tree(torch.tensor(tokens), parents, probs)
