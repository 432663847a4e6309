"""The power curve by hand, and the tables made of it."""

import pytest

from reference_impls.cluster import power
from tests.cluster.makers import fitted


def test_watts_by_hand():
    config = power.Config()
    assert power.watts(1, 1.0, 1.0, config) == 400
    assert power.watts(3, 1.0, 0.0, config) == 180
    assert power.watts(2, 0.5, 0.5, config) == pytest.approx(2 * (60 + 0.5 * (50 + 30)))


@pytest.mark.parametrize("name", ["bert", "vgg16"])
def test_a_higher_clock_is_faster_and_draws_more(name):
    table = fitted()[name]
    for rate, watts in zip(table.rate, table.watts, strict=True):
        assert list(rate) == sorted(rate)
        assert list(watts) == sorted(watts)
    assert len(table.rate) == 7


def test_the_least_energy_is_below_the_highest_clock():
    table = fitted()["resnet50"]
    joules = [table.joules(0, level) for level in range(len(table.frequencies))]
    assert joules.index(min(joules)) < len(joules) - 1
    assert joules[-1] > 1.3 * min(joules)


@pytest.mark.parametrize("fields", [{"idle_w": -1}, {"levels": (1.0, 0.5)}, {"levels": (0.5, 1.5)}])
def test_bad_curves_are_refused(fields):
    with pytest.raises(ValueError, match="must"):
        power.Config(**fields)
