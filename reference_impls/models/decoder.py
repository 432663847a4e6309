"""A Llama-style decoder with an explicit cache: the model that every inference technique here plugs into.

Paper: arXiv 2302.13971, section 2.2 (the block); 2104.09864, eq. 34 (RoPE); 2002.05202, eq. 6 (SwiGLU);
    1910.07467, eq. 4 (RMSNorm); 2305.13245, section 2.2 (grouped queries).
Idea: pre-normalised attention and gated feed-forward layers around one residual stream, positions by rotation.
Symbols: cos, sin = of position * rope_theta ** (-2 i / head_dim), for pair i of head_dim / 2.
Simplified: no dropout, no biases, no RoPE scaling for longer contexts.
Differs: RoPE pairs dimension i with i + head_dim / 2, as published weights do, where the paper pairs neighbours.
Cost: 2 * parameters FLOPs a token, plus 4 * layers * heads * head_dim * kv_seq for attention.
Checked against: transformers' LlamaForCausalLM on the same weights.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from reference_impls.models.attend import attend
from reference_impls.models.cache import Cache, ContiguousCache

Rotation = tuple[Tensor, Tensor]
Attend = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]


@dataclass(frozen=True)
class Config:
    """The shape of a decoder."""

    vocab: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-5
    max_positions: int = 2048
    tied: bool = True

    def __post_init__(self) -> None:
        for name in ("vocab", "hidden", "layers", "heads", "kv_heads", "head_dim", "ffn", "max_positions"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.heads % self.kv_heads:
            raise ValueError(f"heads must be a multiple of kv_heads ({self.kv_heads}), got {self.heads}")
        if self.head_dim % 2:
            raise ValueError(f"head_dim must be even (RoPE turns pairs), got {self.head_dim}")


def rotation(positions: Tensor, head_dim: int, theta: float) -> Rotation:
    """Cosines and sines of every position, in float32 whatever the weights are.

    positions: (q_seq,) or (batch, q_seq) -> cos, sin: (1 or batch, 1, q_seq, head_dim / 2)
    """
    exponents = torch.arange(0, head_dim, 2, device=positions.device, dtype=torch.float32) / head_dim
    angles = positions[..., None].float() * theta**-exponents
    angles = angles.reshape(-1, 1, *angles.shape[-2:])
    return angles.cos(), angles.sin()


def rotate(x: Tensor, turn: Rotation) -> Tensor:
    """Turn each pair (i, i + head_dim / 2) by its angle.

    x: (batch, heads, q_seq, head_dim); turn: two of (1 or batch, 1, q_seq, head_dim / 2) -> as x
    """
    cos, sin = turn
    low, high = x.chunk(2, -1)
    return torch.cat([low * cos - high * sin, high * cos + low * sin], -1).to(x.dtype)


class RMSNorm(nn.Module):
    """Divide by the root of the mean square, then scale each channel."""

    def __init__(self, hidden: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., hidden) -> as x."""
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        return self.weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)).to(x.dtype)


class Attention(nn.Module):
    """Causal attention with grouped queries. `attend` may be replaced by another way to compute the same or less."""

    def __init__(self, config: Config, layer: int) -> None:
        super().__init__()
        self.layer, self.head_dim = layer, config.head_dim
        self.query = nn.Linear(config.hidden, config.heads * config.head_dim, bias=False)
        self.key = nn.Linear(config.hidden, config.kv_heads * config.head_dim, bias=False)
        self.value = nn.Linear(config.hidden, config.kv_heads * config.head_dim, bias=False)
        self.output = nn.Linear(config.heads * config.head_dim, config.hidden, bias=False)
        self.attend: Attend = attend

    def forward(self, x: Tensor, turn: Rotation, cache: Cache | None, mask: Tensor | None) -> Tensor:
        """x: (batch, q_seq, hidden); turn, mask: as in `Decoder.hidden_states` -> as x."""
        # (batch, q_seq, heads * head_dim) -> (batch, heads, q_seq, head_dim)
        queries, keys, values = (
            project(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
            for project in (self.query, self.key, self.value)
        )
        queries, keys = rotate(queries, turn), rotate(keys, turn)
        if cache is not None:
            keys, values = cache.append(self.layer, keys, values)
        mixed = self.attend(queries, keys, values, mask)
        out: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return out


class FeedForward(nn.Module):
    """SwiGLU: one projection gates another."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.gate = nn.Linear(config.hidden, config.ffn, bias=False)
        self.up = nn.Linear(config.hidden, config.ffn, bias=False)
        self.down = nn.Linear(config.ffn, config.hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., hidden) -> as x."""
        out: Tensor = self.down(functional.silu(self.gate(x)) * self.up(x))
        return out


class Block(nn.Module):
    """Attention, then feed-forward, each added to the residual stream."""

    def __init__(self, config: Config, layer: int) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.hidden, config.norm_eps)
        self.attention = Attention(config, layer)
        self.ffn_norm = RMSNorm(config.hidden, config.norm_eps)
        self.ffn = FeedForward(config)

    def forward(self, x: Tensor, turn: Rotation, cache: Cache | None, mask: Tensor | None) -> Tensor:
        """x: (batch, q_seq, hidden); turn, mask: as in `Decoder.hidden_states` -> as x."""
        x = x + self.attention(self.attention_norm(x), turn, cache, mask)
        out: Tensor = x + self.ffn(self.ffn_norm(x))
        return out


class Decoder(nn.Module):
    """Tokens in, logits out. It holds no state between calls: what is remembered is in the cache it is given."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab, config.hidden)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.layers))
        self.norm = RMSNorm(config.hidden, config.norm_eps)
        self.head = nn.Linear(config.hidden, config.vocab, bias=False)
        self.tie()

    def tie(self) -> None:
        """Let the head share the embedding's weight, where the config says so; again after weights were assigned."""
        if self.config.tied:
            self.head.weight = self.embedding.weight

    def new_cache(self, batch: int = 1, capacity: int | None = None) -> ContiguousCache:
        """An empty cache for this model, of `max_positions` tokens unless told."""
        c, weight = self.config, self.embedding.weight
        room = capacity or c.max_positions
        return ContiguousCache(c.layers, batch, c.kv_heads, room, c.head_dim, weight.dtype, weight.device)

    def hidden_states(
        self, tokens: Tensor, cache: Cache | None = None, positions: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """The normalised states before the head.

        tokens: (batch, q_seq), those not yet in the cache;
        positions: (q_seq,) or (batch, q_seq), by default those that follow the cache's;
        mask: bool, broadcastable to (batch, heads, q_seq, kv_seq), True = may be seen, by default causal
        -> (batch, q_seq, hidden)
        """
        if positions is None:
            start = 0 if cache is None else cache.length
            end = start + tokens.shape[1]
            if end > self.config.max_positions:
                raise ValueError(f"the model has {self.config.max_positions} positions, {end} would be needed")
            positions = torch.arange(start, end, device=tokens.device)
        turn = rotation(positions, self.config.head_dim, self.config.rope_theta)
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, turn, cache, mask)
        out: Tensor = self.norm(x)
        return out

    def forward(
        self, tokens: Tensor, cache: Cache | None = None, positions: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Scores of the next token at every position: arguments as in `hidden_states` -> (batch, q_seq, vocab)."""
        logits: Tensor = self.head(self.hidden_states(tokens, cache, positions, mask))
        return logits
