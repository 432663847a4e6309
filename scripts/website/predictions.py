"""The cost model held against recorded runs: machines as measured, bounds against times, what formats did to quality.

Nothing is stored: all of it follows from results/ and the package's tables.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from statistics import median

from reference_impls.cost_model import Machine, Settings, Shape, Tables, WeightFormat, plan
from reference_impls.cost_model.memory import matrix_bytes
from reference_impls.cost_model.records import Linear
from reference_impls.cost_model.tables import MachineRow
from reference_impls.cost_model.time import flops_rate
from scripts.catalogue.model import Measurement, Run
from scripts.website.enough import is_enough, too_few

CPU_SHARE = 0.8
"""Of a computer's memory, what a model may take."""


@dataclass(frozen=True)
class Prediction:
    """A recorded median beside the bound that the cost model sets to it. slower: measured time over the bound's."""

    case: str
    implementation: str
    format: str
    machine: str
    file: str
    bound: float
    measured: float
    unit: str
    slower: float


@dataclass(frozen=True)
class ModelError:
    """How far the bounds are from what was recorded."""

    rows: int
    within_2: int
    beaten: int  # by more than the tolerance
    tightest: Prediction | None
    loosest: Prediction | None
    machines: int


TOLERANCE = 1.1
"""A bound counts as beaten when the measured time is shorter by more than a tenth: the ceilings are measured too."""


def machine_of(run: Run) -> Machine | None:
    """The machine of a run with the ceilings measured in it, or None where it has no bandwidth.

    A CPU's 8-bit integer rate is not measured: four times float32 or twice bfloat16, the larger, is the most that
    vectors or tiles of the same width can do. 16-bit products can always be computed in float32.
    """
    ceilings, machine = run.ceilings, run.machine
    read = max(ceilings.read_bytes_per_s or 0, ceilings.copy_bytes_per_s or 0)
    if not read:
        return None
    float32 = ceilings.matmul_flops_per_s.get("float32", 0)
    bfloat16 = max(ceilings.matmul_flops_per_s.get("bfloat16", 0), float32)
    return Machine(
        memory_bytes=machine.gpu_memory_bytes or machine.memory_bytes,
        read_bytes_per_s=read,
        float32_flops_per_s=float32,
        bfloat16_flops_per_s=bfloat16,
        float8_flops_per_s=2 * bfloat16 if machine.gpu else 0,
        int8_flops_per_s=max(2 * bfloat16, 4 * float32),
        link_bytes_per_s=ceilings.host_to_device_bytes_per_s or 0,
        usable_share=0.9 if machine.gpu else CPU_SHARE,
    )


def measured_machines(runs: dict[str, Run]) -> dict[str, MachineRow]:
    """One row for each machine that runs were recorded on, with the best ceilings that any of them saw."""
    rows: dict[str, MachineRow] = {}
    for file, run in sorted(runs.items()):
        machine, name = machine_of(run), run.machine.name
        if machine is None:
            continue
        if name in rows:
            before = asdict(rows[name].machine)
            best = Machine(**{key: max(value, before[key]) for key, value in asdict(machine).items()})
            rows[name] = replace(rows[name], machine=best)
            continue
        kind = "data centre GPU" if run.machine.gpu else "CPU"
        threads = f", {run.machine.threads} thread{'s' if run.machine.threads > 1 else ''}"
        title = f"{run.machine.gpu or run.machine.cpu + threads} (measured here)"
        note = (
            "ceilings measured in the recorded runs; 8-bit rates are those that the 16- and 32-bit ones allow at most"
        )
        rows[name] = MachineRow(name, title, kind, file, "", "measured", machine, note)
    return rows


def predictions(tables: Tables, runs: dict[str, Run]) -> list[Prediction]:
    """Every recorded time or rate of a kernel, of samples enough, for which the cost model has a bound."""
    return [found for file, run in sorted(runs.items()) for found in _of_run(tables, file, run)]


def format_of_kernel(tables: Tables, implementation: str, gpu: bool = False) -> str | None:
    """The weight format that an implementation stores, by its recorded name."""
    for name, row in tables.weight_rows.items():
        if row.evidence and implementation in (row.evidence.gpu_kernels if gpu else row.evidence.kernels):
            return name
    return None


def _of_run(tables: Tables, file: str, run: Run) -> Iterator[Prediction]:
    machine = machine_of(run)
    for one in run.measurements:
        name = format_of_kernel(tables, one.implementation, run.machine.gpu is not None)
        if machine is None or name is None or one.effect != "kernel" or one.throttled or not is_enough(one):
            continue
        bound = _bound(tables, one, machine, tables.weights[name])
        if bound is None:
            continue
        measured = median(one.samples)
        slower = measured / bound if one.better == "lower" else bound / measured
        facts = (one.case, one.implementation, name, run.machine.name, file)
        yield Prediction(*facts, bound, measured, one.unit, slower)


