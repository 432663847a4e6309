"""The online softmax by hand, gradients against autograd, and which tiles are computed at all."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from reference_impls.attention.flash import Config, backward, forward, tiles
from tests.attention.cases import made, naive
from tests.models.conftest import seeded

tile_sizes = st.integers(1, 20)


@given(st.integers(1, 30), st.integers(0, 20), tile_sizes, tile_sizes)
def test_tiles_cover_what_may_be_seen_and_skip_the_rest(q_seq, more, query_tile, kv_tile):
    kv_seq = q_seq + more
    seen = torch.zeros(q_seq, kv_seq, dtype=torch.long)
    for rows, columns, hidden in tiles(q_seq, kv_seq, Config(query_tile, kv_tile)):
        part = torch.ones(rows.stop - rows.start, columns.stop - columns.start, dtype=torch.long)
        if hidden is not None:
            part = (~hidden).long()
        assert part.any()  # a tile with nothing to see costs as much as a full one
        seen[rows, columns] += part
    expected = torch.ones(q_seq, kv_seq).tril(more).long()
    assert torch.equal(seen, expected)


@given(st.integers(1, 12), st.integers(0, 12), tile_sizes, tile_sizes)
def test_gradients_are_those_of_autograd(q_seq, more, query_tile, kv_tile):
    inputs = [x.requires_grad_() for x in made(q_seq, q_seq + more, head_dim=4)]
    out = naive(*inputs)
    gradient = torch.randn(out.shape, generator=seeded(5), dtype=out.dtype)
    expected = torch.autograd.grad(out, inputs, gradient)
    config = Config(query_tile, kv_tile)
    plain = [x.detach() for x in inputs]
    found = backward(*plain, forward(*plain, config), gradient, config)
    assert all(torch.allclose(got, own, atol=1e-12) for got, own in zip(found, expected, strict=True))


def test_log_totals_are_those_of_the_scores():
    queries, keys, values = made(3, 3, heads=1, kv_heads=1, batch=1)
    done = forward(queries, keys, values, Config(2, 2))
    scores = (queries @ keys.transpose(2, 3) / 4.0)[0, 0]
    expected = torch.stack([scores[row, : row + 1].logsumexp(0) for row in range(3)])
    assert torch.allclose(done.log_total.flatten(), expected, atol=1e-13)


def test_causal_prefill_computes_about_half_of_the_tiles():
    done = sum(1 for _ in tiles(1024, 1024, Config(64, 64)))
    assert done == 16 * 17 // 2
