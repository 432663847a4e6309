"""The `plan` command's answers: what fits where and how fast it can be, as tables and as JSON."""

from dataclasses import asdict, dataclass
from math import isinf
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from reference_impls.cost_model import Option, Plan, Settings, Tables, load_tables, plan, rank
from reference_impls.cost_model.parameters import total_parameters
from reference_impls.cost_model.tables import find
from reference_impls.cost_model.words import ADVICE, LIMITS, PARTS
from scripts.catalogue.load import load_catalogue
from scripts.website.predictions import ModelError, measured_machines, model_error, predictions


@dataclass(frozen=True)
class Asked:
    """The names on the command line, as the tables spell them, and the settings."""

    model: str
    machine: str
    weights: str
    kv: str
    settings: Settings


@dataclass(frozen=True)
class Answer:
    """A plan with what stands beside it."""

    asked: Asked
    plan: Plan
    max_context: int
    options: list[Option]
    error: ModelError


def tables_with_results(root: Path) -> tuple[Tables, ModelError]:
    """The package's tables and the machines that this checkout has runs of; and how far the bounds are from these."""
    tables, runs = load_tables(), load_catalogue(root).runs
    machines = {**tables.machines, **measured_machines(runs)}
    error = model_error(predictions(tables, runs))
    return Tables(tables.models, machines, tables.weight_rows, tables.kv_rows), error


def answer(tables: Tables, error: ModelError, asked: Asked) -> Answer:
    """The plan; raises TableError with the nearest names for one that is not in the tables."""
    model, machine = find(tables.models, asked.model, "model"), find(tables.machines, asked.machine, "machine")
    weights = find(tables.weight_rows, asked.weights, "weight format")
    kv = find(tables.kv_rows, asked.kv, "cache format")
    known = Asked(model.name, machine.name, weights.name, kv.name, asked.settings)
    made = plan(model.shape, machine.machine, weights.format, kv.format, asked.settings)
    options = rank(model.shape, machine.machine, tables.weights, tables.kv, asked.settings)
    return Answer(known, made, model.max_context, options, error)


def as_json(found: Answer) -> dict[str, Any]:
    """Everything, for a program; an unbounded context is null."""
    options = [{**asdict(one), "plan": None, "tokens_per_s": one.plan.tokens_per_s} for one in found.options]
    result: dict[str, Any] = {
        "asked": asdict(found.asked),
        "plan": asdict(found.plan),
        "advice": ADVICE[found.plan.advice],
        "options": [{key: value for key, value in one.items() if key != "plan"} for one in options],
        "recorded": {key: getattr(found.error, key) for key in ("rows", "within_2", "beaten")},
    }
    if isinf(found.plan.longest_context):
        result["plan"]["longest_context"] = None
    return result


def gigabytes(size: float) -> str:
    """Bytes in units of 10^9, with three digits."""
    return f"{size / 1e9:.3g} GB" if size < 1e12 else f"{size / 1e12:.3g} TB"


def seconds(time: float) -> str:
    """A time with the unit that suits it."""
    if time >= 100:
        return f"{time:,.0f} s"
    return f"{time:.3g} s" if time >= 1 else f"{time * 1e3:.3g} ms" if time >= 1e-3 else f"{time * 1e6:.3g} µs"


def verdict(made: Plan) -> str:
    """Does it fit, and by how much."""
    if not made.fits:
        return f"Does not fit: {gigabytes(-made.spare_bytes)} more than the {gigabytes(made.usable_bytes)} usable."
    if made.streamed_bytes > 0:
        return f"Fits with {gigabytes(made.streamed_bytes)} of the weights streamed from the host in every step."
    return f"Fits: {gigabytes(made.total_bytes)} of {gigabytes(made.usable_bytes)} usable."


