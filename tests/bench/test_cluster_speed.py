"""What Ray costs and what processors bring: the arithmetic on made rounds, and once for real where Ray is installed."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from scripts.cluster_speed import RECORD, Record, Round, load_record, save_record

ROOT = Path(__file__).resolve().parents[2]


def record(*rounds: Round) -> Record:
    machine = {"name": "box", "cpu": "A CPU", "cores": 2, "load_average": [0.1, 0.2, 0.3]}
    named = {"cases": ["a/b", "a/c"], "function": "serving.sweeps:simulate", "points": 4, "rounds": [*rounds]}
    return Record("2026-11-01T00:00:00+00:00", "a" * 40, machine, "2.60.0", 2, **named)


QUIET = Round(start=5.0, cases_plain=10.0, cases_ray=10.2, sweep_plain=20.0, sweep_ray=10.5)


def test_overhead_and_scaling_are_medians_over_the_rounds():
    found = record(QUIET, QUIET, Round(50.0, 10.0, 30.0, 20.0, 40.0))  # one round that something disturbed
    assert found.overhead == pytest.approx(0.02)
    assert found.overhead_s == pytest.approx(0.1)
    assert found.case_s == 5.0
    assert found.scaling == pytest.approx(20 / 10.5)
    assert found.scaling_with_start == pytest.approx(20 / 15.5)
    assert found.start_s == 5.0


@pytest.mark.parametrize(
    ("cases_ray", "sweep_ray", "passed"), [(10.4, 11.7, True), (10.6, 11.7, False), (10.4, 11.8, False)]
)
def test_both_bars_have_to_be_kept(cases_ray, sweep_ray, passed):
    assert record(Round(5.0, 10.0, cases_ray, 20.0, sweep_ray)).passed is passed


def test_what_is_saved_is_loaded_again(tmp_path):
    assert load_record(tmp_path) is None
    found = record(QUIET)
    assert save_record(tmp_path, found) == tmp_path / RECORD
    assert load_record(tmp_path) == found


def test_the_record_of_this_repository_can_be_read_and_says_its_machine():
    found = load_record(ROOT)
    if found is None:
        pytest.skip("none is recorded yet")
    assert found.rounds
    assert found.machine["cpu"]


def test_the_page_shows_the_record_or_says_that_there_is_none():
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    jinja = Environment(loader=FileSystemLoader(ROOT / "site/templates"), autoescape=True, undefined=StrictUndefined)
    page = jinja.get_template("cluster_speed.html")
    shown = page.render(r=record(QUIET))
    assert "2.0 % (100 ms)" in shown
    assert "1.90 times as fast" in shown
    assert "load average before 0.1" in shown
    assert "is recorded yet" in page.render(r=None)


@pytest.mark.slow
def test_a_real_cluster_is_measured(tmp_path):
    pytest.importorskip("ray")
    from scripts.cluster_speed import measure_speed

    found = measure_speed(ROOT, cases=["serving/zipf/load-50/jct"], points=2, rounds=1)
    [one] = found.rounds
    assert min(asdict(one).values()) > 0
    assert json.dumps(asdict(found))
