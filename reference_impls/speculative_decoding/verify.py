"""One verification for every drafter: which guesses the target keeps, and the token it adds itself.

Paper: arXiv 2211.17192, section 2.3, algorithm 1 (one guess a place); 2305.09781, section 4.3 (several);
    2402.12374, section 3.2 (several, without replacement).
Idea: keep a guess with the probability that makes the result distributed as the target's own; else draw from the rest.
Symbols: p = the target's distribution after a node; q = the distribution that the node's next guess was drawn from.
Simplified: nothing.
Differs: guesses that were chosen and not drawn count as certain (q = 1 at the guess); greedy decoding is the case in
    which p is certain, so the same rule then asks for equality.
Cost: one pass over the vocabulary for every guess looked at.
Checked against: direct sampling from the target, by chi-square; enumeration of all outcomes on a small vocabulary.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from reference_impls.speculative_decoding.tree import ROOT, Tree


@dataclass(frozen=True)
class Verdict:
    """What one verification commits.

    path: accepted nodes from the root on; the root is always there and was committed before;
    token: the target's own token after the path, a correction or a bonus.
    """

    path: list[int]
    token: int


Rule = Callable[[Tree, Tensor], Verdict]
"""A verdict on a tree from the target's scores after each node: (nodes, vocab). Another rule than this module's may be
lossy."""


def verify_greedy(tree: Tree, choices: Tensor) -> Verdict:
    """Follow the guesses that equal the target's choice.

    choices: (nodes,), the target's most likely token after each node
    """
    wanted, tokens = choices.tolist(), tree.tokens.tolist()
    path = [ROOT]
    while True:
        node = path[-1]
        agreeing = [child for child in tree.children[node] if tokens[child] == wanted[node]]
        if not agreeing:
            return Verdict(path, wanted[node])
        path.append(agreeing[0])


def verify(tree: Tree, target_probs: Tensor, generator: torch.Generator | None = None) -> Verdict:
    """Accept and reject so that every committed token is distributed as if drawn from the target.

    target_probs: (nodes, vocab), what the next token is drawn from after each node (temperature and top-p applied)
    """
    path = [ROOT]
    while True:
        node = path[-1]
        accepted, rest = _try_children(tree, node, target_probs[node], generator)
        if accepted is None:
            return Verdict(path, int(torch.multinomial(rest, 1, generator=generator)))
        path.append(accepted)


def _try_children(tree: Tree, node: int, p: Tensor, generator: torch.Generator | None) -> tuple[int | None, Tensor]:
    """-> the accepted child or None, and what is left of p: (vocab,)."""
    q = None if tree.probs is None else tree.probs[node].to(p)
    for child in tree.children[node]:
        token = tree.tokens[child]
        guess = torch.zeros_like(p).scatter(0, token.to(p.device), 1.0) if q is None else q
        if guess[token] == 0:
            continue  # made twice: it was judged the first time
        if float(torch.rand((), generator=generator, device=p.device)) * guess[token] < p[token]:
            return child, p
        p = residual(p, guess)
        if q is not None:
            q = without(q, token)
    return None, p


def residual(p: Tensor, q: Tensor) -> Tensor:
    """What is drawn from after a guess from q was rejected: the part of p that q does not cover. (vocab,) each."""
    left = (p - q).clamp(min=0)
    total = left.sum()
    return left / total if total > 0 else p  # p = q: rejected by rounding alone


def without(q: Tensor, token: Tensor) -> Tensor:
    """The distribution of the next draw when `token` may not come again. q: (vocab,) -> (vocab,)."""
    left = q.index_fill(0, token.reshape(1).to(q.device), 0.0)
    total = left.sum()
    return left / total if total > 0 else left
