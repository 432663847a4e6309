"""What the tests of this family share."""

import torch

from reference_impls.models.decoder import Config, Decoder
from tests.models.conftest import lively, one_thread, seeded, some_tokens  # noqa: F401

TARGET = Config(vocab=32, hidden=24, layers=2, heads=4, kv_heads=2, head_dim=6, ffn=40, max_positions=256, tied=False)
DRAFT = Config(vocab=32, hidden=12, layers=1, heads=2, kv_heads=1, head_dim=6, ffn=16, max_positions=256, tied=False)


def target() -> Decoder:
    return lively(TARGET)


def draft() -> Decoder:
    return lively(DRAFT)


def near(model: Decoder, noise: float, seed: int = 5) -> Decoder:
    """A copy with disturbed weights: a draft that agrees often, but not always."""
    copy = Decoder(model.config).to(torch.float64)
    copy.load_state_dict(model.state_dict())
    generator = seeded(seed)
    with torch.no_grad():
        for parameter in copy.parameters():
            parameter += (
                noise * parameter.std() * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            )
    return copy.requires_grad_(False)


def prompts(count: int, longest: int = 12) -> list[torch.Tensor]:
    return [some_tokens(1 + seed % longest, vocab=TARGET.vocab, seed=seed) for seed in range(count)]
