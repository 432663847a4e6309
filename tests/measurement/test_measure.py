import numpy as np
import pytest

from reference_impls.measurement.stopping_baselines import Config as BaselineConfig
from reference_impls.measurement.stopping_baselines import FixedCount
from reference_impls.measurement.superflow import Config, Stopper, collect, measure, timer_overhead
from reference_impls.measurement.warmup import Config as WarmUpConfig
from tests.measurement.series import ticking


def test_warm_up_is_dropped_and_listed():
    durations = [16, 8, 4, 2, 1] * 2 + [1.0] * 100
    report = collect(durations, Stopper(), WarmUpConfig(window=1, tolerance=0.1))
    assert report.warm_up == (16, 8, 4, 2, 1, 16)  # the first step upwards ends the trend
    assert report.warm_up_settled
    assert report.samples[:4] == (8, 4, 2, 1)


def test_measure_times_each_call():
    now = [0.0]

    def two_seconds():
        now[0] += 2

    report = measure(two_seconds, Config(), clock=lambda: now[0], warm_up=None)
    assert report.converged
    assert report.samples == (2.0,) * 25
    assert now[0] == 50
    assert report.warm_up_settled is None


def test_measure_warms_up_first():
    counter = []
    report = measure(lambda: counter.append(None), rule=FixedCount())
    assert report.reason == "count"
    assert not report.converged  # a fixed count proves nothing
    assert report.n == 50
    assert len(counter) == 50 + len(report.warm_up)
    assert len(report.warm_up) >= 10


def test_the_time_budget_cuts_and_says_so():
    now = [0.0]

    def slow():
        now[0] += 1.0 + 0.5 * np.sin(now[0])

    report = measure(slow, Config(max_seconds=30), clock=lambda: now[0], warm_up=None)
    assert (report.reason, report.stopped, report.converged) == ("max_seconds", True, False)
    assert 30 <= now[0] < 32
    assert report.n == len(report.samples) > 15


def test_time_spent_warming_up_counts():
    now = [0.0]

    def never_settles():
        now[0] = now[0] * 1.5 + 1

    report = measure(never_settles, Config(max_seconds=10), clock=lambda: now[0])
    assert (report.reason, report.n, report.warm_up_settled) == ("max_seconds", 0, False)
    assert not report.samples
    assert len(report.warm_up) == 5  # 1, 2.5, 4.75, 8.1, 13.2 s on the clock


def test_a_recording_that_ends_is_not_a_pass():
    report = collect([1.0] * 24, Stopper())
    assert (report.reason, report.converged, report.n) == ("exhausted", False, 24)


def test_a_failing_function_is_not_swallowed():
    with pytest.raises(ZeroDivisionError):
        measure(lambda: 1 / 0)


def test_timer_overhead_is_the_median_empty_call():
    assert timer_overhead(ticking([1, 2, 9]), runs=3) == 2
    assert 0 < timer_overhead() < 1e-3


@pytest.mark.slow
def test_every_rule_on_a_real_latency():
    from reference_impls.measurement.confidence_sequence import TimeUniform
    from reference_impls.measurement.replay import replay
    from reference_impls.measurement.stopping_baselines import Confirm, Metior, PT4Cloud, median_only

    matrix = np.random.default_rng(0).normal(size=(96, 96))
    everything = FixedCount(BaselineConfig(count=2000, max_n=2000))
    recorded = measure(lambda: matrix @ matrix, rule=everything)
    rules = {
        "SuperFlow": lambda: Stopper(Config(error_bound=0.05, max_n=2000)),
        "median only": lambda: median_only(BaselineConfig(error_bound=0.05)),
        "time-uniform": TimeUniform,
        "PT4Cloud": PT4Cloud,
        "Metior": Metior,
        "CONFIRM": lambda: Confirm(BaselineConfig(max_n=200)),
        "fixed": FixedCount,
    }
    outcomes = replay({"matmul": np.array(recorded.samples)}, rules)
    assert {outcome.rule for outcome in outcomes} == set(rules)
    assert all(5 <= outcome.n <= 2000 and 0 <= outcome.accuracy <= 1 for outcome in outcomes)
