"""Greedy and sampled generation, one token a step, for one sequence or a padded batch.

Paper: arXiv 1904.09751, sections 3.1 (top-p, "nucleus", sampling) and 3.3 (temperature).
Idea: draw the next token from the smallest set that holds top_p of the probability, at a temperature.
Symbols: nothing beyond the axes' names.
Simplified: no beams, no repetition penalty; rows that have stopped are still computed.
Differs: nothing.
Cost: one pass of the model over one token for every token made, after one pass over the prompt.
Checked against: argmax of one parallel pass over the finished text; the share of each token in many draws.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reference_impls.models.attend import causal_mask
from reference_impls.models.cache import Cache
from reference_impls.models.decoder import Decoder


@dataclass(frozen=True)
class Config:
    """How the next token is chosen. A temperature of 0 takes the most likely one."""

    temperature: float = 0.0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise ValueError(f"temperature must be 0 or more, got {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, got {self.top_p}")


GREEDY = Config()


def next_token_probs(logits: Tensor, config: Config) -> Tensor:
    """The distribution that the next token is drawn from; all on one token where the temperature is 0.

    logits: (..., vocab) -> (..., vocab), at least float32
    """
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if config.temperature == 0:
        return torch.zeros_like(wide).scatter(-1, wide.argmax(-1, keepdim=True), 1.0)
    probs = (wide / config.temperature).softmax(-1)
    return probs if config.top_p == 1 else keep_top_p(probs, config.top_p)


def keep_top_p(probs: Tensor, top_p: float) -> Tensor:
    """Keep the most likely tokens until they hold `top_p`, the one that crosses it included; sum to 1 again.

    probs: (..., vocab) -> (..., vocab)
    """
    ordered, order = probs.sort(-1, descending=True)
    before = ordered.cumsum(-1) - ordered
    kept = torch.where(before < top_p, ordered, 0.0)
    kept[..., 0] = ordered[..., 0]  # rounding must not empty the set
    return torch.zeros_like(probs).scatter(-1, order, kept / kept.sum(-1, keepdim=True))


def choose(logits: Tensor, config: Config, generator: torch.Generator | None = None) -> Tensor:
    """Draw one token per row. logits: (batch, vocab) -> (batch,)."""
    if config.temperature == 0:
        return logits.argmax(-1)
    return torch.multinomial(next_token_probs(logits, config), 1, generator=generator).squeeze(-1)


def pad_left(prompts: Sequence[Tensor], pad_token: int = 0) -> tuple[Tensor, Tensor]:
    """Prompts of different lengths as one batch that ends together.

    prompts: (seq,) each -> tokens, valid: (batch, seq), valid False at padding
    """
    longest = max(len(prompt) for prompt in prompts)
    tokens = torch.full((len(prompts), longest), pad_token, device=prompts[0].device)
    valid = torch.zeros_like(tokens, dtype=torch.bool)
    for row, prompt in enumerate(prompts):
        tokens[row, longest - len(prompt) :] = prompt
        valid[row, longest - len(prompt) :] = True
    return tokens, valid


def step_inputs(valid: Tensor, q_seq: int) -> tuple[Tensor, Tensor]:
    """Positions and mask of the newest `q_seq` tokens of a padded batch; padding is not counted as a position.

    valid: (batch, kv_seq) -> positions: (batch, q_seq), mask: (batch, 1, q_seq, kv_seq)
    """
    positions = (valid.cumsum(-1) - 1).clamp(min=0)[:, -q_seq:]
    return positions, causal_mask(q_seq, valid.shape[1], valid)


@torch.no_grad()
def generate(
    model: Decoder,
    tokens: Tensor,
    new_tokens: int,
    config: Config = GREEDY,
    *,
    generator: torch.Generator | None = None,
    valid: Tensor | None = None,
    stop_token: int | None = None,
    cache: Cache | None = None,
) -> Tensor:
    """Go on from the prompts for `new_tokens` tokens, or until every row has made `stop_token`.

    tokens: (batch, seq); valid: (batch, seq), False at left padding, from `pad_left`; cache: an empty one, a contiguous
    one unless given; a row that has stopped goes on with `stop_token` -> (batch, up to new_tokens)
    """
    batch, seq = tokens.shape
    if cache is None:
        cache = model.new_cache(batch, seq + new_tokens)
    stopped = torch.zeros(batch, dtype=torch.bool, device=tokens.device)
    made: list[Tensor] = []
    newest = tokens
    while len(made) < new_tokens and not (stop_token is not None and bool(stopped.all())):
        positions, mask = (None, None) if valid is None else step_inputs(valid, newest.shape[1])
        states = model.hidden_states(newest, cache, positions, mask)
        chosen = choose(model.head(states[:, -1]), config, generator)  # the head reads the last position only
        if stop_token is not None:
            chosen = torch.where(stopped, stop_token, chosen)
            stopped |= chosen == stop_token
        made.append(chosen)
        newest = chosen[:, None]
        if valid is not None:
            valid = torch.cat([valid, valid.new_ones(batch, 1)], -1)
    return torch.stack(made, -1) if made else tokens.new_empty(batch, 0)
