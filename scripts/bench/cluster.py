"""Cases spread over a Ray cluster: one task a case, with the processors and the GPU that it needs to itself.

The driver alone writes: a line of a journal as soon as a case is finished, results/<machine>/ at the end. A worker or a
node that dies loses the case that it was running, which Ray starts again elsewhere; a driver that is stopped keeps what
was finished, and the next start goes on from there. Each case is recorded once, however often it had to be started.
"""

import fcntl
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from reference_impls.measurement.case import Case, Ceilings
from reference_impls.models.smollm2 import VARIABLE
from scripts.bench.record import Journal, RunHead, journals, write_run
from scripts.bench.runner import Budget, CaseResult, with_limits

LOCAL = "local"
RETRIES = 5
"""How often a case is started again after its worker or node died."""
NOT_SHIPPED = ("build", "public", "dist", "node_modules", "entries", "techniques", "results", "site", "tests", ".*")
"""What a worker does not need of the checkout."""


@dataclass(frozen=True)
class Demand:
    """What every case is given: processors, threads of torch, and the device."""

    device: str
    threads: int = 1
    cpus: float = 1


class ClusterError(RuntimeError):
    """The cluster cannot be used; the message says why and what to do."""


def spread(
    work: Callable[..., Any],
    items: Sequence[tuple[Any, ...]],
    address: str,
    *,
    cpus: float = 1,
    gpus: float = 0,
    env: dict[str, str] | None = None,
    root: Path,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[tuple[int, Any]]:
    """Run `work(*item)` for every item on a cluster; -> (index, result or the exception), as they finish.

    address: of a running cluster ("auto", "host:6379", "ray://host:10001"), or "local" for one of this machine's
    processes. Stopping the iteration, by an exception too, cancels what still runs.
    """
    ray = _ray()
    own = _connect(ray, address, env or {}, root)
    try:
        remote = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES)(work)
        pending = {remote.remote(*item): index for index, item in enumerate(items)}
        try:
            while pending:
                done, _ = ray.wait([*pending], num_returns=1, timeout=10)
                if not done:
                    say(f"{len(pending)} of {len(items)} left; {_shape(ray)}")
                for reference in done:
                    yield pending.pop(reference), _outcome(ray, reference)
        finally:
            for reference in pending:
                ray.cancel(reference, force=True, recursive=True)
    finally:
        if own:
            ray.shutdown()


def _ray() -> Any:
    try:
        import ray
    except ModuleNotFoundError:
        raise ClusterError("Ray is not installed: pip install 'frugalfm[ray]'") from None
    return ray


def _connect(ray: Any, address: str, env: dict[str, str], root: Path) -> bool:
    """Join the cluster, or start one here; -> whether we did. A program that has joined one already keeps it."""
    if ray.is_initialized():
        return False
    shipped = {"working_dir": str(root), "excludes": [f"/{name}" for name in NOT_SHIPPED], "env_vars": env}
    where: dict[str, Any] = {"address": address, "runtime_env": shipped}
    if address == LOCAL:  # workers of this machine read the checkout itself
        paths = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
        where = {
            "address": "local",
            "include_dashboard": False,
            "runtime_env": {"env_vars": env | {"PYTHONPATH": paths}},
        }
    try:
        ray.init(log_to_driver=False, logging_level="error", **where)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ClusterError(f"no cluster at {address}: {' '.join(str(error).split())[:200]}") from None
    return True


def _shape(ray: Any) -> str:
    alive = [node for node in ray.nodes() if node["Alive"]]
    cpus = sum(node["Resources"].get("CPU", 0) for node in alive)
    return f"{len(alive)} nodes, {cpus:g} processors"


