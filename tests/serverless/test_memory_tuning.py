"""Searches against the whole grid, on curves whose best is known because every size is looked at."""

import itertools
import math

import numpy as np
import pytest

from reference_impls.serverless import cpu_share
from reference_impls.serverless.cpu_quota import DutyCycle
from reference_impls.serverless.memory_tuning import SEARCHES, Config, Probe, fit, golden_section, grid, three_points
from reference_impls.serverless.runner import Function, Instance

SIZES = range(128, 3073, 64)
SEARCHED = [name for name in SEARCHES if name != "grid"]


def curve(seed, pressure=True):
    """Latency that falls with memory, and whose product with it has one valley: a + b / cpu(m) + c / m^2."""
    a, b, c = np.random.default_rng(seed).uniform([0.01, 0.05, 0.0], [0.3, 1.0, 1.5])
    return lambda memory: a + b / cpu_share(memory) + pressure * c * (512 / memory) ** 2


def always(latency):
    return lambda memory: itertools.repeat(latency(memory))


def noisy(latency, seed):
    def stream(memory):
        rng = np.random.default_rng([seed, memory])
        while True:
            yield latency(memory) * rng.lognormal(0, 0.02)

    return stream


@pytest.mark.parametrize("name", SEARCHED)
@pytest.mark.parametrize("seed", range(50))
def test_costs_at_most_two_percent_more_with_half_the_probes(name, seed):
    latency = curve(seed)
    slowest, fastest = latency(SIZES[0]), latency(SIZES[-1])
    slo = [math.inf, (slowest * fastest) ** 0.5][seed % 2]
    whole = grid(always(latency), SIZES, Config(slo_s=slo))
    found = SEARCHES[name](always(latency), SIZES, Config(slo_s=slo))
    assert found.best.cost <= 1.02 * whole.best.cost
    assert found.best.p95_s <= slo
    assert len(found.probes) <= len(SIZES) / 2


@pytest.mark.parametrize("name", SEARCHED)
def test_noise_is_measured_until_it_does_not_matter(name):
    latency = curve(3)
    whole = grid(noisy(latency, 1), SIZES, Config())
    found = SEARCHES[name](noisy(latency, 1), SIZES, Config())
    assert all(probe.converged for probe in found.probes)
    assert found.best.cost <= 1.05 * whole.best.cost  # the valley is flatter than the noise of 2 %


@pytest.mark.parametrize("name", SEARCHES)
def test_a_target_that_no_size_meets_is_reported(name):
    choice = SEARCHES[name](always(curve(0)), SIZES, Config(slo_s=1e-3))
    assert not choice.feasible
    assert "infeasible" in choice.reason
    assert choice.probes


@pytest.mark.parametrize("name", SEARCHES)
def test_a_target_that_only_the_largest_meets(name):
    sizes = [256, 512, 1024, 1769]
    choice = SEARCHES[name](always(lambda memory: 1769 / memory), sizes, Config(slo_s=1.0))
    assert choice.best.memory_mb == 1769


def test_a_curve_of_the_fits_shape_needs_five_probes():
    found = three_points(always(curve(7, pressure=False)), SIZES)
    assert found.reason == "the fit holds"
    assert len(found.probes) <= 6


def test_a_curve_of_another_shape_is_searched():
    found = three_points(always(curve(8)), SIZES)
    assert found.reason.startswith("the fit is off")


def test_the_fit_gives_back_what_it_was_made_of():
    points = [Probe(m, 0.2 + 0.7 / cpu_share(m), 0, 0, 1, True) for m in (128, 1024, 3008)]
    assert fit(points) == pytest.approx((0.2, 0.7))


def test_the_tail_counts_and_not_the_median():
    def stream(memory):
        tail = 3.0 if memory < 1000 else 1.0
        return itertools.cycle([1.0] * 9 + [tail])

    assert grid(stream, [512, 1024], Config(slo_s=2.0)).best.memory_mb == 1024
    assert grid(stream, [512, 1024], Config(slo_s=4.0)).best.memory_mb == 512


@pytest.mark.parametrize("sizes", [[512], [512, 1024], [512, 1024, 2048]])
def test_few_sizes_are_enough(sizes):
    latency = always(curve(5))
    assert golden_section(latency, sizes).best == grid(latency, sizes).best


def test_impossible_configs_are_refused():
    with pytest.raises(ValueError, match="slo_s"):
        Config(slo_s=0)
    with pytest.raises(ValueError, match="at least one size"):
        grid(always(curve(0)), [])


MEASURED_SIZES = (256, 320, 384, 448, 512, 640, 768, 896, 1024, 1152, 1280, 1408, 1536, 1664, 1769, 3008)


@pytest.fixture(scope="module")
def measured():
    """A real process at every size: medians of 15 requests under its share of a core."""
    event, found = {"do": "count", "to": 150_000}, {}
    handler = Function("tests.serverless.handlers:Misbehaving")
    with Instance(handler) as instance, DutyCycle(instance.pid, 1.0) as quota:
        for size in MEASURED_SIZES:
            quota.set(cpu_share(size))
            found[size] = float(np.median([instance.invoke(event).latency_s for _ in range(15)]))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", SEARCHED)
@pytest.mark.parametrize("times", [math.inf, 2.5])
def test_the_bounds_hold_on_a_measured_curve_but_for_its_noise(measured, name, times):
    """2 % more than the grid, and what the widest dent of the curve allows: where latency rises with memory."""
    slo = times * measured[MEASURED_SIZES[-1]]
    latency = always(measured.__getitem__)
    whole = grid(latency, MEASURED_SIZES, Config(slo_s=slo))
    found = SEARCHES[name](latency, MEASURED_SIZES, Config(slo_s=slo))
    costs = [probe.cost for probe in whole.probes]
    seconds = [probe.median_s for probe in whole.probes]
    noise = max(later / min(seconds[: at + 1]) for at, later in enumerate(seconds))
    assert found.best.cost <= 1.02 * noise * whole.best.cost
    assert found.best.p95_s <= slo
    assert len(found.probes) <= len(MEASURED_SIZES) / 2 + 1
    assert max(costs) > 1.02 * noise * min(costs)  # the bound says something
