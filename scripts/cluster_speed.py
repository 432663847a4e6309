"""What spreading over Ray costs a case, and what a second processor gives a sweep; measured on this machine.

Every round runs the same cases, and the same points of a simulator, in a new process without Ray and on a new cluster
of this machine. The cluster's start is told apart: it is paid once, however many cases follow.
"""

import json
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

from scripts.catalogue.files import write_atomically

RECORD = "site/data/cluster-speed.json"
OVERHEAD = 0.05
"""The most that a case may take longer on a cluster, as a share of its own time."""
SCALING = 1.7
"""The least that two processors must bring a sweep."""
CASES = tuple(f"serving/{trace}/load-{load}/jct" for trace in ("bimodal", "conversation", "zipf") for load in (50, 90))
"""Of about two seconds each: short for a case, so that what Ray adds weighs much."""
FUNCTION = "serving.sweeps:simulate"
POINTS = 24


@dataclass(frozen=True)
class Round:
    """Seconds of one round, by the wall."""

    start: float
    """From nothing to a cluster whose workers have loaded the library."""
    cases_plain: float
    cases_ray: float
    sweep_plain: float
    sweep_ray: float


@dataclass(frozen=True)
class Record:
    """What was measured, where and when."""

    measured: str
    commit: str
    machine: dict[str, Any]
    ray: str
    processors: int
    """That the sweep was spread over."""
    cases: list[str]
    function: str
    points: int
    rounds: list[Round] = field(default_factory=list)

    @property
    def overhead(self) -> float:
        """How much longer a case takes on a cluster, as a share; median over the rounds."""
        return median(one.cases_ray / one.cases_plain for one in self.rounds) - 1

    @property
    def overhead_s(self) -> float:
        """The same in seconds a case."""
        return median(one.cases_ray - one.cases_plain for one in self.rounds) / len(self.cases)

    @property
    def case_s(self) -> float:
        """Seconds of a case without Ray."""
        return median(one.cases_plain for one in self.rounds) / len(self.cases)

    @property
    def scaling(self) -> float:
        """How many times as fast the sweep is; median over the rounds."""
        return median(one.sweep_plain / one.sweep_ray for one in self.rounds)

    @property
    def scaling_with_start(self) -> float:
        """The same with the cluster's start counted."""
        return median(one.sweep_plain / (one.sweep_ray + one.start) for one in self.rounds)

    @property
    def start_s(self) -> float:
        """Seconds until the workers can begin."""
        return median(one.start for one in self.rounds)

    @property
    def passed(self) -> bool:
        """Whether both bars are kept."""
        return self.overhead <= OVERHEAD and self.scaling >= SCALING


def load_record(root: Path) -> Record | None:
    """What was recorded last; nothing where there is no record."""
    path = root / RECORD
    if not path.exists():
        return None
    data = json.loads(path.read_text("utf-8"))
    return Record(**data | {"rounds": [Round(**one) for one in data["rounds"]]})


def save_record(root: Path, record: Record) -> Path:
    """Keep it where the site's build finds it."""
    write_atomically(root / RECORD, json.dumps(asdict(record), indent=1) + "\n")
    return root / RECORD


def measure_speed(
    root: Path,
    *,
    cases: Sequence[str] = CASES,
    points: int = POINTS,
    rounds: int = 3,
    say: Callable[[str], None] = lambda _: None,
) -> Record:
    """Measure; minutes. Raises ClusterError where Ray cannot be used."""
    from importlib.metadata import version

    from scripts.bench.machine import code_facts, machine_facts

    processors = os.cpu_count() or 1
    grid = [{"policy": "fastserve", "load": 0.9, "requests": 2000, "seed": seed} for seed in range(points)]
    commit = str(code_facts(root, "serving")["commit"])
    now, facts = datetime.now(UTC).isoformat(timespec="seconds"), machine_facts("cpu")
    record = Record(now, commit, facts, version("ray"), processors, [*cases], FUNCTION, points)
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}, without Ray")
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            plain = pool.submit(_plain_cases, cases).result(), pool.submit(_plain_sweep, grid).result()
        say(f"round {number + 1} of {rounds}, on a cluster")
        start, spread_cases, spread_sweep = _on_cluster(root, cases, grid, processors)
        record.rounds.append(Round(start, plain[0], spread_cases, plain[1], spread_sweep))
    return record


def _load() -> None:
    """What every process does before it is timed."""
    import torch

    from scripts.bench.cases import all_cases

    torch.set_num_threads(1)
    all_cases()


def _plain_cases(names: Sequence[str]) -> float:
    from reference_impls.measurement.case import Ceilings
    from scripts.bench.cases import all_cases
    from scripts.bench.runner import Budget, run_case

    _load()
    by_id = {case.id: case for case in all_cases()}
    begin = time.perf_counter()
    for name in names:
        run_case(by_id[name], "cpu", Ceilings(), Budget())
    return time.perf_counter() - begin


def _plain_sweep(grid: Sequence[dict[str, Any]]) -> float:
    from scripts.bench.sweep import call

    _load()
    call(FUNCTION, grid[0])
    begin = time.perf_counter()
    for point in grid:
        call(FUNCTION, point)
    return time.perf_counter() - begin


def _ready(_: int) -> None:
    """A worker's first task: load what the others need, and leave time for another worker to take one too."""
    _load()
    time.sleep(1)


def _on_cluster(
    root: Path, cases: Sequence[str], grid: Sequence[dict[str, Any]], processors: int
) -> tuple[float, float, float]:
    """Start, cases one at a time, and the sweep over all processors, in seconds."""
    from scripts.bench.cluster import LOCAL, _connect, _ray, measure, spread
    from scripts.bench.runner import Budget
    from scripts.bench.sweep import call

    ray = _ray()
    begin = time.perf_counter()
    _connect(ray, LOCAL, {}, root)
    try:
        _spent(spread(_ready, [(n,) for n in range(processors)], LOCAL, root=root))
        items = [(name, "cpu", 1, asdict(Budget()), None) for name in cases]
        alone = processors  # so that no two share the machine, as without Ray
        start = time.perf_counter() - begin
        _spent(spread(_node_ready, [()], LOCAL, cpus=alone, root=root))
        spent = _spent(spread(measure, items, LOCAL, cpus=alone, root=root))
        _spent(spread(call, [(FUNCTION, grid[0])] * processors, LOCAL, root=root))
        return start, spent, _spent(spread(call, [(FUNCTION, point) for point in grid], LOCAL, root=root))
    finally:
        ray.shutdown()


def _node_ready() -> None:
    from scripts.bench.cluster import _node_ceilings

    _node_ceilings("cpu")  # measured once a node, by the first case that comes; a plain run does it before its cases


def _spent(outcomes: Any) -> float:
    begin = time.perf_counter()
    for _, outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome
    return time.perf_counter() - begin
