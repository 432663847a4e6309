"""The planner's page: its data, its script made from the cost model, and what it shows without JavaScript."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import reference_impls.cost_model as cost_model
from reference_impls.cost_model import KvFormat, Machine, Shape, Tables, WeightFormat, load_tables, plan
from reference_impls.cost_model import Settings as Asked
from reference_impls.cost_model.parameters import total_parameters
from reference_impls.cost_model.tables import FormatRow, MachineRow, Model
from reference_impls.cost_model.words import ADVICE, LIMITS, PARTS
from scripts.catalogue.model import Run
from scripts.website.predictions import ModelError, evidence, measured_machines, model_error, predictions
from scripts.website.remember import Memory
from scripts.website.settings import Settings
from scripts.website.transpile import transpile

SOURCES = ("records", "parameters", "memory", "time", "planning")
SCRIPT_HREF = "assets/js/cost-model.js"
DATA_HREF = "planner/data.json"
SIZES = ((1e9, "up to 1 billion"), (4e9, "1 to 4 billion"), (1e10, "4 to 10 billion"), (4e10, "10 to 40 billion"))
OVER = "over 40 billion"
STATIC_FORMATS = ("bf16", "fp8", "int8", "int4-g128", "gguf-q4_k_m")
STATIC_MACHINES = (("rtx-4090", "a 24 GB card"), ("h100-sxm", "an 80 GB card"))
STATIC_CONTEXT = 8192
STATIC = Memory("fits", [Path(__file__), *sorted(Path(cost_model.__file__).parent.glob("*.py"))])


@dataclass(frozen=True)
class StaticRow:
    """A model on one machine. cells: for each format (fits, text)."""

    title: str
    parameters: str
    cells: list[tuple[bool, str]]


@dataclass(frozen=True)
class StaticTable:
    """What fits on one machine, at one context and batch 1."""

    title: str
    short: str
    id: str
    columns: list[str]
    rows: list[StaticRow]
    left_out: int


@dataclass(frozen=True)
class Planner:
    """Everything that the page needs."""

    tables: Tables
    error: ModelError
    data: dict[str, Any]


def make_planner(runs: dict[str, Run], settings: Settings) -> Planner:
    """The tables with the measured machines, and what was recorded of each format."""
    tables = load_tables()
    found = predictions(tables, runs)
    both = Tables(tables.models, {**tables.machines, **measured_machines(runs)}, tables.weight_rows, tables.kv_rows)
    seen = evidence(tables, runs, found)
    data = {
        "defaults": {
            "shape": _defaults(Shape),
            "machine": _defaults(Machine),
            "weights": _defaults(WeightFormat),
            "kv": _defaults(KvFormat),
        },
        "models": {name: _model(row) for name, row in both.models.items()},
        "machines": {name: _machine(row) for name, row in both.machines.items()},
        "weights": {name: _format(row) | _seen(seen.get(name)) for name, row in both.weight_rows.items()},
        "kv": {name: _format(row) for name, row in both.kv_rows.items()},
        "files": {file: f"{settings.repo_url}/blob/{settings.commit or 'main'}/{file}" for file in sorted(runs)},
        "words": {"limits": LIMITS, "advice": ADVICE, "parts": PARTS},
    }
    return Planner(both, model_error(found), data)


def _defaults(kind: type[Any]) -> dict[str, Any]:
    return {field.name: field.default for field in fields(kind) if isinstance(field.default, bool | int | float | str)}


def _changed(record: Any) -> dict[str, Any]:
    """The fields that differ from their defaults."""
    defaults = _defaults(type(record))
    return {key: value for key, value in asdict(record).items() if key not in defaults or defaults[key] != value}


def _model(row: Model) -> dict[str, Any]:
    facts = {"title": row.title, "licence": row.licence, "source": row.source} | _origin(row)
    return facts | {"max_context": row.max_context, "shape": _changed(row.shape)}


def _machine(row: MachineRow) -> dict[str, Any]:
    facts = {"title": row.title, "source": row.source, "link": row.link, "note": row.note} | _origin(row)
    return facts | {"machine": _changed(row.machine)}


def _origin(row: Model | MachineRow) -> dict[str, str]:
    """How a row's figures came here, and the link of what they were compared with."""
    return {"seen": row.seen} | ({"compared": row.compared} if row.compared else {})


