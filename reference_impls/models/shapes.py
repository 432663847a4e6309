"""Named shapes of decoders, and models of such a shape with random weights.

Paper: arXiv 2502.02737 (SmolLM2); 2407.21783, table 3 (Llama 3 8B).
Idea: memory and speed depend on shapes only, so a random model of the right shape stands for one that is not at hand.
Symbols: nothing beyond the axes' names.
Simplified: normal weights of standard deviation 0.02; trained ones have outliers, so read no quality off these.
Differs: nothing.
Cost: parameters * bytes of the dtype.
Checked against: the parameter counts that the papers give; `SmolLM2-135M-Instruct` as published.
"""

from typing import Final

import torch
from torch import nn

from reference_impls.models.decoder import Config, Decoder, RMSNorm

SHAPES: Final = {
    "tiny-target": Config(1024, 192, layers=6, heads=6, kv_heads=2, head_dim=32, ffn=512, max_positions=1024),
    "tiny-draft": Config(1024, 96, layers=2, heads=3, kv_heads=1, head_dim=32, ffn=256, max_positions=1024),
    "smollm2-135m": Config(
        49152, 576, layers=30, heads=9, kv_heads=3, head_dim=64, ffn=1536, rope_theta=100_000.0, max_positions=8192
    ),
    "llama-3-8b": Config(
        128_256,
        4096,
        layers=32,
        heads=32,
        kv_heads=8,
        head_dim=128,
        ffn=14_336,
        rope_theta=500_000.0,
        max_positions=8192,
        tied=False,
    ),
}
"""Shape by name. The two tiny ones are those of the pair in `tiny/`."""

INITIAL_DEVIATION = 0.02


def random_model(config: Config, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Decoder:
    """A decoder of this shape with random weights, made on the generator's device in its final dtype."""
    model = empty_model(config, dtype, generator.device)
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=INITIAL_DEVIATION, generator=generator)
        elif isinstance(module, RMSNorm):
            nn.init.ones_(module.weight)
    return model


def empty_model(config: Config, dtype: torch.dtype, device: torch.device | str = "cpu") -> Decoder:
    """A decoder whose memory is taken but not written."""
    with torch.device("meta"):
        model = Decoder(config)
    model = model.to(dtype).to_empty(device=device)
    model.tie()
    return model.requires_grad_(True)


def parameter_count(config: Config) -> int:
    """Numbers in the weights of this shape; tied ones count once."""
    c = config
    attention = 2 * c.hidden * c.head_dim * (c.heads + c.kv_heads)
    block = attention + 3 * c.hidden * c.ffn + 2 * c.hidden
    return c.layers * block + c.hidden * (1 + c.vocab * (1 if c.tied else 2))
