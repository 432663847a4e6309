"""Rouge-L: against every subsequence, and the ends of its range."""

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from reference_impls.measurement.rouge import longest_common, rouge_l

SHORT = st.lists(st.integers(0, 3), max_size=7)


def subsequences(tokens):
    return {part for size in range(len(tokens) + 1) for part in combinations(tokens, size)}


@given(SHORT, SHORT)
def test_the_longest_of_all_common_subsequences(first, second):
    assert longest_common(first, second) == max(map(len, subsequences(first) & subsequences(second)))


@given(SHORT, SHORT)
def test_range_and_symmetry(first, second):
    assert 0 <= rouge_l(first, second) <= 1
    assert rouge_l(first, second) == rouge_l(second, first)
    assert (rouge_l(first, second) == 1) == (first == second)


def test_by_hand():
    assert rouge_l([1, 2, 3, 4], [1, 9, 3]) == 4 / 7  # 1 3 is common
    assert rouge_l([1], [2]) == 0
