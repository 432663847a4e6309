"""The planner's tables, reference_impls/cost_model/data/*.json, checked like every other data file.

The package has the rules of its fields (`tables.py`); here stand where in the file a fault is, what may not be in any
data file, and what single values do not show: weights that do not add up, rates no machine has.
"""

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from reference_impls.cost_model.parameters import active_parameters, total_parameters
from reference_impls.cost_model.records import Machine
from reference_impls.cost_model.tables import MachineRow, Model, Tables, table_problems
from scripts.catalogue.problems import Problem
from scripts.catalogue.text_rules import check_line, check_url

FOLDER = "reference_impls/cost_model/data"
COUNT_TOLERANCE = 0.01
"""By how much the weights that follow from a shape may miss the publisher's count."""
RATES = {"read_bytes_per_s": (1e9, 1e14), "link_bytes_per_s": (1e8, 1e13), "memory_bytes": (2**29, 2**43)}
"""From a small board to more than any one device has."""
NARROWER = ("float32", "bfloat16", "float8")
"""Types whose rates do not fall from one to the next, where both are known."""


def check_tables(root: Path) -> Iterator[Problem]:
    """Every fault of the tables of a checkout, at its row; nothing where a checkout has none."""
    folder = root / FOLDER
    if not folder.is_dir():
        return
    lines = {path.name: _lines(path) for path in sorted(folder.glob("*.json"))}
    tables, faults = table_problems(folder)
    faults += [fault for name in lines for fault in _unsafe(folder / name)]
    faults += list(_implausible(tables))
    for fault in faults:
        file, _, rest = fault.partition(": ")
        row, _, what = rest.partition(": ")
        line = lines.get(file, {}).get(row) or _line_of_parser(rest)
        message, _, hint = (f"{row}: {what}" if what else rest).partition("; ")
        yield Problem(f"{FOLDER}/{file}", line, 1, "", message, hint or "see reference_impls/cost_model/tables.py")


def _lines(path: Path) -> dict[str, int]:
    """Name of a row -> the line in which it is given last."""
    try:
        text = path.read_text("utf-8").split("\n")
    except (OSError, UnicodeDecodeError):
        return {}
    found = ((number, re.search(r'"name": "([^"]+)"', line)) for number, line in enumerate(text, 1))
    return {match[1]: number for number, match in found if match}


def _line_of_parser(message: str) -> int:
    found = re.search(r"line (\d+) column", message)
    return int(found[1]) if found else 1


def _unsafe(path: Path) -> Iterator[str]:
    """Keys given twice, hidden characters, markup, and links that are none: what no data file may hold."""
    twice: list[str] = []
    try:
        rows = json.loads(path.read_text("utf-8"), object_pairs_hook=lambda pairs: _noting(pairs, twice))["rows"]
    except (OSError, ValueError, KeyError, TypeError):  # told by the package's own check
        return
    yield from (f"{path.name}: {name}: stands twice in one object; keep one" for name in twice)
    for row in rows if isinstance(rows, list) else ():
        for field, text in row.items() if isinstance(row, dict) else ():
            if isinstance(text, str) and text:
                is_link = field in ("link", "compared") or (field == "source" and path.name == "models.json")
                if broken := _broken(text, is_link):
                    yield f"{path.name}: {row.get('name')}: {field}: {broken}"


def _noting(pairs: list[tuple[str, Any]], twice: list[str]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    twice += sorted({name for name in names if names.count(name) > 1})
    return dict(pairs)


def _broken(text: str, is_link: bool) -> str:
    try:
        (check_url if is_link else check_line)(text)
    except ValueError as error:
        return str(error)
    return ""


def _implausible(tables: Tables) -> Iterator[str]:
    titles: dict[tuple[str, str], str] = {}
    for file, rows in (("models.json", tables.models), ("machines.json", tables.machines)):
        for name, row in rows.items():
            first = titles.setdefault((file, row.title.casefold()), name)
            if first != name:
                yield f"{file}: {name}: title: {first} has the same; rename one, or delete it"
            if isinstance(row, MachineRow):
                yield from (f"{file}: {name}: {fault}" for fault in _of_machine(row.machine))
            else:
                yield from (f"{file}: {name}: {fault}" for fault in _of_model(row))


def _of_model(row: Model) -> Iterator[str]:
    total, active = total_parameters(row.shape), active_parameters(row.shape)
    if abs(total / row.published_parameters - 1) > COUNT_TOLERANCE:
        told = f"{row.published_parameters:,.0f}, but the shape has {total:,.0f} weights"
        yield f"published_parameters: is {told}; one of the two is wrong"
    if row.published_active > row.published_parameters or active > total:
        yield "published_active: is more than all there are; correct it"


def _of_machine(machine: Machine) -> Iterator[str]:
    for field, (least, most) in RATES.items():
        value = getattr(machine, field)
        if value and not least <= value <= most:
            yield f"{field}: {value:g} is no machine's; from {least:g} to {most:g}, in bytes"
    rates = [(kind, getattr(machine, f"{kind}_flops_per_s")) for kind in NARROWER]
    known = [(kind, rate) for kind, rate in rates if rate]
    for (wide, slow), (narrow, fast) in pairwise(known):
        if fast < slow:
            yield f"{narrow}_flops_per_s: is below the rate of {wide}; narrower numbers are never slower"
