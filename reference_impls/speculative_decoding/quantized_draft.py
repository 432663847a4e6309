"""The target drafts for itself with its own weights at fewer bits, on its own cache.

Paper: arXiv 2410.11305 (QSpec: a copy that rounds more drafts on the cache of the one that judges); 2503.13565
    (ML-SpecQD: rounded weights as a draft that needs no training).
Idea: a step at batch 1 lasts as long as its weights take to be read, and rounded weights say mostly the same; so the
    copy's guesses are cheap and nearly always right, and the text stays that of the weights that were not rounded.
Symbols: gamma = `length`, guesses a round; c = seconds of the copy's step over seconds of a target pass.
Simplified: a chain of fixed length; one sequence.
Differs: in QSpec both models multiply with the same 4-bit weights and only the draft rounds activations, so it takes no
    memory of its own and the text is that of the quantised model; here the copy stands beside the target's weights.
Cost: gamma * c + 1 target passes; the copy's bytes. No second cache, no second pass over the prompt.
Checked against: plain decoding; direct sampling; the copy alone, token for token, compiled and not.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reference_impls.models.cache import ContiguousCache
from reference_impls.models.decoder import Decoder
from reference_impls.speculative_decoding import Context
from reference_impls.speculative_decoding.draft_model import Score, draw_chain
from reference_impls.speculative_decoding.self_speculative import partial_score
from reference_impls.speculative_decoding.tree import Tree


@dataclass(frozen=True)
class Config:
    """length: guesses a round; compiled: the copy's step by `quantization.compiled`, made once for a cache's shape."""

    length: int = 4
    compiled: bool = False

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ValueError(f"length must be at least 1, got {self.length}")


class Drafter:
    """NEEDS the target's cache: what the target wrote there for committed tokens is better than what the copy would."""

    NEEDS = ("cache",)

    def __init__(self, copy: Decoder, config: Config = Config()) -> None:
        """copy: of the target, its linear layers packed; fused first (`quantization.fused`) where it is compiled"""
        self.copy, self.config = copy, config
        self.vocab = copy.config.vocab

    def session(self) -> "Session":
        """A new session, for one sequence."""
        return Session(self.copy, self.config)


class Session:
    """The copy at work on one cache."""

    def __init__(self, copy: Decoder, config: Config) -> None:
        self.copy, self.config = copy, config
        self.shared: ContiguousCache | None = None
        self.score: Score | None = None

    def propose(self, context: Context) -> Tree:
        """A chain; the cache is left as it was, but for what is behind its end."""
        cache = context.cache
        if not isinstance(cache, ContiguousCache):
            raise ValueError(f"the copy writes to a contiguous cache of the target, got {type(cache).__name__}")
        if self.score is None or cache is not self.shared:
            self.shared = cache
            every = range(self.copy.config.layers)
            self.score = (
                compiled_score(self.copy, cache) if self.config.compiled else partial_score(self.copy, every, cache)
            )
        length = cache.length
        tree = draw_chain(self.score, context, self.config.length)
        cache.crop(length)
        return tree


def compiled_score(copy: Decoder, cache: ContiguousCache) -> Score:
    """A pass over the newest token by a compiled step that writes into the cache's own memory, behind what it holds.

    It masks what is behind the newest token, but multiplies it by zero: so nothing there may be infinite.
    """
    from reference_impls.quantization.compiled import StaticDecoder

    cache.storage[..., cache.length :, :] = 0
    step = StaticDecoder(copy, cache.capacity, cache.storage.shape[2], storage=cache.storage)
    device = cache.storage.device

    def score(tokens: Sequence[int]) -> Tensor:
        newest = torch.tensor([tokens[-1]], device=device)
        logits: Tensor = step(newest, torch.tensor([len(tokens) - 1], device=device))
        return logits[0]

    return score
