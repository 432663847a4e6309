"""A stream through sinks and a window, many tokens a pass, with what the cache of `streaming_llm` gives token by token.

Paper: arXiv 2309.17453, sections 3.1 and 3.2; StreamingLLM.
Idea: which tokens a token may see follows from its place alone, so a pass can take many: a band for the window. The
    sinks stand at a fixed distance before every token, so the queries are turned back to one place to read them.
Symbols: nothing beyond the axes' names.
Simplified: for scoring a text that is known; decoding has one token at a time, and the cache of `streaming_llm`.
Differs: the paper has no such form; what it computes is the same.
Cost: (budget + chunk) / budget times the scores of the window, in seq / chunk passes instead of seq.
Checked against: the cache of `streaming_llm`, token after token, with sinks and without.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from reference_impls.kv_cache.streaming_llm import Config
from reference_impls.models.attend import attend
from reference_impls.models.decoder import Attention, Decoder, rotate, rotation
from reference_impls.models.perplexity import token_losses


class ChunkedStream:
    """What a chunk reads of those before it: sinks at slots 0 to sink_tokens - 1, then the window, up to the budget."""

    def __init__(self, config: Config, rope_theta: float) -> None:
        self.config, self.rope_theta = config, rope_theta
        self.held: dict[int, tuple[Tensor, Tensor]] = {}

    @property
    def length(self) -> int:
        """Where the next token stands: the tokens held."""
        return min((keys.shape[2] for keys, _ in self.held.values()), default=0)

    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """keys, values: (batch, kv_heads, q_seq, head_dim) -> (batch, kv_heads, held + q_seq, head_dim) each"""
        if layer in self.held:
            keys, values = (torch.cat(pair, 2) for pair in zip(self.held[layer], (keys, values), strict=True))
        sinks = self.config.sink_tokens
        left = max(0, keys.shape[2] - self.config.budget)  # so many leave, and the rest move up by as many slots
        moved = rotate(keys[:, :, sinks + left :], self._turn(torch.tensor([-left]), keys))
        kept = torch.cat([values[:, :, :sinks], values[:, :, sinks + left :]], 2)
        self.held[layer] = torch.cat([keys[:, :, :sinks], moved], 2), kept
        return keys, values

    def crop(self, length: int) -> None:
        """Refused: what has left is gone."""
        raise ValueError(f"a stream cannot be cropped (to {length}): it has no place for what left")

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
        """Each query sees the sinks, as many tokens before it as the window has, and itself. Shapes as in `attend`."""
        if mask is not None:
            raise ValueError("a stream takes no mask: rows must be equally long and unpadded")
        batch, heads, q_seq, head_dim = queries.shape
        if keys.shape[2] == q_seq:  # nothing was held: the first tokens see all before them
            return attend(queries, keys, values)
        sinks, window = self.config.sink_tokens, self.config.budget - self.config.sink_tokens
        at = torch.arange(q_seq, device=queries.device)[:, None]
        ahead = torch.arange(keys.shape[2] - sinks, device=queries.device) - at  # of the first token in the window
        back = rotate(queries, self._turn(-at[:, 0], queries))  # all where the chunk's first stands
        grouped, still = (one.reshape(batch, keys.shape[1], -1, q_seq, head_dim) for one in (queries, back))
        near = grouped @ keys[:, :, None, sinks:].transpose(-1, -2)
        far = still @ keys[:, :, None, :sinks].transpose(-1, -2)
        near = near.masked_fill((ahead < 0) | (ahead > window), float("-inf"))
        shares = (torch.cat([far, near], -1) * head_dim**-0.5).softmax(-1)
        mixed: Tensor = shares @ values[:, :, None]
        return mixed.reshape(batch, heads, q_seq, head_dim)

    def _turn(self, by: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        return rotation(by.to(like.device), like.shape[-1], self.rope_theta)


@torch.no_grad()
def stream_losses(model: Decoder, tokens: Tensor, config: Config, chunk: int = 256) -> Tensor:
    """Loss of every token but the first, each told as many before it as the budget holds.

    tokens: (seq,), as many as there are -> (seq - 1,)
    """
    cache = ChunkedStream(config, model.config.rope_theta)
    losses, start = [], 0
    with _reading(model, cache):
        while start < len(tokens) - 1:
            end = min(start + (chunk if start else config.budget), len(tokens) - 1)
            places = torch.arange(cache.length, cache.length + end - start, device=tokens.device)
            logits = model(tokens[None, start:end], cache, places)[0]
            losses.append(token_losses(logits, tokens[start + 1 : end + 1]))
            start = end
    return torch.cat(losses)


@contextmanager
def _reading(model: Decoder, cache: ChunkedStream) -> Iterator[None]:
    """Let the model attend as the stream does, for as long as this lasts."""
    layers = [module for module in model.modules() if isinstance(module, Attention)]
    before = [layer.attend for layer in layers]
    for layer in layers:
        layer.attend = cache.attend
    try:
        yield
    finally:
        for layer, own in zip(layers, before, strict=True):
            layer.attend = own
