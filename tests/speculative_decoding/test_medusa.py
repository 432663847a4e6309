"""Medusa: heads that begin as the target, the best of all trees, and training that leaves the target alone."""

from itertools import product

import pytest
import torch

from reference_impls.models import generate as plain
from reference_impls.speculative_decoding import Context, medusa, token_tree
from reference_impls.speculative_decoding.tree import Tree
from tests.speculative_decoding.conftest import some_tokens, target

ACCEPTANCE = [[0.5, 0.25, 0.1], [0.4, 0.3, 0.05], [0.3, 0.1, 0.1]]


def shape(parents: tuple[int, ...]) -> Tree:
    return Tree(torch.zeros(len(parents), dtype=torch.long), parents)


def expected(tree: Tree) -> float:
    """Accepted guesses on average: for every node the product of the chances along its path."""
    reach = [1.0]
    for node in range(1, len(tree.parents)):
        parent = tree.parents[node]
        depth, rank = tree.depths[node], tree.children[parent].index(node)
        chance = ACCEPTANCE[depth - 1][rank] if depth <= 3 and rank < 3 else 0.0
        reach.append(reach[parent] * chance)
    return sum(reach[1:])


@pytest.mark.parametrize("nodes", [1, 2, 3, 4, 5, 6])
def test_the_shape_is_the_best_of_all(nodes):
    every = (shape((-1, *rest)) for rest in product(*(range(node) for node in range(1, nodes + 1))))
    found = shape(medusa.best_shape(ACCEPTANCE, nodes).parents)
    assert len(found.parents) == nodes + 1
    assert expected(found) == pytest.approx(max(map(expected, every)))


def test_heads_that_are_alike_give_sequoias_shape():
    alike = [0.5, 0.25, 0.1]
    ours, theirs = medusa.best_shape([alike] * 8, 8), token_tree.best_shape(alike, 8)
    assert sorted(shape(ours.parents).depths) == sorted(shape(theirs.parents).depths)


def test_a_shape_ends_where_heads_and_ranks_do():
    assert len(medusa.best_shape([[0.5, 0.2], [0.4, 0.1]], 50).parents) == 1 + 2 + 4
    for wrong in ([], [[0.5, 1.5]]):
        with pytest.raises(ValueError, match="acceptance rates"):
            medusa.best_shape(wrong, 3)


def test_untrained_heads_hardly_move_from_the_targets_choice():
    model, heads = target(), medusa.Heads(24, 2).double()
    states = model.hidden_states(some_tokens(1, 6, vocab=32))
    assert torch.equal(heads(states)[1], states)


def test_each_depth_is_filled_by_its_own_head():
    model, heads = target(), medusa.Heads(24, 2).double()
    torch.nn.init.normal_(heads.layers[0].weight, generator=torch.Generator().manual_seed(1))
    torch.nn.init.normal_(heads.layers[1].weight, generator=torch.Generator().manual_seed(2))
    prompt = some_tokens(6, vocab=32)
    states = model.hidden_states(prompt[None, :-1])[0]
    tree = medusa.Drafter(model, heads, medusa.Config((-1, 0, 0, 1, 2))).propose(
        Context(prompt, plain.GREEDY, 9, states=states)
    )
    first, second = (model.head(states[-1] + torch.nn.functional.silu(layer(states[-1]))) for layer in heads.layers)
    assert tree.tokens.tolist() == [int(prompt[-1]), *first.topk(2).indices.tolist(), *[int(second.argmax())] * 2]


def test_a_tree_deeper_than_the_heads_is_refused():
    with pytest.raises(ValueError, match="as many heads"):
        medusa.Drafter(target(), medusa.Heads(24, 1), medusa.Config((-1, 0, 1)))


def test_training_moves_the_heads_alone_and_lowers_the_loss():
    model, heads = target(), medusa.Heads(24, 2).double()
    model.requires_grad_(True)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    states = model.hidden_states(some_tokens(4, 20, vocab=32)).detach()
    model.requires_grad_(False)
    stepper = torch.optim.Adam(heads.parameters(), lr=0.02)
    losses = []
    for _ in range(60):
        value = medusa.loss(heads, model.head, states)
        value.backward()
        assert all(parameter.grad is None for parameter in model.parameters())
        assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in heads.parameters())
        stepper.step()
        stepper.zero_grad()
        losses.append(value.item())
    assert losses[-1] < 0.9 * losses[0]
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_measured_acceptance_by_hand():
    """Head 1 as the target itself: its first guess holds where the target chooses the same token twice running."""
    model, heads = target(), medusa.Heads(24, 1).double()
    states = model.hidden_states(some_tokens(3, 30, vocab=32))
    choices = model.head(states).argmax(-1)
    same = (choices[:, :-1] == choices[:, 1:]).double().mean().item()
    found = medusa.rank_acceptance(heads, model.head, states, ranks=32)
    assert found[0][0] == pytest.approx(same)
    assert sum(found[0]) == pytest.approx(1.0)