def _two_columns(title: str, rows: list[tuple[str, str, str]]) -> Table:
    table = Table(title=title, title_justify="left", show_header=False, box=None, pad_edge=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column(style="dim")
    for row in rows:
        table.add_row(*row)
    return table


def _memory(made: Plan) -> Table:
    rows = [(name, gigabytes(getattr(made, part)), "") for part, name in PARTS.items() if getattr(made, part)]
    rows += [("together", gigabytes(made.total_bytes), ""), ("usable", gigabytes(made.usable_bytes), "")]
    longest = "no end" if isinf(made.longest_context) else f"{made.longest_context:,.0f}"
    rows += [
        ("longest context that fits", longest, "tokens"),
        ("largest batch that fits", f"{made.largest_batch:,.0f}", ""),
    ]
    return _two_columns("Memory", rows)


def _times(made: Plan, settings: Settings) -> Table:
    rows = [
        ("time to the first token, at least", seconds(made.prefill_s), LIMITS[made.prefill.limit]),
        ("time per output token, at least", seconds(made.decode_s), LIMITS[made.decode.limit]),
        ("tokens per second, at most", f"{made.tokens_per_s:.4g}", f"all {settings.batch} sequences together"),
    ]
    if settings.draft_length:
        gain = f"{made.tokens_per_target_step:.3g} tokens per step of the model"
        rows.append(("gain by speculation, at most", f"{made.speculation_speedup:.3g} x", gain))
    return _two_columns("Time: bounds that nothing can beat, not forecasts", rows)


def _options(found: Answer) -> Table:
    title = f"What fits: {len(found.options)} pairs of formats; most bits first, the widest cache for each"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in ("weights", "cache"):
        table.add_column(name)
    for name in ("bits/weight", "memory", "tokens/s, at most"):
        table.add_column(name, justify="right")
    first: dict[str, Option] = {}
    for one in found.options:
        first.setdefault(one.weights, one)
    for one in first.values():
        memory, rate = gigabytes(one.plan.total_bytes), f"{one.plan.tokens_per_s:.4g}"
        table.add_row(one.weights, one.kv, f"{one.weight_bits:.2f}", memory, rate)
    return table


def error_words(error: ModelError) -> str:
    """How good the bounds are, from the recorded runs."""
    if not error.rows:
        return "No recorded run can be compared with these bounds."
    beaten = "none beats it" if error.beaten == 0 else f"{error.beaten} beat it"
    return f"Of {error.rows} recorded rows, {error.within_2} are within twice the bound, and {beaten}."


def report(found: Answer) -> Group:
    """What the command prints."""
    asked, made = found.asked, found.plan
    head = f"{asked.model} on {asked.machine}: weights {asked.weights}, cache {asked.kv},"
    head += f" {asked.settings.context:,} tokens, batch {asked.settings.batch}"
    parts: list[Text | Table] = [Text(head, "bold"), Text(verdict(made), "green" if made.fits else "red")]
    if 0 < found.max_context < asked.settings.context:
        parts.append(Text(f"The model was made for up to {found.max_context:,} tokens.", "yellow"))
    parts += [
        _memory(made),
        _times(made, asked.settings),
        Text(ADVICE[made.advice]),
        _options(found),
        Text(error_words(found.error), "dim"),
    ]
    return Group(*(part for one in parts for part in (one, Text())))


def listing(tables: Tables) -> Group:
    """The names that can be asked for."""
    models = Table("model", "parameters", "licence", box=None, pad_edge=False)
    for row in tables.models.values():
        models.add_row(row.name, f"{total_parameters(row.shape) / 1e9:.3g} B", row.licence)
    machines = Table("machine", "memory", "bandwidth", "", box=None, pad_edge=False)
    for one in tables.machines.values():
        rate = f"{one.machine.read_bytes_per_s / 1e9:,.0f} GB/s"
        machines.add_row(one.name, f"{one.machine.memory_bytes / 2**30:.0f} GiB", rate, one.title)
    formats = f"weights: {', '.join(tables.weight_rows)}\ncache: {', '.join(tables.kv_rows)}"
    return Group(models, Text(), machines, Text(), Text(formats))
