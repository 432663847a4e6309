import pytest
import torch
import torch.nn.functional

from reference_impls.models.attend import GROUPED_MAX_QUERIES, attend, causal_mask, fused_attention, grouped_attention
from tests.models.conftest import seeded


def tensors(q_seq: int, kv_seq: int, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    """Queries of 6 heads, keys and values of 2."""
    shapes = [(3, 6, q_seq, 8), (3, 2, kv_seq, 8), (3, 2, kv_seq, 8)]
    generator = seeded()
    return [torch.randn(shape, dtype=dtype, generator=generator) for shape in shapes]


def by_loops(queries, keys, values, mask):
    """One dot product at a time."""
    out = torch.zeros_like(queries)
    for batch, head, row in torch.cartesian_prod(*(torch.arange(size) for size in queries.shape[:3])).tolist():
        shared = head // (queries.shape[1] // keys.shape[1])
        seen = [at for at in range(keys.shape[2]) if mask[batch, head, row, at]]
        scores = [queries[batch, head, row] @ keys[batch, shared, at] / queries.shape[3] ** 0.5 for at in seen]
        for share, at in zip(torch.stack(scores).softmax(0), seen, strict=True):
            out[batch, head, row] += share * values[batch, shared, at]
    return out


@pytest.mark.parametrize("way", [grouped_attention, fused_attention])
@pytest.mark.parametrize(("q_seq", "kv_seq"), [(1, 1), (1, 9), (4, 4), (3, 9)])
def test_equals_loops_over_positions(way, q_seq, kv_seq):
    queries, keys, values = tensors(q_seq, kv_seq)
    mask = causal_mask(q_seq, kv_seq).expand(3, 6, -1, -1)
    assert torch.allclose(way(queries, keys, values), by_loops(queries, keys, values, mask), atol=1e-12)


@pytest.mark.parametrize("way", [grouped_attention, fused_attention])
def test_a_mask_hides_what_it_says(way):
    queries, keys, values = tensors(3, 9)
    mask = torch.rand(3, 6, 3, 9, generator=seeded(1)) < 0.5
    mask[..., 0] = True
    assert torch.allclose(way(queries, keys, values, mask), by_loops(queries, keys, values, mask), atol=1e-12)


@pytest.mark.parametrize(("q_seq", "kv_seq"), [(1, 300), (8, 300), (GROUPED_MAX_QUERIES + 1, 300), (64, 64)])
def test_grouped_equals_torchs_own_grouped_attention(q_seq, kv_seq):
    queries, keys, values = tensors(q_seq, kv_seq)
    mask = causal_mask(q_seq, kv_seq)
    expected = torch.nn.functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, enable_gqa=True)
    for way in (attend, grouped_attention, fused_attention):
        assert torch.allclose(way(queries, keys, values), expected, atol=1e-12)


def test_bfloat16_stays_within_its_rounding():
    exact = tensors(1, 500)
    rounded = grouped_attention(*(tensor.bfloat16() for tensor in exact))
    # 2**-8 relative for inputs, scores (of size about 1) and shares each; values are of size about 1
    assert torch.allclose(rounded.double(), grouped_attention(*exact), atol=4 * 2**-8)


def test_reads_a_longer_cache_through_a_view():
    queries, keys, values = tensors(1, 20)
    expected = grouped_attention(queries, keys[:, :, :7].clone(), values[:, :, :7].clone())
    assert torch.equal(grouped_attention(queries, keys[:, :, :7], values[:, :, :7]), expected)


def test_causal_mask_by_hand():
    assert causal_mask(2, 4).int().tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    valid = torch.tensor([[False, False, True, True]])
    assert causal_mask(3, 4, valid).int().tolist() == [[[[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]]]
