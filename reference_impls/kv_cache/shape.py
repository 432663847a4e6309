"""The shape that a cache must have to serve a model."""

from dataclasses import dataclass

import torch

from reference_impls.models.decoder import Decoder


@dataclass(frozen=True)
class CacheShape:
    """What every cache is made from. capacity: tokens a row, for caches that take their memory at once."""

    layers: int
    batch: int
    kv_heads: int
    head_dim: int
    capacity: int
    dtype: torch.dtype = torch.float32
    device: torch.device | str = "cpu"
    rope_theta: float = 10_000.0

    def __post_init__(self) -> None:
        for name in ("layers", "batch", "kv_heads", "head_dim", "capacity"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    @property
    def bytes_per_token(self) -> int:
        """Keys and values of one token in all layers, in the model's own type."""
        return 2 * self.layers * self.kv_heads * self.head_dim * self.dtype.itemsize


def shape_of(model: Decoder, batch: int = 1, capacity: int | None = None) -> CacheShape:
    """The shape for this model, of `max_positions` tokens unless told."""
    c, weight = model.config, model.embedding.weight
    return CacheShape(
        c.layers,
        batch,
        c.kv_heads,
        c.head_dim,
        capacity or c.max_positions,
        weight.dtype,
        weight.device,
        c.rope_theta,
    )
