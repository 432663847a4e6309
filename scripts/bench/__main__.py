"""Run the benchmarks: `python -m scripts.bench [SUITE|CASE …]`; needs torch and numpy, as a bare CUDA image has them.

python -m scripts.bench --list
python -m scripts.bench quantization
python -m scripts.bench --verify quantization/decode

`python -m scripts bench …` is the same. Peers run where they are installed: torchao, transformers, bitsandbytes,
optimum-quanto. What is not here is recorded as not installed. Some may be in a Python of their own, which a variable
names: $LLAMA_CPP_PYTHON, $LLMCOMPRESSOR_PYTHON, $WASM_PYTHON and $WASM_OLD_PYTHONS (engines for WebAssembly),
$VISION_PYTHON (OpenCV and onnxruntime). Files: $SMOLLM2_GGUF is SmolLM2's (reference_impls/models/smollm2.py says how
to get it), $STREET_VIDEO and $SSDLITE_ONNX are the detectors' frames and network.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import torch

from reference_impls.measurement.case import Case, Ceilings
from scripts.bench.cases import all_cases
from scripts.bench.ceilings import larger, measure_ceilings
from scripts.bench.machine import code_facts, machine_facts
from scripts.bench.record import Journal, RunHead, write_run
from scripts.bench.runner import Budget, find, run_case, with_limits
from scripts.bench.verify import verify
from scripts.bench.workers import Job, compute

ROOT = Path(__file__).resolve().parents[2]
FRESH_S = 60.0
_LAST: dict[str, tuple[float, Ceilings]] = {}
"""Of each device, what this process measured last, and when."""


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, run, write; -> the exit code."""
    arguments = _parse(argv)
    torch.set_num_threads(arguments.threads)
    try:
        chosen = find(all_cases(), arguments.names, arguments.device)
    except ValueError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    if arguments.list:
        for case in chosen:
            names = ", ".join(f"{one.name} ({one.role})" for one in case.implementations)
            print(f"{case.id}: {case.title}; {case.metric}; {names}")  # noqa: T201
        return 0
    budget = Budget(max_seconds=arguments.seconds, seed=arguments.seed)
    if arguments.verify:
        return verify(arguments.root, chosen, arguments.device, budget, _say)
    for suite in dict.fromkeys(case.id.partition("/")[0] for case in chosen):
        cases = [case for case in chosen if case.id.startswith(suite + "/")]
        run = _on_cluster if arguments.ray else _run_suite
        if code := run(suite, cases, arguments, budget):
            return code
    return 0


def _on_cluster(suite: str, cases: list[Case], arguments: argparse.Namespace, budget: Budget) -> int:
    from scripts.bench.cluster import ClusterError, Demand, run_on_cluster

    command = "python -m scripts.bench " + " ".join(arguments.given)
    head = RunHead(suite, command, now(), code_facts(ROOT, suite), {}, Ceilings())
    demand = Demand(arguments.device, arguments.threads, arguments.cpus_per_case or arguments.threads)
    try:
        for path in run_on_cluster(cases, demand, budget, head, arguments.ray, arguments.root, _say):
            _say(f"wrote {path.relative_to(arguments.root)}")
    except ClusterError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    except KeyboardInterrupt:
        _say("stopped; what was finished is kept, and the same command goes on from there")
        return 130
    return 0


def _run_suite(suite: str, cases: list[Case], arguments: argparse.Namespace, budget: Budget) -> int:
    machine = machine_facts(arguments.device)
    command = "python -m scripts.bench " + " ".join(arguments.given)
    ceilings = _ceilings(arguments.device, FRESH_S)
    head = RunHead(suite, command.strip(), now(), code_facts(ROOT, suite), machine, ceilings)
    journal = Journal(arguments.root / "build" / "bench" / f"{machine['name']}-{suite}.jsonl", head)
    order = values_first(cases)
    for case in order:
        if case.id in journal.finished:
            _say(f"{case.id}: finished before, kept")
    _compute_beside(order, journal, arguments, budget)
    for number, case in enumerate(order, 1):
        if case.id in journal.finished:
            continue
        _say(f"[{number}/{len(order)}] {case.id}; {_time_left(order[number - 1 :], budget)}")
        journal.add(case.id, run_case(case, arguments.device, journal.head.ceilings, budget, _say))
    ceilings = larger(journal.head.ceilings, _ceilings(arguments.device))
    results = [with_limits(case, journal.finished[case.id], ceilings) for case in cases]
    path = write_run(arguments.root, replace(journal.head, ceilings=ceilings), now(), results)
    journal.path.unlink()
    _say(f"wrote {path.relative_to(arguments.root)}")
    return 0


def _compute_beside(cases: Sequence[Case], journal: Journal, arguments: argparse.Namespace, budget: Budget) -> None:
    """Several processes at once for the values that nothing else on the machine can change."""
    left = [case for case in cases if case.deterministic and case.id not in journal.finished]
    if arguments.device != "cpu" or arguments.workers < 2 or len(left) < 2:
        return
    _say(f"{len(left)} deterministic cases in {arguments.workers} processes")
    job = Job(all_cases, arguments.device, arguments.threads, journal.head.ceilings, budget)
    for number, (case, result) in enumerate(compute(left, job, arguments.workers), 1):
        journal.add(case, result)
        _say(f"[{number}/{len(left)}] {case}")


def _ceilings(device: str, fresh_s: float = 0.0) -> Ceilings:
    """Measure the machine, or take what was measured at the end of the suite before, not longer ago than this."""
    when, known = _LAST.get(device, (0.0, Ceilings()))
    if time.monotonic() - when > fresh_s:
        _say("measuring what this machine can do at most")
        known = measure_ceilings(device)
        _LAST[device] = time.monotonic(), known
    return known


def values_first(cases: Sequence[Case]) -> list[Case]:
    """What is timed comes last, since values may be computed on a machine that is busy, and times may not."""
    return sorted(cases, key=lambda case: case.timed)


def _time_left(cases: Sequence[Case], budget: Budget) -> str:
    """What is known of the time still needed: that of timed cases is bounded, that of values is not."""
    timed = sum(case.timed for case in cases)
    values = f" and {len(cases) - timed} values" if timed < len(cases) else ""
    return f"left: at most {timed * budget.max_seconds / 60:.0f} min of timing{values}"


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m scripts.bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="SUITE|CASE", help="what to run; everything by default")
    parser.add_argument("--list", action="store_true", help="list the cases and leave")
    parser.add_argument("--verify", action="store_true", help="run recorded cases again and compare; writes nothing")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1, help="of torch; more are unsteady on busy machines")
    workers = min(os.cpu_count() or 1, 4)
    parser.add_argument("--workers", type=int, default=workers, help="processes for values that nothing can disturb")
    parser.add_argument("--seconds", type=float, default=Budget.max_seconds, help="at most, for one case")
    parser.add_argument("--ray", metavar="ADDRESS", help='spread the cases over a Ray cluster; "local" starts one here')
    parser.add_argument("--cpus-per-case", type=float, help="with --ray; a node's number gives timed cases all of it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--root", type=Path, default=ROOT, help="where results/ and build/ are; this checkout")
    given = sys.argv[1:] if argv is None else [*argv]
    return parser.parse_args(given, argparse.Namespace(given=given))


def now() -> str:
    """The time as records hold it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
