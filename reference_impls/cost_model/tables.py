"""The tables that come with the package: models, machines, formats. Read with the standard library, checked whole.

A table is a JSON file `{"about": …, "rows": […]}` in `data/`; every row has a name, and every value a rule.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from reference_impls.cost_model.records import KvFormat, Machine, Shape, WeightFormat

Row = TypeVar("Row")
DATA = Path(__file__).parent / "data"
SEEN = ("source", "secondary", "memory", "measured")
KINDS = (
    "CPU",
    "board",
    "data centre GPU",
    "data centre accelerator",
    "desktop GPU",
    "laptop or desktop",
    "phone",
    "workstation GPU",
)
COMPUTE = ("bfloat16", "float32", "float8", "int8")


class TableError(ValueError):
    """What is wrong with a table: one line for every value, with file, row, field, value and rule."""


@dataclass(frozen=True)
class Model:
    """A model with its shape, where the shape is from, and the publisher's own count of its weights."""

    name: str
    title: str
    source: str
    seen: str
    licence: str
    published_parameters: float
    shape: Shape
    published_active: float = 0
    max_context: int = 0  # tokens; 0: no limit
    compared: str = ""  # link of the public configuration that a "secondary" shape was compared with


@dataclass(frozen=True)
class MachineRow:
    """A machine with where its figures are from."""

    name: str
    title: str
    kind: str
    source: str
    link: str
    seen: str
    machine: Machine
    note: str = ""
    compared: str = ""  # link of the page that a "secondary" row was compared with


@dataclass(frozen=True)
class Evidence:
    """Which recorded runs of this project speak for a format.

    group: part of the case's id; methods: names of what rounds like this; kernels, gpu_kernels: names of what
    multiplies by weights stored in just this format; like: the format whose kernels speak for it too; exact: False
    where the methods were run with other groups or rounding.
    """

    group: str
    methods: tuple[str, ...]
    kernels: tuple[str, ...]
    gpu_kernels: tuple[str, ...]
    exact: bool
    like: str = ""


@dataclass(frozen=True)
class FormatRow:
    """A weight or cache format in words and as a record."""

    name: str
    title: str
    words: str
    format: Any
    evidence: Evidence | None = None


@dataclass(frozen=True)
class Tables:
    """Everything that comes with the package, by name."""

    models: Mapping[str, Model]
    machines: Mapping[str, MachineRow]
    weight_rows: Mapping[str, FormatRow]
    kv_rows: Mapping[str, FormatRow]

    @property
    def weights(self) -> dict[str, WeightFormat]:
        """Weight formats by name."""
        return {name: row.format for name, row in self.weight_rows.items()}

    @property
    def kv(self) -> dict[str, KvFormat]:
        """Cache formats by name."""
        return {name: row.format for name, row in self.kv_rows.items()}

    def shape(self, name: str) -> Shape:
        """A model's shape; raises TableError with the nearest names."""
        return find(self.models, name, "model").shape

    def machine(self, name: str) -> Machine:
        """A machine's figures; raises TableError with the nearest names."""
        return find(self.machines, name, "machine").machine


def find(rows: Mapping[str, Row], name: str, what: str) -> Row:
    """The row of a name, whatever its case; raises TableError with the nearest names."""
    by_folded = {key.casefold(): key for key in rows}
    if name.casefold() in by_folded:
        return rows[by_folded[name.casefold()]]
    near = get_close_matches(name.casefold(), by_folded, n=4, cutoff=0.4)
    inside = [key for key in by_folded if name.casefold() in key and key not in near]
    hint = ", ".join(by_folded[key] for key in [*near, *inside][:5])
    raise TableError(f"{what}: there is no {name!r}" + (f"; nearest: {hint}" if hint else ""))


def load_tables(folder: Path = DATA) -> Tables:
    """Read and check every table; raises TableError that lists all that is wrong."""
    tables, problems = table_problems(folder)
    if problems:
        raise TableError("\n".join(problems))
    return tables


def table_problems(folder: Path) -> tuple[Tables, list[str]]:
    """The rows that pass, and `file: row: fault` for what does not."""
    problems: list[str] = []
    models = dict(_rows(folder / "models.json", Model, {"shape": Shape}, problems))
    machines = dict(_rows(folder / "machines.json", MachineRow, {"machine": Machine}, problems))
    weights = dict(
        _rows(folder / "weight_formats.json", FormatRow, {"format": WeightFormat, "evidence": Evidence}, problems)
    )
    kv = dict(_rows(folder / "kv_formats.json", FormatRow, {"format": KvFormat}, problems))
    return Tables(models, machines, weights, kv), problems


