"""Typical acceptance: a guess stays where the target does not find it unlikely for a place this open. Lossy.

Paper: arXiv 2401.10774, section 2.3.1 (Medusa). Entropy as the measure of what is typical: 2210.15191.
Idea: where the target is unsure many continuations are as good, and rejecting a likely guess only to draw another one
    like it costs a pass; so guesses are held to a threshold, not to the chance of a draw.
Symbols: epsilon = the most that a guess can be asked for; delta exp(-H(p)) = what it is asked for where p is spread,
    H = entropy of the target's distribution p after a node, in nats.
Simplified: nothing.
Differs: trees as everywhere in this family, of which the longest accepted path is kept, as in the paper. The token that
    the target adds after it is its most likely one: the paper accepts a greedy first token unconditionally.
Cost: the entropy of every node of the tree.
Checked against: hand-worked thresholds; all paths of random trees; greedy decoding where no guess can pass.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from reference_impls.speculative_decoding.tree import ROOT, Tree
from reference_impls.speculative_decoding.verify import Rule, Verdict


@dataclass(frozen=True)
class Config:
    """epsilon, delta: from 0 on, delta None for the paper's sqrt(epsilon); temperature: of p, above 0."""

    epsilon: float = 0.09
    delta: float | None = None
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.epsilon < 0 or (self.delta is not None and self.delta < 0) or self.temperature <= 0:
            raise ValueError(f"epsilon and delta must not be negative, temperature must be above 0, got {self}")


def typical(config: Config = Config()) -> Rule:
    """The rule, for `generate(..., rule=...)`: the longest path of guesses that all pass `thresholds`.

    The output is no longer the target's own: show its quality.
    """

    def rule(tree: Tree, logits: Tensor) -> Verdict:
        probs = (logits.double() / config.temperature).softmax(-1)
        asked, choices = thresholds(probs, config).tolist(), logits.argmax(-1).tolist()
        longest = [ROOT]
        waiting = [longest]
        while waiting:
            path = waiting.pop(0)  # by depth, so that of equally long ones the first guess stays
            if len(path) > len(longest):
                longest = path
            node = path[-1]
            passing = (child for child in tree.children[node] if probs[node, tree.tokens[child]] > asked[node])
            waiting += [[*path, child] for child in passing]
        return Verdict(longest, choices[longest[-1]])

    return rule


def thresholds(probs: Tensor, config: Config) -> Tensor:
    """min(epsilon, delta exp(-H)): what a guess's probability must exceed. probs: (nodes, vocab) -> (nodes,)"""
    delta = config.epsilon**0.5 if config.delta is None else config.delta
    entropy = torch.special.entr(probs).sum(-1)
    return (delta * torch.exp(-entropy)).clamp(max=config.epsilon)
