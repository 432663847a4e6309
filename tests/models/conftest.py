"""What the tests of the models share: one thread, and a decoder of odd sizes with random weights."""

import pytest
import torch

from reference_impls.models.decoder import Config, Decoder
from reference_impls.models.shapes import random_model

SMALL = Config(vocab=97, hidden=48, layers=3, heads=6, kv_heads=2, head_dim=10, ffn=80, max_positions=128, tied=False)


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """With other work on the machine, small operations on two threads wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def lively(config: Config = SMALL, dtype: torch.dtype = torch.float64) -> Decoder:
    """Weights ten times larger than usual, so that a wrong position or mask changes the logits by much."""
    model = random_model(config, seeded(1), dtype)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.uniform_(0.5, 1.5, generator=seeded(2))
            else:
                parameter.mul_(10)
    return model.requires_grad_(False)


def some_tokens(*shape: int, vocab: int = SMALL.vocab, seed: int = 3) -> torch.Tensor:
    return torch.randint(vocab, shape, generator=seeded(seed))