def _outcome(ray: Any, reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        return error


def run_on_cluster(
    cases: Sequence[Case],
    demand: Demand,
    budget: Budget,
    head: RunHead,
    address: str,
    root: Path,
    say: Callable[[str], None],
) -> list[Path]:
    """Run the cases of one suite and write what each kind of machine measured; -> the files.

    head: the suite, the command, the commit; machine and ceilings come from the nodes. root: the checkout.
    """
    held = journals(root, head.suite, head.code)
    finished = {case for journal in held.values() for case in journal.finished}
    left = [case for case in cases if case.id not in finished]
    if finished:
        say(f"{head.suite}: {len(finished)} cases finished before, kept")
    model = _model_bytes()
    items = [(case.id, demand.device, demand.threads, asdict(budget), model) for case in left]
    gpus = 1 if demand.device == "cuda" else 0
    answers = spread(measure, items, address, cpus=demand.cpus, gpus=gpus, root=root, say=say) if items else iter(())
    for count, (index, answer) in enumerate(answers, 1):
        case = left[index]
        if isinstance(answer, Exception):
            say(f"[{count}/{len(left)}] {case.id}: failed; {' '.join(str(answer).split())[-200:]}")
            continue
        machine, ceilings, result = answer["machine"], Ceilings(**answer["ceilings"]), CaseResult(**answer["result"])
        journal = held.get(machine["name"]) or _journal(root, replace(head, machine=machine, ceilings=ceilings))
        held[machine["name"]] = journal
        if case.id not in journal.finished:
            journal.add(case.id, result)
        say(f"[{count}/{len(left)}] {case.id} on {machine['name']}, {answer['node']}")
    return [_write(root, journal, cases) for journal in held.values()]


def _journal(root: Path, head: RunHead) -> Journal:
    return Journal(root / "build" / "bench" / f"{head.machine['name']}-{head.suite}.jsonl", head)


def _write(root: Path, journal: Journal, cases: Sequence[Case]) -> Path:
    from scripts.bench.__main__ import now

    measured = [case for case in cases if case.id in journal.finished]
    results = [with_limits(case, journal.finished[case.id], journal.head.ceilings) for case in measured]
    path = write_run(root, journal.head, now(), results)
    journal.path.unlink()
    return path


def _model_bytes() -> bytes | None:
    """SmolLM2's file, where this machine names one: it travels with the cases."""
    path = os.environ.get(VARIABLE)
    return Path(path).read_bytes() if path and Path(path).exists() else None


def measure(case_id: str, device: str, threads: int, budget: dict[str, Any], model: bytes | None) -> dict[str, Any]:
    """On a node: run one case. -> the node's machine facts, its ceilings, and the case's result, as plain data."""
    import torch

    from scripts.bench.cases import all_cases
    from scripts.bench.machine import machine_facts
    from scripts.bench.runner import run_case

    torch.set_num_threads(threads)
    if model is not None:
        os.environ[VARIABLE] = str(_kept(model))
    [case] = [one for one in all_cases() if one.id == case_id]
    ceilings = _node_ceilings(device)
    result = run_case(case, device, ceilings, Budget(**budget))
    return {
        "machine": machine_facts(device),
        "node": os.uname().nodename,
        "ceilings": asdict(ceilings),
        "result": {"measurements": result.measurements, "unavailable": result.unavailable},
    }


def _kept(model: bytes) -> Path:
    """The model as a file of this node, written once."""
    path = Path(tempfile.gettempdir()) / f"frugalfm-{blake2b(model, digest_size=12).hexdigest()}.gguf"
    if not path.exists():
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as stream:
            stream.write(model)
        Path(stream.name).replace(path)
    return path


def _node_ceilings(device: str) -> Ceilings:
    """What this node can do at most: measured by the first case that comes here, read by the others of the run."""
    from scripts.bench.ceilings import measure_ceilings

    ray = _ray()
    run = ray.get_runtime_context().get_job_id()
    node = ray.get_runtime_context().get_node_id()
    path = Path(tempfile.gettempdir()) / f"frugalfm-ceilings-{run}-{node[:12]}-{device}.json"
    with path.open("a+", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)  # another case of this node waits, and neither disturbs the other
        stream.seek(0)
        if text := stream.read():
            return Ceilings(**json.loads(text))
        ceilings = measure_ceilings(device)
        stream.write(json.dumps(asdict(ceilings)))
    return ceilings
