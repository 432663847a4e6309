"""Multi-head latent attention: one short vector a token is cached, from which every head's keys and values follow.

Paper: arXiv 2405.04434, section 2.1 (eq. 9-19, with the absorbed form described after eq. 13); DeepSeek-V2.
Idea: keys and values are linear in the latent, so their matrices can be moved to the query's side and behind the mix:
    attention then runs on latents, as if all heads shared one key of latent + rope_dim numbers.
Symbols: c = latent of a token; W_UK, W_UV = its way up to keys and values; k^R = one rotated key for all heads.
Simplified: queries are not compressed; no tensor parallelism.
Differs: nothing.
Cost: latent + rope_dim numbers a token and layer; absorbed, a score takes latent + rope_dim products for each head
    where the explicit form takes head_dim + rope_dim and all keys anew.
Checked against: the explicit form, with and without a cache, in float64.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reference_impls.models.attend import causal_mask
from reference_impls.models.decoder import RMSNorm, Rotation, rotate


@dataclass(frozen=True)
class Config:
    """latent: cached numbers without position; rope_dim: cached numbers of the one rotated key."""

    hidden: int = 192
    heads: int = 6
    head_dim: int = 32
    latent: int = 48
    rope_dim: int = 16
    absorbed: bool = True

    def __post_init__(self) -> None:
        for name in ("hidden", "heads", "head_dim", "latent", "rope_dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.rope_dim % 2:
            raise ValueError(f"rope_dim must be even (RoPE turns pairs), got {self.rope_dim}")


def cache_numbers(config: Config) -> int:
    """Numbers that a token leaves in one layer's cache."""
    return config.latent + config.rope_dim


class LatentCache:
    """What is remembered: (batch, seq, latent + rope_dim) of each layer."""

    def __init__(self) -> None:
        self.held: dict[int, Tensor] = {}

    @property
    def length(self) -> int:
        """Tokens of the layer that holds fewest."""
        return min((one.shape[1] for one in self.held.values()), default=0)

    @property
    def nbytes(self) -> int:
        """Bytes of all layers."""
        return sum(one.nbytes for one in self.held.values())

    def append(self, layer: int, latents: Tensor) -> Tensor:
        """latents: (batch, q_seq, latent + rope_dim) -> (batch, kv_seq, latent + rope_dim)"""
        held = self.held.get(layer)
        self.held[layer] = latents if held is None else torch.cat([held, latents], 1)
        return self.held[layer]

    def crop(self, length: int) -> None:
        """Keep the first `length` tokens."""
        if not 0 <= length <= self.length:
            raise ValueError(f"crop keeps 0 to {self.length} tokens (what is held), got {length}")
        self.held = {layer: one[:, :length] for layer, one in self.held.items()}


def explicit(queries: Tensor, turned: Tensor, held: Tensor, up_key: Tensor, up_value: Tensor) -> Tensor:
    """Eq. 10-17: every head's keys and values are computed, then attended to.

    queries: (batch, heads, q_seq, head_dim); turned: (batch, heads, q_seq, rope_dim), rotated;
    held: (batch, kv_seq, latent + rope_dim); up_key, up_value: (heads, head_dim, latent)
    -> (batch, heads, q_seq, head_dim)
    """
    latent, rope = held[..., : up_key.shape[2]], held[..., up_key.shape[2] :]
    keys = torch.einsum("bsl,hdl->bhsd", latent, up_key)
    values = torch.einsum("bsl,hdl->bhsd", latent, up_value)
    scores = queries @ keys.transpose(2, 3) + turned @ rope[:, None].transpose(2, 3)
    mixed: Tensor = _shares(scores, queries.shape[3] + turned.shape[3]) @ values
    return mixed


def absorbed(queries: Tensor, turned: Tensor, held: Tensor, up_key: Tensor, up_value: Tensor) -> Tensor:
    """The same with W_UK moved to the queries and W_UV behind the mix. Shapes as in `explicit`."""
    latent, rope = held[..., : up_key.shape[2]], held[..., up_key.shape[2] :]
    moved = torch.einsum("bhqd,hdl->bhql", queries, up_key)
    scores = moved @ latent[:, None].transpose(2, 3) + turned @ rope[:, None].transpose(2, 3)
    mixed = _shares(scores, queries.shape[3] + turned.shape[3]) @ latent[:, None]
    return torch.einsum("bhql,hdl->bhqd", mixed, up_value)


class LatentAttention(nn.Module):
    """One layer's attention; takes the place of a decoder's, with a LatentCache."""

    def __init__(self, config: Config, layer: int = 0, eps: float = 1e-5) -> None:
        super().__init__()
        self.config, self.layer = config, layer
        c = config
        self.query = nn.Linear(c.hidden, c.heads * (c.head_dim + c.rope_dim), bias=False)
        self.down = nn.Linear(c.hidden, c.latent + c.rope_dim, bias=False)
        self.norm = RMSNorm(c.latent, eps)
        self.up = nn.Linear(c.latent, 2 * c.heads * c.head_dim, bias=False)
        self.output = nn.Linear(c.heads * c.head_dim, c.hidden, bias=False)

    def forward(
        self, x: Tensor, turn: Rotation, cache: LatentCache | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """x: (batch, q_seq, hidden); turn: of rope_dim, see `models.decoder.rotation` -> as x. Causal, no mask."""
        if mask is not None:
            raise ValueError("latent attention takes no mask: rows must be equally long and unpadded")
        c = self.config
        queries = self.query(x).unflatten(-1, (c.heads, -1)).transpose(1, 2)
        queries, turned = queries.split((c.head_dim, c.rope_dim), -1)
        latent, rope = self.down(x).split((c.latent, c.rope_dim), -1)
        held = torch.cat([self.norm(latent), rotate(rope[:, None], turn)[:, 0]], -1)
        if cache is not None:
            held = cache.append(self.layer, held)
        # (2 * heads * head_dim, latent) -> keys', values' (heads, head_dim, latent)
        up_key, up_value = self.up.weight.view(2, c.heads, c.head_dim, c.latent)
        attend = absorbed if c.absorbed else explicit
        mixed = attend(queries, rotate(turned, turn), held, up_key, up_value)
        out: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return out


def _shares(scores: Tensor, width: int) -> Tensor:
    """Causal softmax of scaled scores. scores: (batch, heads, q_seq, kv_seq) -> the same shape"""
    seen = causal_mask(scores.shape[2], scores.shape[3], device=scores.device)
    shares: Tensor = (scores * width**-0.5).masked_fill(~seen, float("-inf")).softmax(-1)
    return shares
