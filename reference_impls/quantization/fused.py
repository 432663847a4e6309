"""The decoder of this package with fewer, larger operations a layer, for decode steps whose time is their number.

Paper: arXiv 2306.00978, section 4.2 (TinyChat merges small operations of a block); stacked products are common in
    inference code (vLLM, llama.cpp).
Idea: at batch 1 a small model's step is hundreds of calls of a few microseconds; layers with the same input are one
    product with their weights stacked, and query and key turn together.
Symbols: as in models/decoder.py.
Simplified: for inference only; a module of its own beside the decoder, which stays the readable one.
Differs: nothing is computed differently, so outputs agree with the plain decoder to rounding.
Cost: 4 products a layer in place of 7; the stacked weights are copies.
Checked against: the plain decoder, with and without cache, and quantized before and after fusing.
"""

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional

from reference_impls.models.cache import Cache
from reference_impls.models.decoder import Attend, Attention, Block, Decoder, FeedForward, Rotation, rotate


def stack(*layers: nn.Linear) -> nn.Linear:
    """One layer that puts out what all of them do, one after the other. Each: (out_i, in) -> (sum of out_i, in)"""
    if any(layer.bias is not None for layer in layers):
        raise ValueError("only layers without bias are stacked")
    weight = torch.cat([layer.weight.detach() for layer in layers])
    whole = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    whole.weight = nn.Parameter(weight, requires_grad=False)
    return whole


class FusedAttention(nn.Module):
    """Attention with one product for queries, keys and values."""

    def __init__(self, plain: Attention) -> None:
        super().__init__()
        self.layer, self.head_dim = plain.layer, plain.head_dim
        self.kv_heads = plain.key.out_features // plain.head_dim
        self.query_key_value = stack(plain.query, plain.key, plain.value)
        self.output = plain.output
        self.attend: Attend = plain.attend

    def forward(self, x: Tensor, turn: Rotation, cache: Cache | None, mask: Tensor | None) -> Tensor:
        """x: (batch, q_seq, hidden); turn, mask: as in `Decoder.hidden_states` -> as x."""
        # (batch, q_seq, all heads * head_dim) -> (batch, all heads, q_seq, head_dim): queries, keys, values
        states = self.query_key_value(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
        turned = rotate(states[:, : -self.kv_heads], turn)
        queries, keys, values = turned[:, : -self.kv_heads], turned[:, -self.kv_heads :], states[:, -self.kv_heads :]
        if cache is not None:
            keys, values = cache.append(self.layer, keys, values)
        mixed = self.attend(queries, keys, values, mask)
        out: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return out


class FusedFeedForward(nn.Module):
    """SwiGLU with one product for gate and up."""

    def __init__(self, plain: FeedForward) -> None:
        super().__init__()
        self.gate_up, self.down = stack(plain.gate, plain.up), plain.down

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., hidden) -> as x."""
        gate, up = self.gate_up(x).chunk(2, -1)
        out: Tensor = self.down(functional.silu(gate) * up)
        return out


class FusedNorm(nn.Module):
    """RMSNorm as torch's one call."""

    def __init__(self, weight: Tensor, eps: float) -> None:
        super().__init__()
        self.weight, self.eps = nn.Parameter(weight.detach(), requires_grad=False), eps

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., hidden) -> as x."""
        return functional.rms_norm(x, (x.shape[-1],), self.weight, self.eps)


def fuse(model: Decoder) -> Decoder:
    """A copy of the decoder with fused blocks; any method of this package can quantize it like the plain one.

    Weights that a method rounds row by row, or in groups along rows, come out the same before and after stacking.
    Raises ValueError for a layer with bias.
    """
    fused = deepcopy(model)
    for block in fused.blocks:
        assert isinstance(block, Block)
        block.attention = FusedAttention(block.attention)  # type: ignore[assignment]
        block.ffn = FusedFeedForward(block.ffn)  # type: ignore[assignment]
        block.attention_norm = FusedNorm(block.attention_norm.weight, block.attention_norm.eps)  # type: ignore[assignment]
        block.ffn_norm = FusedNorm(block.ffn_norm.weight, block.ffn_norm.eps)  # type: ignore[assignment]
    fused.norm = FusedNorm(fused.norm.weight, fused.norm.eps)  # type: ignore[assignment]
    return fused.eval()
