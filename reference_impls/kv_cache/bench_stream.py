"""Perplexity over a stream of twenty times as many tokens as the model has positions, at a fixed memory.

The stream is one text without a break. A sample is the perplexity of a sixth of it, in order, so that what gets worse
with the length shows. Windows read their text anew for every few tokens: what a window could do at best.
"""

from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor

from reference_impls.kv_cache.streaming_chunks import stream_losses
from reference_impls.kv_cache.streaming_llm import Config
from reference_impls.measurement.case import Case
from reference_impls.models.perplexity import token_losses, windows
from reference_impls.models.shapes import SHAPES
from reference_impls.pruning.bench_models import PROPERTY, SEEDS, Way, load_model, tokens_of, value_case

MODEL = "tiny-target"
TOKENS, PARTS = 20_000, SEEDS
BUDGETS, SINKS = (64, 256), 4
READ_ANEW = 8
"""A window is computed again after an eighth of its tokens; after every token would take that many times as long."""
FRESH = (512, 1024)
"""Texts that plain dense attention is given from their start: as long as in training, and all the model's positions."""
AT_ONCE = 2048
"""Tokens of windows that are computed together."""


def cases() -> list[Case]:
    """By budget."""
    return [_case(budget) for budget in BUDGETS]


def stream() -> Tensor:
    """The text. -> (TOKENS,)"""
    return tokens_of(MODEL)[:TOKENS]


@cache
def recomputed(context: int, stride: int) -> Tensor:
    """Loss of every token but the first, in windows that are read from nothing. -> (TOKENS - 1,)"""
    model, tokens = load_model(MODEL), stream()
    cuts, losses = list(windows(len(tokens), context, stride)), []
    while cuts:
        same = [cut for cut in cuts[: max(1, AT_ONCE // context)] if _kind(cut) == _kind(cuts[0])]
        cuts = cuts[len(same) :]  # only the first and the last differ from their neighbours
        new = same[0][2]
        states = model.hidden_states(torch.stack([tokens[start:end] for start, end, _ in same]))[:, -new:]
        targets = torch.stack([tokens[end + 1 - new : end + 1] for _, end, _ in same])
        losses.append(token_losses(model.head(states), targets).flatten())
    return torch.cat(losses)


def _kind(cut: tuple[int, int, int]) -> tuple[int, int]:
    """Tokens read, and tokens scored."""
    start, end, new = cut
    return end - start, new


@cache
def streamed(budget: int, sinks: int) -> Tensor:
    """Loss of every token but the first. -> (TOKENS - 1,)"""
    return stream_losses(load_model(MODEL), stream(), Config(budget, sinks))


def _part(losses: Callable[[], Tensor], _model: str, number: int) -> float:
    """Perplexity of one of the parts."""
    return float(losses().tensor_split(PARTS)[number].double().mean().exp())


def _case(budget: int) -> Case:
    stride = max(1, budget // READ_ANEW)
    ways = [
        Way("recomputed", partial(_part, partial(recomputed, budget, stride)), role="baseline", effect="packed"),
        Way("streaming-llm", partial(_part, partial(streamed, budget, SINKS)), "streaming_chunks", effect="packed"),
        Way("window", partial(_part, partial(streamed, budget, 0)), "streaming_chunks", effect="packed"),
        *(
            Way(f"dense-of-{fresh}", partial(_part, partial(recomputed, fresh, fresh)), role="peer", effect="packed")
            for fresh in FRESH
        ),
    ]
    return value_case(
        f"kv_cache/stream/{MODEL}/budget-{budget}/perplexity",
        f"Perplexity over a stream of {TOKENS} tokens, {budget} of them held: {MODEL}",
        "perplexity",
        ways,
        {
            "model": MODEL,
            "text": "Sense and Sensibility from chapter 38, held out from the tiny models, as one stream",
            "tokens": TOKENS,
            "parts": PARTS,
            "budget": budget,
            "sink_tokens": SINKS,
            "recomputed": f"after every {stride} tokens, from the newest {budget}",
            "dense": "texts of so many tokens, each read from its start",
            "max_positions": SHAPES[MODEL].max_positions,
            "dtype": "float32",
        },
        trials=PARTS,
        why=PROPERTY,
    )