def _format(row: FormatRow) -> dict[str, Any]:
    return {"title": row.title, "words": row.words, "format": _changed(row.format)}


def _seen(found: Any) -> dict[str, Any]:
    return {"evidence": asdict(found)} if found else {}


def planner_files(planner: Planner) -> dict[str, str]:
    """The page's data and script: path from the site's root -> text."""
    folder = Path(cost_model.__file__).parent
    script = "// Generated from reference_impls/cost_model; the Python functions are the source.\n"
    script += transpile(folder / f"{name}.py" for name in SOURCES)
    data = json.dumps(planner.data, ensure_ascii=False, separators=(",", ":"))
    return {SCRIPT_HREF: script, DATA_HREF: data + "\n"}


def planner_context(planner: Planner) -> dict[str, Any]:
    """What the template shows: the choices of the form, the static tables, the model's own error."""
    tables = planner.tables
    kinds = list(dict.fromkeys(row.kind for row in tables.machines.values() if row.seen != "measured"))
    machines = [
        (kind, [(name, row.title) for name, row in tables.machines.items() if row.kind == kind and row.link])
        for kind in kinds
    ]
    measured = [(name, row.title) for name, row in tables.machines.items() if row.seen == "measured"]
    return {
        "models": _models_by_size(tables),
        "machines": [*machines, *([("measured here", measured)] if measured else [])],
        "weights": [(name, row.title) for name, row in tables.weight_rows.items()],
        "kv": [(name, row.title) for name, row in tables.kv_rows.items()],
        "weight_rows": [(row.title, row.words) for row in tables.weight_rows.values()],
        "kv_rows": [(row.title, row.words) for row in tables.kv_rows.values()],
        "machine_rows": list(tables.machines.values()),
        "model_count": len(tables.models),
        "static": [static_table(tables, name, short) for name, short in STATIC_MACHINES],
        "context": STATIC_CONTEXT,
        "error": planner.error,
        "data_href": DATA_HREF,
    }


def _models_by_size(tables: Tables) -> list[tuple[str, list[tuple[str, str]]]]:
    groups: dict[str, list[tuple[str, str]]] = {name: [] for name in (*(name for _, name in SIZES), OVER)}
    for row in tables.models.values():
        size = total_parameters(row.shape)
        group = next((name for limit, name in SIZES if size <= limit), OVER)
        groups[group].append((row.name, row.title))
    return [(f"{name} parameters", sorted(rows, key=lambda row: row[1].casefold())) for name, rows in groups.items()]


def static_table(tables: Tables, machine: str, short: str) -> StaticTable:
    """Every model that fits in some format, with the most tokens a second that memory and arithmetic allow."""
    where, weights, kv = tables.machine(machine), tables.weights, tables.kv["bf16"]
    formats = {name: weights[name] for name in STATIC_FORMATS}
    rows = [_static_row(row, where, formats, kv) for row in tables.models.values()]
    kept = [row for row in rows if any(fits for fits, _ in row.cells)]
    columns = [tables.weight_rows[name].title for name in STATIC_FORMATS]
    title = tables.machines[machine].title
    return StaticTable(title, short, f"fits-{machine}", columns, kept, len(rows) - len(kept))


def _static_row(row: Model, machine: Machine, weights: dict[str, WeightFormat], kv: KvFormat) -> StaticRow:
    """Made once for a model, a machine and formats: the rows of both tables are more than a thousand plans."""
    cells = STATIC.get(repr((row, machine, weights, kv)).encode(), lambda: _cells(row, machine, weights, kv))
    return StaticRow(row.title, f"{total_parameters(row.shape) / 1e9:,.3g}", [(fits, text) for fits, text in cells])


def _cells(row: Model, machine: Machine, weights: dict[str, WeightFormat], kv: KvFormat) -> list[tuple[bool, str]]:
    asked = Asked(context=min(STATIC_CONTEXT, row.max_context or STATIC_CONTEXT))
    found = []
    for stored in weights.values():
        made = plan(row.shape, machine, stored, kv, asked)
        size = f"{made.total_bytes / 1e9:,.0f} GB"
        found.append((made.fits, f"{made.tokens_per_s:,.0f}" if made.fits else f"no: {size}"))
    return found
