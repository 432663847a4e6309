"""The heaviest matching, held against scipy, every matching there is, and simpler ways."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_impls.cluster import matching
from reference_impls.cluster.matching import Config, allowed_weights, assign, greedy, match, random, total


def weights(seed, services, jobs, forbidden=0.0):
    rng = np.random.default_rng(seed)
    found = rng.random((services, jobs))
    return np.where(rng.random(found.shape) < forbidden, -np.inf, found)


def best_by_hand(table):
    """Every way to give services different jobs, or none."""
    services, jobs = table.shape
    padded = np.concatenate([np.where(np.isfinite(table), table, 0), np.zeros((services, services))], axis=1)
    return max(sum(padded[row, column] for row, column in enumerate(way)) for way in _ways(services, jobs + services))


def _ways(rows, columns):
    return permutations(range(columns), rows)


@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(0, 12))
def test_the_assignment_is_scipys(seed, rows, more):
    optimize = pytest.importorskip("scipy.optimize")
    cost = np.random.default_rng(seed).normal(size=(rows, rows + more))
    ours = assign(cost)
    assert sorted(set(ours)) == sorted(ours)
    theirs = cost[optimize.linear_sum_assignment(cost)].sum()
    assert sum(cost[row, column] for row, column in enumerate(ours)) == pytest.approx(theirs)


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 3))
def test_the_matching_is_the_best_of_all(seed, services, jobs):
    table = weights(seed, services, jobs, forbidden=0.3)
    assert total(table, match(table)) == pytest.approx(best_by_hand(table))


def test_the_assignment_is_the_best_of_all_up_to_seven():
    for n in range(1, 8):
        cost = np.random.default_rng(n).random((n, n))
        best = min(sum(cost[row, column] for row, column in enumerate(way)) for way in permutations(range(n)))
        assert sum(cost[row, column] for row, column in enumerate(assign(cost))) == pytest.approx(best)


@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 9))
def test_forbidden_pairs_are_never_chosen_and_nobody_is_chosen_twice(seed, services, jobs):
    table = weights(seed, services, jobs, forbidden=0.5)
    for found in (match(table), greedy(table), random(table, np.random.default_rng(seed))):
        pairs = [(service, job) for service, job in enumerate(found) if job is not None]
        assert all(np.isfinite(table[pair]) for pair in pairs)
        assert len({job for _, job in pairs}) == len(pairs)


@given(st.integers(0, 10**6))
def test_matching_beats_greedy_beats_random(seed):
    table = weights(seed, 6, 8)
    drawn = [total(table, random(table, np.random.default_rng(n))) for n in range(30)]
    assert total(table, match(table)) >= total(table, greedy(table)) - 1e-12
    assert total(table, greedy(table)) >= np.mean(drawn)


def test_greedy_can_be_half_as_good():
    """Taking 1.0 first leaves 0: the best pairs are both 0.9."""
    table = np.array([[1.0, 0.9], [0.9, 0.0]])
    assert match(table) == [1, 0]
    assert total(table, greedy(table)) == 1.0


def test_limits_and_the_cost_of_a_move():
    rate, slow, memory = np.array([[0.50, 0.53], [0.4, 0.9]]), np.array([[1.1, 1.1], [1.1, 1.9]]), np.full((2, 2), 0.5)
    memory[1, 0] = 0.99
    config = Config(bound=1.2, memory=0.95, move_cost=0.05)
    found = allowed_weights(rate, slow, memory, config, current=[0, None])
    assert found[0].tolist() == pytest.approx([0.50, 0.48])  # 0.53 is not worth the move
    assert np.isneginf(found[1]).all()
    assert match(found) == [0, None]
    assert match(allowed_weights(rate, slow, memory, config)) == [1, None]


def test_nothing_to_match():
    assert match(np.zeros((3, 0))) == [None] * 3
    assert match(np.zeros((0, 3))) == []
    assert greedy(np.zeros((2, 0))) == [None] * 2


@pytest.mark.parametrize("fields", [{"bound": 0.9}, {"memory": 0}, {"move_cost": -1}])
def test_bad_limits_are_refused(fields):
    with pytest.raises(ValueError, match=r"must be|at least"):
        matching.Config(**fields)