def _bound(tables: Tables, one: Measurement, machine: Machine, form: WeightFormat) -> float | None:
    """The bound in the measurement's own unit, or None where this is not something that the model describes."""
    work = one.workload
    batch = work.get("batch", 1)
    if not isinstance(batch, int):
        return None
    if one.metric == "decode_throughput" and str(work.get("model")) in tables.models:
        cached = work.get("cached_tokens", work.get("context", 0))
        shape = tables.models[str(work["model"])].shape
        return decode_bound(shape, machine, form, tables, int(cached or 0), batch)
    rows, columns, layers = work.get("out"), work.get("in"), work.get("layers", 1)
    if one.metric == "step_time" and isinstance(rows, int) and isinstance(columns, int) and isinstance(layers, int):
        return layers * linear_bound(rows, columns, batch, machine, form)
    return None


def decode_bound(shape: Shape, machine: Machine, form: WeightFormat, tables: Tables, cached: int, batch: int) -> float:
    """Tokens a second, at most, with a cache in the width of the unrounded weights."""
    kv = tables.kv["float32" if form.bits == 32 else "bf16"]
    return plan(shape, machine, form, kv, Settings(context=cached + 1, batch=batch)).tokens_per_s


def linear_bound(rows: int, columns: int, batch: int, machine: Machine, form: WeightFormat) -> float:
    """Seconds of one linear layer, at least."""
    matrix = Linear(rows=rows, columns=columns, copies=1, share=1, heavy=False)
    rate = flops_rate(machine, form.compute)
    compute = 2 * batch * rows * columns / rate if rate else 0
    return max(matrix_bytes(matrix, 1, form) / machine.read_bytes_per_s, compute)


def model_error(found: list[Prediction]) -> ModelError:
    """Counts over all predictions."""
    return ModelError(
        rows=len(found),
        within_2=sum(one.slower <= 2 for one in found),
        beaten=sum(one.slower < 1 / TOLERANCE for one in found),
        tightest=min(found, key=lambda one: one.slower, default=None),
        loosest=max(found, key=lambda one: one.slower, default=None),
        machines=len({one.machine for one in found}),
    )


@dataclass(frozen=True)
class QualitySeen:
    """What the best of a format's methods did to perplexity, on one model. ratio: to the unrounded model's.

    few: where no method has samples enough to be called best, how few the one shown has, in words
    """

    model: str
    weights: str  # where that model's weights are from
    method: str
    ratio: float
    case: str
    machine: str
    file: str
    few: str


@dataclass(frozen=True)
class SpeedSeen:
    """How much of the bound a format's kernel reached on one machine, in percent: least and most over its cases."""

    implementation: str
    low: int
    high: int
    cases: int
    machine: str
    file: str


@dataclass(frozen=True)
class FormatEvidence:
    """All that was recorded for a format; exact: with the same groups and rounding."""

    exact: bool
    quality: list[QualitySeen]
    speed: list[SpeedSeen]


def evidence(tables: Tables, runs: dict[str, Run], found: list[Prediction]) -> dict[str, FormatEvidence]:
    """By weight format; formats of which nothing was recorded are left out."""
    result = {}
    for name, row in tables.weight_rows.items():
        if row.evidence is None:
            continue
        formats = (name, row.evidence.like)
        speed = _speed(one for one in found if one.format in formats)
        quality = _quality(row.evidence.group, row.evidence.methods, runs)
        if quality or speed:
            result[name] = FormatEvidence(row.evidence.exact, quality, speed)
    return result


def _speed(found: Iterable[Prediction]) -> list[SpeedSeen]:
    groups: dict[tuple[str, str, str], list[float]] = {}
    for one in found:
        groups.setdefault((one.implementation, one.machine, one.file), []).append(min(100.0, 100 / one.slower))
    return [
        SpeedSeen(implementation, round(min(shares)), round(max(shares)), len(shares), machine, file)
        for (implementation, machine, file), shares in sorted(groups.items())
    ]


def _quality(group: str, methods: tuple[str, ...], runs: dict[str, Run]) -> list[QualitySeen]:
    """The method of least perplexity for every model of the cases whose id has `group` as a part.

    Those of too few samples give way to any other.
    """
    best: dict[str, QualitySeen] = {}
    for file, run in sorted(runs.items()):
        rows = [one for one in run.measurements if one.metric == "perplexity" and group in one.case.split("/")]
        base = {one.case: one for one in rows if one.role == "baseline"}
        for one in rows:
            if one.implementation not in methods or one.case not in base:
                continue
            model = str(one.workload.get("model", ""))
            against = base[one.case]
            ratio, few = median(one.samples) / median(against.samples), too_few((one, against))
            if model not in best or (bool(few), ratio) < (bool(best[model].few), best[model].ratio):
                facts = (one.case, run.machine.name, file, few)
                origin = str(one.workload.get("weights", ""))
                best[model] = QualitySeen(model, origin, one.implementation, round(ratio, 4), *facts)
    return [best[model] for model in sorted(best)]