def _rows(
    file: Path, kind: type[Any], nested: Mapping[str, type[Any]], problems: list[str]
) -> Iterator[tuple[str, Any]]:
    try:
        rows = json.loads(file.read_text("utf-8"))["rows"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        problems.append(f'{file.name}: expected {{"about": …, "rows": […]}}, could not read it: {error}')
        return
    seen: set[str] = set()
    for at, row in enumerate(rows):
        name = row.get("name") if isinstance(row, dict) else None
        place = f"{file.name}: {name or f'row {at + 1}'}"
        if not isinstance(name, str) or not name:
            problems.append(f"{place}: name: expected a text, got {name!r}")
        elif name.casefold() in seen:
            problems.append(f"{place}: name: stands in the table twice; rename or delete one")
        else:
            seen.add(name.casefold())
            inner = {
                key: record(row[key], cls, f"{place}: {key}", problems) for key, cls in nested.items() if key in row
            }
            made = record({**row, **inner}, kind, place, problems)
            if made is not None and None not in inner.values():
                _check_consistency(made, place, problems)
                yield name, made


def record(values: Any, kind: type[Any], place: str, problems: list[str]) -> Any:
    """A dataclass from a JSON object, or None with what is wrong added to `problems`."""
    if not isinstance(values, dict):
        problems.append(f"{place}: expected an object with the fields of {kind.__name__}, got {values!r}")
        return None
    known = {field.name: field for field in fields(kind)}
    before = len(problems)
    for name in values.keys() - known.keys():
        near = get_close_matches(name, known, n=1)
        problems.append(f"{place}: {name}: unknown field" + (f"; did you mean {near[0]}?" if near else ""))
    for name, field in known.items():
        if name not in values:
            if field.default is MISSING:
                problems.append(f"{place}: {name}: is missing")
        elif rule := _broken(field.type, name, values[name]):
            problems.append(f"{place}: {name}: expected {rule}, got {values[name]!r}")
    if len(problems) > before:
        return None
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


_CHOICES = {"seen": SEEN, "kind": KINDS, "compute": COMPUTE}
_POSITIVE = ("hidden", "vocab", "memory_bytes", "read_bytes_per_s", "published_parameters", "bits")


def _broken(wanted: Any, name: str, value: Any) -> str | None:
    """The rule that a value breaks, in words."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if name in _CHOICES:
        return None if value in _CHOICES[name] else f"one of {', '.join(_CHOICES[name])}"
    if name in ("link", "compared") and isinstance(value, str):
        return None if value.startswith(("https://", "http://")) else "a link that starts with https://"
    if wanted is bool:
        return None if isinstance(value, bool) else "true or false"
    if wanted is str:
        return None if isinstance(value, str) and value else "a text"
    if wanted is int and not (isinstance(value, int) and number):
        return "a whole number"
    if wanted in (int, float):
        if not number or not 0 <= value < 1e18:
            return "a number from 0 on"
        if name in _POSITIVE and value == 0:
            return "a number above 0"
        return None if name != "usable_share" or value <= 1 else "a share, from 0 to 1"
    return None


def _check_consistency(row: Any, place: str, problems: list[str]) -> None:
    """What single values do not show: a link for what was compared, and parts of a shape that need each other."""
    if isinstance(row, Model | MachineRow) and (row.seen == "secondary") != bool(row.compared):
        rule = "`compared` links what a row was compared with that is seen: secondary"
        problems.append(f"{place}: compared: expected a link with seen: secondary and none otherwise; {rule}")
    if not isinstance(row, Model):
        return
    shape = row.shape
    needs = {
        "heads and head_dim (there are attention layers)": shape.global_layers + shape.window_layers > 0
        and not (shape.heads and shape.head_dim),
        "a number of kv_heads that divides heads": shape.heads > 0
        and not (shape.kv_heads and shape.heads % shape.kv_heads == 0),
        "window (there are window layers)": shape.window_layers > 0 and not shape.window,
        "ffn (there are dense layers)": shape.dense_layers > 0 and not shape.ffn,
        "experts, active_experts and expert_ffn, no more active than there are": shape.moe_layers > 0
        and not (0 < shape.active_experts <= shape.experts and shape.expert_ffn),
        "value_dim and rope_dim (there is a kv_rank)": shape.kv_rank > 0 and not (shape.value_dim and shape.rope_dim),
        "state_inner, state_size, state_conv and state_rank": shape.state_layers > 0
        and not (shape.state_inner and shape.state_size and shape.state_conv and shape.state_rank),
        "at least one layer": shape.global_layers + shape.window_layers + shape.state_layers == 0,
    }
    problems += [f"{place}: shape: expected {what}" for what, missing in needs.items() if missing]
