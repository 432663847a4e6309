"""The cases of scheduling under a budget of energy: completion time at equal energy, ablations, the simulator's speed.

A trial is a trace of its own seed. In a case of equal energy the baseline's sample is the mean completion time that it
reaches in a trace, and PowerFlow's is what its own curve has at the energy which that took.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from itertools import count
from typing import Any, Literal

from reference_impls.cluster import Table, policies, power, profiles, traces
from reference_impls.cluster.buddy import Config as Shape
from reference_impls.cluster.equal_energy import (
    Config,
    Curve,
    Setting,
    best_product,
    cluster_for,
    curve,
    front,
    seconds_at,
    settings,
    sweep,
)
from reference_impls.cluster.simulate import Budget, simulate
from reference_impls.measurement.case import Case, Implementation, Step, Workload

BASELINES = ("fifo", "srtf", "tiresias", "gandiva", "elastic", "zeus")
POLICIES = (*BASELINES, "powerflow")
TRACES = 20
JOBS = 120
JOULES_PER_KWH = 3.6e6
CLUSTER = Config()
SIMULATED = "simulated; the throughput is fitted to measured points, the power curve is assumed"


@dataclass(frozen=True)
class Scene:
    """A kind of trace and an assumed response to the clock. k: of time; cubic: factor on the cubic part of power."""

    name: str
    load: float = 1.0
    single_gpu: bool = False
    k: float = 0.8
    cubic: float = 1.0


DAILY = Scene("daily")
SCENES = (DAILY, Scene("light", load=0.15), Scene("single-gpu", single_gpu=True))
SENSITIVITY = tuple(Scene(f"k-{k}-c3-{cubic}", k=k, cubic=cubic) for k in (0.6, 1.0) for cubic in (0.5, 1.5))
ABLATIONS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "no-clocks": ({"clocks": False}, {}),
    "no-elasticity": ({"elastic": False}, {}),
    "no-packing": ({}, {"shape": Shape(CLUSTER.nodes, CLUSTER.gpus_per_node, pack=False), "compact_s": 0.0}),
    "no-power-off": ({}, {"power_off": False}),
}
"""Name -> changes of the policy, changes of the cluster."""


def cases() -> list[Case]:
    """Everything about energy."""
    found = [_equal_case(scene, policy, "best-cap") for scene in SCENES for policy in BASELINES]
    found += [_equal_case(DAILY, policy, how) for policy in BASELINES for how in ("full-clock", "nodes-stay-on")]
    found += [_equal_case(scene, policy, "best-cap", 10) for scene in SENSITIVITY for policy in ("tiresias", "elastic")]
    return [*found, *_frontier_cases(), _ablation_case(), _speed_case()]


# One trace, swept once.


@cache
def tables(scene: Scene) -> Mapping[str, Table]:
    """The kinds of jobs under the scene's assumptions."""
    curve_ = power.Config(cubic_w=power.Config().cubic_w * scene.cubic)
    return power.tables(profiles.fitted(scene.k), CLUSTER.nodes * CLUSTER.gpus_per_node, curve_)


@cache
def outcomes(scene: Scene, seed: int, policy: str, ablation: str = "") -> list[Setting]:
    """Every setting of a policy's knob on one trace."""
    config = traces.Config(JOBS, CLUSTER.nodes * CLUSTER.gpus_per_node, scene.load, single_gpu=scene.single_gpu)
    jobs = traces.philly_like(tables(scene), config, seed)
    changes, cluster = ABLATIONS.get(ablation, ({}, {}))
    return sweep(jobs, tables(scene), policy, CLUSTER, changes=changes, cluster=cluster)


How = Literal["best-cap", "full-clock", "nodes-stay-on"]


def reached(scene: Scene, seed: int, policy: str, how: How) -> tuple[float, float]:
    """(joules, seconds) of a baseline: at its best fixed cap or at full clock; its empty nodes are off, or stay on."""
    points = curve(outcomes(scene, seed, policy), off=how != "nodes-stay-on")
    if how == "best-cap":
        return best_product(points)
    return points[0] if policy == "zeus" else points[-1]


def powerflow_at(scene: Scene, seed: int, energy: float) -> float:
    """PowerFlow's completion time with that energy."""
    return at_energy(curve(outcomes(scene, seed, "powerflow"), off=True), energy)


def at_energy(points: Curve, energy: float) -> float:
    """As `seconds_at`; below the least energy of any setting, the product of energy and time is kept."""
    least, seconds = front(points)[0]
    return seconds * least / energy if energy < least else seconds_at(points, energy)


# Cases.


def _equal_case(scene: Scene, policy: str, how: How, trials: int = TRACES) -> Case:
    words = {
        "best-cap": "at its best fixed clock, empty nodes off for both",
        "full-clock": "at full clock, empty nodes off for both",
        "nodes-stay-on": "at full clock, its empty nodes stay on",
    }
    return Case(
        id=f"cluster/equal-energy/{scene.name}/{how}/{policy}/jct",
        title=f"Completion time at the energy of {policy} {words[how]}: {scene.name} traces",
        metric="jct",
        workload=_workload(scene) | {"energy": f"that of {policy}, {how}"},
        implementations=(
            _way(policy, "baseline", partial(_baseline_step, scene, policy, how), policy),
            _way("powerflow", "method", partial(_powerflow_step, scene, policy, how), "powerflow"),
        ),
        timed=False,
        no_limit="a property of traces and policies, not of this machine",
        devices=("cpu",),
        trials=trials,
    )


