"""Each rule has one record that breaks it and one at the edge that keeps it; what keeps all of them, runs."""

from dataclasses import replace

import numpy as np
import pytest

from reference_impls.serverless import Config
from reference_impls.serverless.config_check import MB, RULES, Card, Deployment, Host, Profile, check
from reference_impls.serverless.fork_server import ForkServer
from reference_impls.serverless.runner import Function, Instance

GOOD = Deployment(
    Config(memory_mb=1024, timeout_s=20, concurrency=4, keep_alive_s=60),
    Card(weight_bytes=100 * MB, kv_bytes_per_token=MB // 10, context=1000),
    Profile(peak_memory_mb=900, p99_cold_s=10),
    Host(memory_mb=8192),
)


def changed(**parts):
    return replace(GOOD, **{name: replace(getattr(GOOD, name), **fields) for name, fields in parts.items()})


CASES = {
    "memory-below-peak": ({"config": {"memory_mb": 899}}, {"config": {"memory_mb": 900}}),
    "timeout-below-cold": ({"config": {"timeout_s": 9.9}}, {"config": {"timeout_s": 10}}),
    "cache-above-memory": ({"profile": {"batch": 10}}, {"profile": {"batch": 9}}),
    "dtype-unsupported": ({"card": {"dtype": "float8_e4m3fn"}}, {"card": {"dtype": "bfloat16"}}),
    "quantization-unnamed": ({"card": {"bits": 4}}, {"card": {"bits": 4, "quantization": "rtn, groups of 64"}}),
    "instances-above-host": ({"config": {"concurrency": 9}}, {"config": {"concurrency": 8}}),
    "core-unused": ({"config": {"memory_mb": 1770}}, {"config": {"memory_mb": 1770}, "profile": {"threads": 2}}),
    "kept-too-briefly": ({"config": {"keep_alive_s": 5}}, {"config": {"keep_alive_s": 0}}),
    "pickled-weights": ({"config": {"format": "pickle"}}, {"config": {"format": "safetensors"}}),
}


@pytest.mark.parametrize("rule", CASES)
def test_a_rule_finds_what_it_is_for_and_nothing_else(rule):
    broken, kept = CASES[rule]
    [found] = check(changed(**broken))
    assert found.rule == rule
    assert found.reason
    assert found.fix
    assert check(changed(**kept)) == []


def test_every_rule_has_its_cases():
    assert len(CASES) == len(RULES)
    assert check(GOOD) == []


def test_errors_come_first():
    findings = check(changed(config={"format": "pickle", "memory_mb": 100, "keep_alive_s": 1}))
    assert [one.severity for one in findings] == ["error", "error", "warning", "warning"]


def draw(seed):
    rng = np.random.default_rng(seed)
    peak = int(rng.integers(30, 200))
    memory = peak + int(rng.integers(0, 400)) + 200  # the interpreter itself
    config = Config(memory, float(rng.uniform(10, 20)), int(rng.integers(1, 4)), float(rng.choice([0, 60])))
    card = Card(peak * MB // 2, MB // 100, int(rng.integers(10, 500)))
    return Deployment(config, card, Profile(peak + 200, 2.0), Host(8192)), peak


def test_what_passes_runs_under_its_limits_and_what_is_too_small_does_not():
    with ForkServer("tests.serverless.handlers:Misbehaving") as server:
        for seed in range(4):
            given, peak = draw(seed)
            assert check(given) == []
            function = Function("tests.serverless.handlers:Misbehaving", config=given.config)
            with Instance(function, server.launch) as instance:
                assert instance.invoke({"do": "allocate", "mb": peak}).error is None
        function = replace(function, config=Config(memory_mb=100))
        with Instance(function, server.launch) as instance:
            assert instance.invoke({"do": "allocate", "mb": 200}).error == "MemoryError"
