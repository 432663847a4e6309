"""EAGLE: branches that do not meet, a cache of committed places alone, and training that leaves the target alone."""

import pytest
import torch

from reference_impls.models import generate as plain
from reference_impls.speculative_decoding import Context, eagle
from reference_impls.speculative_decoding.generate import generate
from tests.models.conftest import SMALL, lively
from tests.speculative_decoding.conftest import some_tokens, target
from tests.speculative_decoding.makers import block


def rolled_out(head: eagle.Head, prompt: torch.Tensor, path: list[int]) -> torch.Tensor:
    """Scores after a path of guesses, one place at a time and without a cache. -> (vocab,)"""
    model = target()
    states = model.hidden_states(prompt[None, :-1])
    for end in range(len(path) + 1):
        tokens = torch.cat([prompt[1:], torch.tensor(path[:end], dtype=torch.long)])
        guessed = head(model.embedding(tokens)[None], states)
        states = torch.cat([states, guessed[:, -1:]], 1)
    return model.head(states[0, -1])


@pytest.mark.parametrize("widths", [(1, 1, 1), (3, 2, 1), (2, 2, 2)])
def test_every_node_is_what_its_path_alone_gives(widths):
    model, prompt = target(), some_tokens(7, vocab=32)
    head, states = block(model), model.hidden_states(prompt[None, :-1])[0]
    tree = (
        eagle.Drafter(model, head, eagle.tree(widths))
        .session()
        .propose(Context(prompt, plain.GREEDY, 9, states=states))
    )
    for node, children in enumerate(tree.children):
        if children:
            path = [int(tree.tokens[at]) for at in tree.path(node)[1:]]
            wanted = rolled_out(head, prompt, path).topk(len(children)).indices
            assert tree.tokens[list(children)].tolist() == wanted.tolist()


def test_a_session_guesses_what_a_new_one_would():
    """After every round, whatever was rejected: only true states of committed tokens are left in the cache."""
    model, tokens = target(), some_tokens(30, vocab=32)
    drafter = eagle.Drafter(model, block(model), eagle.tree((2, 2, 1)))
    states, session = model.hidden_states(tokens[None])[0], drafter.session()
    for seq in (4, 5, 9, 10, 22, 30):
        context = Context(tokens[:seq], plain.GREEDY, 9, states=states[: seq - 1])
        kept, fresh = session.propose(context), drafter.session().propose(context)
        assert kept.tokens.tolist() == fresh.tokens.tolist()
        assert session.held == seq - 1


def test_levels_that_would_be_cut_are_not_computed():
    model, prompt = target(), some_tokens(5, vocab=32)
    session = eagle.Drafter(model, block(model), eagle.tree((1, 1, 1, 1))).session()
    states = model.hidden_states(prompt[None, :-1])[0]
    session.propose(Context(prompt, plain.GREEDY, 2, states=states))
    assert session.cache.length == 4 + 1  # one node had to pass for the second guess


def test_nothing_is_guessed_without_a_state():
    model = target()
    result = generate(model, eagle.Drafter(model, block(model), eagle.tree((1, 1))), [torch.tensor([3])], 8)
    assert result.rounds[0].drafted == 0
    assert result.rounds[1].drafted > 0


def test_training_moves_the_block_alone_and_lowers_the_loss():
    model = target()
    head = block(model).requires_grad_(True)
    tokens = some_tokens(4, 20, vocab=32)
    states = model.hidden_states(tokens)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    stepper = torch.optim.Adam(head.parameters(), lr=0.003)
    losses = []
    for _ in range(30):
        value = eagle.loss(head, model, tokens, states, torch.Generator().manual_seed(0))
        value.backward()
        assert all(parameter.grad is not None for parameter in head.parameters())
        assert all(parameter.grad is None for parameter in model.parameters())
        stepper.step()
        stepper.zero_grad()
        losses.append(value.item())
    assert losses[-1] < 0.9 * losses[0]
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_the_loss_is_least_for_the_true_states():
    """A block that gave the target's own states would have the entropy of the target as its loss."""
    model, tokens = target(), some_tokens(2, 12, vocab=32)
    states = model.hidden_states(tokens)

    class Perfect(torch.nn.Module):
        def forward(self, embedded, given):
            return states[:, 1:]

    probs = model.head(states[:, 1:]).softmax(-1)
    entropy = -(probs * probs.log()).sum(-1).mean()
    perfect = eagle.loss(Perfect(), model, tokens, states)
    assert perfect.item() == pytest.approx(entropy.item())
    assert eagle.loss(block(model), model, tokens, states) > perfect


def test_a_block_of_another_width_is_refused():
    with pytest.raises(ValueError, match="width 48"):
        eagle.Drafter(target(), eagle.Head(lively(SMALL).config), eagle.tree((1,)))
