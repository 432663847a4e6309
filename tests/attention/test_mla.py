"""The absorbed form against the explicit one, with and without a cache, and what is cached."""

from dataclasses import replace

import pytest
import torch

from reference_impls.attention import gqa
from reference_impls.attention.mla import Config, LatentAttention, LatentCache, cache_numbers
from reference_impls.models.decoder import rotation
from tests.models.conftest import seeded

CONFIG = Config(hidden=40, heads=4, head_dim=12, latent=18, rope_dim=6)


def layer(absorbed=True):
    """Equal weights whichever the form."""
    made = LatentAttention(replace(CONFIG, absorbed=absorbed)).double()
    generator = seeded(2)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return made.requires_grad_(False)


def inputs(seq=17):
    x = torch.randn(2, seq, 40, generator=seeded(3), dtype=torch.float64)
    return x, rotation(torch.arange(seq), CONFIG.rope_dim, 10_000.0)


def test_absorbed_is_the_explicit_form():
    x, turn = inputs()
    assert torch.allclose(layer(True)(x, turn), layer(False)(x, turn), atol=1e-10)


@pytest.mark.parametrize("absorbed", [True, False])
def test_a_cache_of_latents_gives_the_parallel_pass(absorbed):
    x, turn = inputs()
    own, cache = layer(absorbed), LatentCache()
    outs = []
    for start, end in ((0, 9), (9, 10), (10, 17)):
        part = tuple(one[:, :, start:end] for one in turn)
        outs.append(own(x[:, start:end], part, cache))
    assert torch.allclose(torch.cat(outs, 1), own(x, turn), atol=1e-10)
    assert (cache.length, cache.nbytes) == (17, 2 * 17 * 8 * cache_numbers(CONFIG))
    cache.crop(9)
    again = own(x[:, 9:], tuple(one[:, :, 9:] for one in turn), cache)
    assert torch.allclose(again, own(x, turn)[:, 9:], atol=1e-10)


def test_keys_by_hand_of_one_head():
    """Eq. 10-17 written out for one query and head."""
    x, turn = inputs(5)
    own = layer()
    c = CONFIG
    latent = own.norm(own.down(x)[..., : c.latent])
    up = own.up.weight.view(2, c.heads, c.head_dim, c.latent)
    keys, values = latent[0] @ up[0, 1].T, latent[0] @ up[1, 1].T
    cos, sin = (one[0, 0] for one in turn)

    def turned(z, at):
        low, high = z.chunk(2, -1)
        return torch.cat([low * cos[at] - high * sin[at], low * sin[at] + high * cos[at]], -1)

    rope = turned(own.down(x)[0, :, c.latent :], slice(0, 5))
    query = own.query(x)[0, 4].view(c.heads, -1)[1]
    score = keys @ query[: c.head_dim] + rope @ turned(query[c.head_dim :], 4)
    mixed = (score / 18**0.5).softmax(0) @ values
    seen = []
    own.output.register_forward_pre_hook(lambda _module, arguments: seen.append(arguments[0]))
    own(x, turn)
    assert torch.allclose(seen[0][0, 4].view(c.heads, -1)[1], mixed, atol=1e-6)  # angles are float32


def test_published_sizes():
    """DeepSeek-V2's layer against separate heads: 512 + 64 numbers against 2 * 128 * 128."""
    paper = Config(hidden=5120, heads=128, head_dim=128, latent=512, rope_dim=64)
    assert cache_numbers(paper) == 576
    assert gqa.cache_numbers(128, 128) == 32_768
    assert cache_numbers(paper) / gqa.cache_numbers(1, 128) == 2.25


def test_misuse_is_refused():
    x, turn = inputs()
    with pytest.raises(ValueError, match="no mask"):
        layer()(x, turn, None, torch.ones(1))
    with pytest.raises(ValueError, match="rope_dim must be even"):
        Config(rope_dim=5)
    with pytest.raises(ValueError, match="0 to 0"):
        LatentCache().crop(1)
