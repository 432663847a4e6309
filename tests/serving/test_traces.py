"""Generators against the formulas of their distributions."""

import numpy as np
import pytest

from reference_impls.serving.traces import LENGTHS, Config, at_rate, bursts, generate, poisson

MANY = 40_000


@pytest.mark.parametrize("lengths", LENGTHS)
def test_a_seed_is_a_trace_and_another_seed_another(lengths):
    a, b, c = (generate(Config(lengths, 50, seed=seed)) for seed in (0, 0, 1))
    assert a == b
    assert a != c
    assert [one.arrival_s for one in a] == sorted(one.arrival_s for one in a)


def test_lengths_do_not_depend_on_the_rate():
    slow, fast = (generate(Config(count=50, rate_per_s=rate)) for rate in (1.0, 3.0))
    assert [(one.prompt, one.output) for one in slow] == [(one.prompt, one.output) for one in fast]


def test_medians_and_shares():
    rng = np.random.default_rng(0)
    prompts, outputs = LENGTHS["conversation"](rng, MANY)
    assert np.median(prompts) == pytest.approx(64, rel=0.03)
    assert np.median(outputs) == pytest.approx(160, rel=0.03)
    assert (LENGTHS["bimodal"](rng, MANY)[1] == 1024).mean() == pytest.approx(0.1, abs=0.01)
    ones = (LENGTHS["zipf"](rng, MANY)[1] == 1).mean()
    assert ones == pytest.approx(1 / (np.arange(1, 1025) ** -0.9).sum(), rel=0.05)
    prompts, outputs = LENGTHS["instructions"](rng, MANY)
    assert (prompts.mean(), outputs.mean()) == pytest.approx((19.31, 58.45), rel=0.03)  # vLLM's paper, of Alpaca
    prompts, outputs = LENGTHS["long-prompts"](rng, MANY)
    assert prompts.sum() / outputs.sum() > 60


@pytest.mark.parametrize("draw", [poisson, bursts])
def test_the_mean_rate_is_the_one_asked_for(draw):
    times = draw(np.random.default_rng(0), MANY, 5.0)
    assert MANY / times[-1] == pytest.approx(5.0, rel=0.03)
    assert (np.diff(times) >= 0).all()


def test_bursts_come_more_unevenly_than_poisson():
    def spread(times):  # variance over mean of the counts in windows of 5 s, 1 for Poisson
        counts = np.histogram(times, np.arange(0, times[-1], 5.0))[0]
        return counts.var() / counts.mean()

    rng = np.random.default_rng(0)
    assert spread(poisson(rng, MANY, 5.0)) == pytest.approx(1.0, abs=0.1)
    assert spread(bursts(rng, MANY, 5.0)) > 3


def test_another_rate_stretches_the_same_requests():
    found = at_rate(generate(Config(count=100)), 7.0)
    assert len(found) / found[-1].arrival_s == pytest.approx(7.0)


def test_a_config_refuses_what_has_no_meaning():
    for wrong in ({"lengths": "short"}, {"arrivals": "never"}, {"count": 0}, {"rate_per_s": 0.0}):
        with pytest.raises(ValueError, match="must be"):
            Config(**wrong)