def _workload(scene: Scene) -> dict[str, Any]:
    return {
        "trace": f"{scene.name}, {JOBS} jobs",
        "load": scene.load,
        "gpus": CLUSTER.nodes * CLUSTER.gpus_per_node,
        "clock_exponent": scene.k,
        "cubic_power": scene.cubic,
        "budget": "power cap at every instant (A)",
    }


def _way(name: str, role: Literal["method", "baseline"], prepare: Callable[..., Step], module: str) -> Implementation:
    return Implementation(name, role, "simulated", prepare, note=SIMULATED, module=module)


def _baseline_step(scene: Scene, policy: str, how: How, _workload: Workload, _device: str) -> Step:
    seeds = count()
    return lambda: reached(scene, next(seeds), policy, how)[1]


def _powerflow_step(scene: Scene, policy: str, how: How, _workload: Workload, _device: str) -> Step:
    seeds = count()

    def step() -> float:
        seed = next(seeds)
        return powerflow_at(scene, seed, reached(scene, seed, policy, how)[0])

    return step


def _frontier_cases() -> list[Case]:
    """Every setting of every knob: one case for the time and one for the energy, joined by their names."""
    return [
        _frontier_case(number, metric)
        for number in range(max(_count(policy) for policy in POLICIES))
        for metric in ("jct", "energy_per_job")
    ]


def _count(policy: str) -> int:
    return len(settings(policy, 1))


def _frontier_case(number: int, metric: str) -> Case:
    def prepare(policy: str, setting: int, _workload: Workload, _device: str) -> Step:
        seeds = count()

        def step() -> float:
            one = outcomes(DAILY, next(seeds), policy)[setting]
            return one.seconds if metric == "jct" else one.off_j / JOBS / JOULES_PER_KWH

        return step

    ways = [
        _way(policy, "method", partial(prepare, policy, number), policy)
        for policy in POLICIES
        if number < _count(policy)
    ]
    return Case(
        id=f"cluster/frontier/setting-{number + 1}/{metric}",
        title=f"Time and energy of every policy at its setting {number + 1}",
        metric=metric,
        workload=_workload(DAILY) | {"knob": "highest clock; power cap for powerflow; eta for zeus"},
        implementations=(_way("fifo at full clock", "baseline", partial(prepare, "fifo", -1), "fifo"), *ways),
        timed=False,
        no_limit="a property of traces and policies, not of this machine",
        devices=("cpu",),
        trials=6,
    )


def _ablation_case() -> Case:
    """At the energy of the whole PowerFlow under the middle cap."""

    def prepare(ablation: str, _workload: Workload, _device: str) -> Step:
        seeds = count()

        def step() -> float:
            seed = next(seeds)
            whole = curve(outcomes(DAILY, seed, "powerflow"), off=True)
            own = curve(outcomes(DAILY, seed, "powerflow", ablation), off=ablation != "no-power-off")
            return at_energy(own, whole[3][0])

        return step

    ways = [_way(name, "method", partial(prepare, name), "powerflow") for name in ABLATIONS]
    return Case(
        id="cluster/ablations/daily/jct",
        title="PowerFlow without one of its parts, at equal energy",
        metric="jct",
        workload=_workload(DAILY) | {"energy": "that of the whole under 120 W a GPU"},
        implementations=(_way("powerflow", "baseline", partial(prepare, ""), "powerflow"), *ways),
        timed=False,
        no_limit="a property of traces and policies, not of this machine",
        devices=("cpu",),
        trials=TRACES,
    )


def _speed_case() -> Case:
    """256 GPUs and 2,000 jobs, simulated."""
    shape = Config(nodes=32)

    def prepare(policy: str, _workload: Workload, _device: str) -> Step:
        found = dict(power.tables(profiles.fitted(), 64, power.Config()))
        jobs = traces.philly_like(found, traces.Config(2000, 256, 0.7), 1)
        budget = Budget(cap_w=150.0 * 256) if policy == "powerflow" else Budget()
        own = policies()[policy]

        def step() -> None:
            simulate(jobs, found, own, own.Config(), cluster_for(policy, shape), budget)

        return step

    ways = [
        Implementation(name, "baseline" if name == "fifo" else "method", "kernel", partial(prepare, name), module=name)
        for name in POLICIES
    ]
    return Case(
        id="cluster/simulator/256-gpus-2000-jobs/step_time",
        title="Simulating 2,000 jobs on 256 GPUs",
        metric="step_time",
        workload={"gpus": 256, "jobs": 2000, "load": 0.7},
        implementations=tuple(ways),
        timed=True,
        no_limit="interpreted code, bound by no ceiling that is measured here",
        devices=("cpu",),
    )
