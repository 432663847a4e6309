"""A small decoder whose heads are as wide as groups of codes, and how the tests run it."""

import torch

from reference_impls.kv_cache import CacheShape, shape_of
from reference_impls.models.decoder import Config
from tests.models.conftest import lively, some_tokens

WIDE = Config(vocab=97, hidden=48, layers=3, heads=6, kv_heads=2, head_dim=16, ffn=80, max_positions=400, tied=False)
MODEL = lively(WIDE)
PROMPT = some_tokens(2, 40)
MORE = some_tokens(2, 30, seed=8)


def shape(batch=2, capacity=128) -> CacheShape:
    return shape_of(MODEL, batch, capacity)


def run(cache, model=MODEL, chunk=3):
    """Logits of a prompt and of what follows it, in chunks. -> (batch, seq, vocab)"""
    chunks = [PROMPT, *MORE.split(chunk, 1)]
    return torch.cat([model(tokens, cache) for tokens in chunks], 1)


def expected():
    """The same without any cache."""
    return MODEL(torch.cat([PROMPT, MORE], 1))
