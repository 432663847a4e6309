"""The contention model by hand and its monotony; the pair table reads between its shares and from recorded runs."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_impls.cluster import contention
from reference_impls.cluster.contention import Config, SoloProfile, fit_kappa, offline_throughput, online_slowdown
from reference_impls.cluster.pair_table import PairTable, read_run

share = st.floats(0.05, 1)
profile = st.builds(SoloProfile, st.floats(0.05, 1), st.floats(0, 1), st.floats(0, 1))


def test_by_hand():
    online, offline = SoloProfile(0.5, 0.2, 0.3), SoloProfile(1.0, 0.4, 0.3)
    none = Config(kappa=0.0)
    assert online_slowdown(online, offline, 0.5, none) == 1
    assert online_slowdown(online, offline, 0.8, none) == pytest.approx(
        0.5 / (0.5 / 1.3)
    )  # its fair part is the larger
    assert online_slowdown(online, offline, 0.6, none) == pytest.approx(0.5 / (0.5 / 1.1))
    wide = SoloProfile(0.2, 0.9, 0.3)
    assert online_slowdown(wide, offline, 0.5, none) == pytest.approx(0.9 + 0.4 * 0.5)
    assert online_slowdown(wide, offline, 0.5, Config(1.0)) == pytest.approx(1.1 * (1 + 0.9 * 0.2))
    assert offline_throughput(online, offline, 0.5, none) == pytest.approx(0.5)
    assert offline_throughput(online, offline, 1.0, none) == pytest.approx(1 / 1.5)
    assert offline_throughput(online, offline, 1.0, none, load=0.5) == pytest.approx(0.5 + 0.5 / 1.5)


@given(profile, profile, share, share)
def test_a_larger_share_never_helps_the_service(online, offline, a, b):
    low, high = sorted((a, b))
    slow = [online_slowdown(online, offline, one, Config()) for one in (low, high)]
    assert 1 <= slow[0] <= slow[1] * (1 + 1e-9)


@given(profile, profile, share)
def test_nobody_gets_more_than_alone(online, offline, one):
    assert 0 < offline_throughput(online, offline, one, Config()) <= 1 + 1e-9


def test_kappa_is_found_again():
    pairs = []
    for at in range(12):
        rng = np.random.default_rng(at)
        online, offline = (SoloProfile(*rng.uniform(0.2, 0.9, 3)) for _ in range(2))
        pairs.append((online, offline, 0.8, online_slowdown(online, offline, 0.8, Config(0.7))))
    assert fit_kappa(pairs) == pytest.approx(0.7, abs=0.011)


def table(slow=((1.1, 1.5),), rate=((0.2, 0.6),)):
    return PairTable(("a",), ("b",), (20, 80), np.array([slow]), np.array([rate]), "made")


def test_between_shares():
    assert table().at("a", "b", 20) == pytest.approx((1.1, 0.2))
    assert table().at("a", "b", 50) == pytest.approx((1.3, 0.4))
    assert table().at("a", "b", 0) == pytest.approx((1.0, 0.0))
    assert [table().largest_share("a", "b", bound) for bound in (1.05, 1.2, 2)] == [0, 20, 80]


def test_a_table_of_the_wrong_shape_is_refused():
    with pytest.raises(ValueError, match="shape"):
        table(slow=((1.0,),))


def run(measurements):
    return json.dumps({"machine": {"name": "m"}, "started": "2026-01-01", "measurements": measurements})


def one(metric, share, samples):
    case = f"cluster/pair-table/tiny-target+lora/{metric}"
    return {"case": case, "implementation": f"share-{share}", "samples": samples}


def test_a_recorded_run_is_read_by_its_medians(tmp_path):
    rows = [one("online_slowdown", 10, [1.0, 1.2, 9.0]), one("offline_throughput", 10, [0.1])]
    rows += [one("online_slowdown", 100, [2.0]), one("offline_throughput", 100, [0.7])]
    rows += [{"case": "cluster/other/x/y", "implementation": "share-10", "samples": [1]}]
    path = tmp_path / "cluster.json"
    path.write_text(run(rows))
    found = read_run(path)
    assert (found.online, found.offline, found.shares) == (("tiny-target",), ("lora",), (10, 100))
    assert found.at("tiny-target", "lora", 10) == (1.2, 0.1)
    path.write_text(run(rows[:3]))
    with pytest.raises(ValueError, match="lacks offline_throughput"):
        read_run(path)
    path.write_text(run([]))
    with pytest.raises(ValueError, match="no measurements"):
        read_run(path)


def test_the_model_as_a_table():
    online, offline = {"o": SoloProfile(0.5, 0.2, 0.3)}, {"f": SoloProfile(1.0, 0.4, 0.3)}
    found = contention.tabulate(online, offline, (50, 100), Config())
    assert found.at("o", "f", 100)[0] == pytest.approx(online_slowdown(online["o"], offline["f"], 1.0, Config()))
