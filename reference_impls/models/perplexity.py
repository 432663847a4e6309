"""Loss of a next-token model over a text, in windows of a stated length.

Paper: Jelinek et al., J. Acoust. Soc. Am. 62, S63 (1977), which introduces perplexity.
Idea: exp of the mean negative log probability: the number of equally likely tokens that the model hesitates between.
Symbols: nothing beyond the axes' names.
Simplified: one window at a time.
Differs: nothing; the number is per token, so models of two tokenizers cannot be compared by it.
Cost: one parallel pass of `context_length` tokens for every `stride` tokens.
Checked against: one pass per token with the context cut by hand; cross entropy of a uniform model.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional


def token_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Negative log probability of each target, in nats and at least float32.

    logits: (..., vocab); targets: (...) -> (...)
    """
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return functional.cross_entropy(wide.flatten(0, -2), targets.flatten(), reduction="none").view(targets.shape)


def windows(length: int, context_length: int, stride: int) -> Iterator[tuple[int, int, int]]:
    """Cut targets 1 .. length - 1 into windows: (start, end, new), of which the last `new` targets are scored.

    A window reads tokens[start:end] and predicts tokens[start + 1:end + 1]. Every target is scored exactly once, with
    context_length - stride tokens of context at least, except at the start of the text.
    """
    if not 1 <= stride <= context_length:
        raise ValueError(f"stride must be 1 to context_length ({context_length}), got {stride}")
    if length < 2:
        raise ValueError(f"a text of at least 2 tokens is needed to predict one, got {length}")
    done = 0
    while done < length - 1:
        end = min(done + (stride if done else context_length), length - 1)
        yield max(0, end - context_length), end, end - done
        done = end


@torch.no_grad()
def mean_loss(model: nn.Module, tokens: Tensor, context_length: int, stride: int | None = None) -> float:
    """Mean loss in nats per token; stride is `context_length` (windows do not overlap) unless told.

    model: tokens (batch, seq) -> logits (batch, seq, vocab); tokens: (seq,)
    """
    total = 0.0
    for start, end, new in windows(len(tokens), context_length, stride or context_length):
        logits = model(tokens[None, start:end])[0, -new:]
        total += token_losses(logits, tokens[end + 1 - new : end + 1]).double().sum().item()
    return total / (len(tokens) - 1)


def token_perplexity(model: nn.Module, tokens: Tensor, context_length: int, stride: int | None = None) -> float:
    """Exp of `mean_loss`; name tokenizer, context length and stride beside the number. tokens: (seq,)."""
    return math.exp(mean_loss(model, tokens, context_length, stride))
