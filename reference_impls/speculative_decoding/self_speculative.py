"""The target drafts for itself with some of its layers, on its own cache.

Paper: arXiv 2404.16710, section 4.3 (LayerSkip: leave early); 2309.08168, section 3 (Draft & Verify: skip layers).
Idea: a pass through fewer layers is a draft model that needs no memory of its own.
Symbols: nothing beyond the axes' names.
Simplified: verification computes the drafting layers again, where LayerSkip keeps their result; one sequence.
Differs: neither training with layer dropout (LayerSkip) nor the search for layers to skip (Draft & Verify) is done
    here: give it a model trained so, or expect few guesses to be right.
Cost: kept / layers of a target step for a guess, plus the head; no weights, no second cache.
Checked against: plain decoding; a model of the kept layers alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reference_impls.models.cache import Cache
from reference_impls.models.decoder import Decoder, rotation
from reference_impls.speculative_decoding import Context
from reference_impls.speculative_decoding.draft_model import Score, draw_chain
from reference_impls.speculative_decoding.tree import Tree


@dataclass(frozen=True)
class Config:
    """layers: those that draft, ascending; length: guesses a round."""

    layers: tuple[int, ...]
    length: int = 4

    def __post_init__(self) -> None:
        if not self.layers or list(self.layers) != sorted(set(self.layers)) or self.layers[0] < 0:
            raise ValueError(f"layers must ascend and name at least one, got {self.layers}")
        if self.length < 1:
            raise ValueError(f"length must be at least 1, got {self.length}")


def exit_at(layers: int, length: int = 4) -> Config:
    """LayerSkip's choice: the first `layers` layers, then the head."""
    return Config(tuple(range(layers)), length)


class Drafter:
    """NEEDS the target's cache: what the kept layers wrote for committed tokens is what they would write as a draft."""

    NEEDS = ("cache",)

    def __init__(self, target: Decoder, config: Config) -> None:
        if config.layers[-1] >= len(target.blocks):
            raise ValueError(f"layer {config.layers[-1]} does not exist, the model has {len(target.blocks)}")
        self.target, self.config = target, config

    def session(self) -> "Drafter":
        """Itself: all state is in the target's cache."""
        return self

    def propose(self, context: Context) -> Tree:
        """A chain; the cache is left as it was."""
        assert context.cache is not None
        cache, length = context.cache, context.cache.length
        tree = draw_chain(partial_score(self.target, self.config.layers, cache), context, self.config.length)
        cache.crop(length)
        return tree


def partial_score(model: Decoder, layers: Sequence[int], cache: Cache) -> Score:
    """Scores by `partial_pass` over the newest token, whose keys and values it appends to the cache."""
    return lambda tokens: partial_pass(model, layers, tokens[-1], len(tokens) - 1, cache)


def partial_pass(model: Decoder, layers: Sequence[int], token: int, position: int, cache: Cache) -> Tensor:
    """One token through some of the layers and the head. -> (vocab,), the scores of the next token."""
    device = model.embedding.weight.device
    turn = rotation(torch.tensor([position], device=device), model.config.head_dim, model.config.rope_theta)
    x = model.embedding(torch.tensor([[token]], device=device))
    for layer in layers:
        x = model.blocks[layer](x, turn, cache, None)
    logits: Tensor = model.head(model.norm(x))[0, -1]
    return logits
