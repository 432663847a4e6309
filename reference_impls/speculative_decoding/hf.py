"""A Hugging Face Llama as target (or draft model) of this family's loop, with its weights where they are.

Paper: none; the interface is that of transformers' LlamaForCausalLM and DynamicCache.
Idea: the loop asks for states, a head and a cache to crop and rearrange; transformers has all but the last.
Symbols: nothing beyond the axes' names.
Simplified: Llama only, without RoPE scaling; no memory is kept free, since DynamicCache grows by copying.
Differs: nothing; to compute without transformers, convert the weights with `models.weights.load_hugging_face`.
Cost: DynamicCache copies all keys and values in every pass.
Checked against: transformers' own greedy generation; the same weights in `models.decoder.Decoder`.
"""

from typing import Any

import torch
from torch import Tensor, nn

from reference_impls.models.cache import Cache
from reference_impls.models.weights import config_from_hugging_face


class HuggingFaceCache:
    """A DynamicCache that forgets and rearranges by position, whichever version of transformers made it."""

    def __init__(self) -> None:
        from transformers import DynamicCache

        self.held: Any = DynamicCache()

    @property
    def length(self) -> int:
        """Tokens held."""
        return int(self.held.get_seq_length())

    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """As in `models.cache.Cache`."""
        found: tuple[Tensor, Tensor] = self.held.update(keys, values, layer)
        return found

    def crop(self, length: int) -> None:
        """Keep the first `length` tokens."""
        if not 0 <= length <= self.length:
            raise ValueError(f"crop keeps 0 to {self.length} tokens (what is held), got {length}")
        for layer in self._layers():
            layer.keys, layer.values = layer.keys[..., :length, :], layer.values[..., :length, :]

    def move(self, sources: Tensor, targets: Tensor) -> None:
        """Copy positions to other places of their row: (batch, n) slots each."""
        rows = torch.arange(len(sources))[:, None]
        for layer in self._layers():
            layer.keys[rows, :, targets] = layer.keys[rows, :, sources]
            layer.values[rows, :, targets] = layer.values[rows, :, sources]

    def _layers(self) -> list[Any]:
        return [layer for layer in self.held.layers if layer.keys is not None]


class HuggingFaceModel:
    """What the loop asks of a target, and what a draft model's follower asks of a decoder."""

    def __init__(self, model: Any) -> None:
        """model: a LlamaForCausalLM. Raises ValueError for another architecture."""
        self.config = config_from_hugging_face(model.config.to_dict())
        self.model = model.eval()
        self.head: nn.Module = model.lm_head
        self.embedding: nn.Module = model.get_input_embeddings()

    def new_cache(self, batch: int = 1, capacity: int | None = None) -> HuggingFaceCache:  # noqa: ARG002 it grows
        """An empty cache, for any number of rows."""
        return HuggingFaceCache()

    @torch.no_grad()
    def hidden_states(
        self, tokens: Tensor, cache: Cache | None = None, positions: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """As in `models.decoder.Decoder`. Raises TypeError for a cache that is not `new_cache`'s."""
        if cache is not None and not isinstance(cache, HuggingFaceCache):
            raise TypeError(f"expected a cache from new_cache, got {type(cache).__name__}")
        if positions is not None:
            positions = positions.expand(tokens.shape)
        held = None if cache is None else cache.held
        made = self.model.model(
            input_ids=tokens,
            attention_mask=None if mask is None else self._additive(mask, len(tokens)),
            position_ids=positions,
            past_key_values=held,
            use_cache=held is not None,
        )
        states: Tensor = made.last_hidden_state
        return states

    def _additive(self, mask: Tensor, batch: int) -> Tensor:
        """Zero where a position may be seen and the least number elsewhere, which every attention there understands.

        mask: (..., q_seq, kv_seq) -> (batch, 1, q_seq, kv_seq)
        """
        dtype = self.model.dtype
        wide = mask.expand(batch, 1, *mask.shape[-2:])
        return torch.zeros(wide.shape, dtype=dtype, device=mask.device).masked_fill(~wide, torch.finfo(dtype).min)
