"""Parts joined at any cuts, in any order."""

from itertools import pairwise

import torch
from hypothesis import given
from hypothesis import strategies as st

from reference_impls.attention.parts import Part, join, part_of, stack
from reference_impls.attention.split_kv import attend_between, bounds
from tests.attention.cases import made, naive


@given(st.integers(1, 60), st.sets(st.integers(1, 59)), st.integers(1, 4))
def test_any_cuts_are_exact(kv_seq, cuts, q_seq):
    queries, keys, values = made(min(q_seq, kv_seq), kv_seq)
    inner = sorted(cut for cut in cuts if cut < kv_seq)
    got = attend_between(queries, keys, values, [0, *inner, kv_seq])
    assert torch.allclose(got, naive(queries, keys, values), atol=1e-13)


@given(st.integers(1, 300), st.integers(1, 40))
def test_bounds_are_even(kv_seq, splits):
    cuts = bounds(kv_seq, splits)
    sizes = [end - start for start, end in pairwise(cuts)]
    assert (cuts[0], cuts[-1], len(sizes)) == (0, kv_seq, min(splits, kv_seq))
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) >= 1


def test_the_order_of_parts_does_not_matter_and_an_empty_one_adds_nothing():
    queries, keys, values = made(1, 30)
    parts = [part_of(queries, keys[:, :, cut], values[:, :, cut]) for cut in (slice(0, 9), slice(9, 30))]
    nothing = part_of(queries, keys, values, torch.ones(30, dtype=torch.bool))
    assert (nothing.log_total == float("-inf")).all()
    assert (nothing.mixed == 0).all()
    for order in ([0, 1], [1, 0]):
        assert torch.allclose(join(stack([nothing, *(parts[i] for i in order)])), naive(queries, keys, values))


def test_a_mean_without_weights_is_wrong():
    """The control: parts must be weighed."""
    queries, keys, values = made(1, 30)
    parts = stack([part_of(queries, keys[:, :, cut], values[:, :, cut]) for cut in (slice(0, 9), slice(9, 30))])
    even = join(Part(parts.mixed, torch.zeros_like(parts.log_total)))
    assert not torch.allclose(even, naive(queries, keys, values), atol=1e-2)
