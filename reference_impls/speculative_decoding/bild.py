"""The big little decoder: a small model speaks until it is unsure, the big one takes back what seems unlikely. Lossy.

Paper: arXiv 2302.07863, sections 3.3 (fallback) and 3.4 (rollback). A baseline of LLMCad.
Idea: speculative decoding that keeps guesses which the target would not have made but does not find too strange.
Symbols: alpha_FB = `fallback`, below which the draft's most likely token is not trusted; alpha_RB = `rollback`, the
    largest distance at which a guess stays.
Simplified: distance is the cross-entropy of the guess under the target, -log p; the draft is not aligned to the target.
Differs: nothing drafted is longer than `max_length`. The drafter is exact under the family's own rule, lossy under
    `tolerant`, which is the paper's.
Cost: a draft step a token; a pass of the target for each fallback.
Checked against: plain decoding at a rollback of 0; the draft's own text where nothing is ever taken back.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from reference_impls.models.decoder import Decoder
from reference_impls.models.generate import next_token_probs
from reference_impls.speculative_decoding import Context
from reference_impls.speculative_decoding.follower import Follower
from reference_impls.speculative_decoding.tree import ROOT, Tree, chain
from reference_impls.speculative_decoding.verify import Rule, Verdict


@dataclass(frozen=True)
class Config:
    """fallback: alpha_FB; rollback: alpha_RB in nats; max_length: guesses a round, at most."""

    fallback: float = 0.6
    rollback: float = 3.0
    max_length: int = 10

    def __post_init__(self) -> None:
        if not 0 <= self.fallback <= 1 or self.rollback < 0 or self.max_length < 1:
            raise ValueError("fallback must be from 0 to 1, rollback not negative, max_length at least 1")


class Drafter:
    """Guesses with `model`, which must share the target's vocabulary, for as long as it is sure."""

    def __init__(self, model: Decoder, config: Config = Config()) -> None:
        self.model, self.config = model, config
        self.vocab = model.config.vocab

    def session(self) -> "Session":
        """A new session, for one sequence."""
        return Session(self.model, self.config)


class Session:
    """The draft model's cache for one sequence."""

    def __init__(self, model: Decoder, config: Config) -> None:
        self.follower, self.config = Follower(model), config

    def propose(self, context: Context) -> Tree:
        """A chain that ends before the first token of which the draft is not sure."""
        tokens = context.tokens.tolist()
        root = len(tokens) - 1
        drawn_from: list[Tensor] = []
        probs = torch.zeros(0)
        for _ in range(min(self.config.max_length, context.max_depth)):
            scores = self.follower.advance(tokens)
            probs = next_token_probs(scores, context.sampling)
            if float(scores.float().softmax(-1).max()) < self.config.fallback:
                break
            drawn_from.append(probs)
            tokens.append(int(torch.multinomial(probs, 1, generator=context.generator)))
        if context.sampling.temperature == 0:
            return chain(tokens[root:])
        return chain(tokens[root:], torch.stack([*drawn_from, torch.zeros_like(probs)]))


def tolerant(config: Config) -> Rule:
    """The paper's rule, for `generate(..., rule=...)`: a guess stays unless its -log p is above `rollback`.

    The output is no longer the target's own: show its quality.
    """

    def rule(tree: Tree, logits: Tensor) -> Verdict:
        surprise, choices = -logits.float().log_softmax(-1), logits.argmax(-1).tolist()
        path = [ROOT]
        while True:
            node = path[-1]
            kept = [
                child
                for child in tree.children[node]
                if int(tree.tokens[child]) == choices[node] or surprise[node, tree.tokens[child]] <= config.rollback
            ]
            if not kept:
                return Verdict(path, choices[node])
            path.append(kept[0])

    return rule
