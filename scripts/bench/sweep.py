"""Call a function of the library for every combination of parameters, here or on a Ray cluster; one JSON line each.

python -m scripts.bench.sweep serving.sweeps:schedule policy=fcfs,skip-join load=0.5,0.7,0.9 seed=0,1,2 --ray local

The function lives below reference_impls and returns a mapping of numbers. Lines go to build/sweeps/ as they come; what
is there already is not computed again.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

from scripts.bench.cluster import ClusterError, spread

ROOT = Path(__file__).resolve().parents[2]
Parameters = dict[str, Any]


class SweepError(ValueError):
    """The sweep cannot be run; the message says which part of the command is wrong."""


def call(name: str, parameters: Parameters) -> dict[str, float]:
    """One point: `family.module:function` of reference_impls, called with the parameters."""
    module, _, function = name.partition(":")
    return {
        key: float(value)
        for key, value in getattr(import_module(f"reference_impls.{module}"), function)(**parameters).items()
    }


def grid(axes: Iterable[str]) -> list[Parameters]:
    """Every combination of `name=value,value`; values are numbers where they look like numbers."""
    values: dict[str, list[Any]] = {}
    for axis in axes:
        name, equals, given = axis.partition("=")
        if not (equals and name.isidentifier() and given):
            raise SweepError(f'expected name=value,value, got "{axis}"')
        values[name] = [_value(text) for text in given.split(",")]
    return [dict(zip(values, chosen, strict=True)) for chosen in product(*values.values())]


def _value(text: str) -> Any:
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return found if isinstance(found, int | float | bool) else text


def sweep(name: str, points: Sequence[Parameters], file: Path, address: str | None = None) -> Iterator[str]:
    """Compute what the file lacks and append it; -> a line about each point, as it is finished."""
    _check(name)
    left = [point for point in points if point not in known(file)]
    file.parent.mkdir(parents=True, exist_ok=True)
    if address:
        outcomes = spread(call, [(name, point) for point in left], address, root=ROOT)
    else:
        outcomes = ((index, _tried(name, point)) for index, point in enumerate(left))
    with file.open("a", encoding="utf-8") as stream:
        for count, (index, outcome) in enumerate(outcomes, 1):
            if isinstance(outcome, Exception):
                yield f"[{count}/{len(left)}] {left[index]}: failed; {' '.join(str(outcome).split())[-200:]}"
                continue
            stream.write(json.dumps({"parameters": left[index], "values": outcome}) + "\n")
            stream.flush()
            yield f"[{count}/{len(left)}] {left[index]}"


def known(file: Path) -> list[Parameters]:
    """The points that a file holds; half a line of a sweep that was killed is none."""
    if not file.exists():
        return []
    lines = [line for line in file.read_text("utf-8").splitlines(keepends=True) if line.endswith("\n")]
    file.write_text("".join(lines), "utf-8")
    return [json.loads(line)["parameters"] for line in lines]


def _tried(name: str, point: Parameters) -> Mapping[str, float] | Exception:
    try:
        return call(name, point)
    except Exception as error:  # noqa: BLE001 one point that fails does not end the sweep
        return error


def _check(name: str) -> None:
    module, colon, function = name.partition(":")
    parts = [*module.split("."), function]
    if not colon or not all(part.isidentifier() and not part.startswith("_") for part in parts):
        raise SweepError(f'expected family.module:function, below reference_impls, got "{name}"')
    try:
        found = getattr(import_module(f"reference_impls.{module}"), function, None)
    except ModuleNotFoundError as error:
        raise SweepError(f"reference_impls.{module}: {error}") from None
    if not callable(found):
        raise SweepError(f"reference_impls.{module} has no function {function}")


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, sweep, say what is finished; -> the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.bench.sweep", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("function", metavar="FAMILY.MODULE:FUNCTION")
    parser.add_argument("axes", nargs="+", metavar="NAME=VALUE,VALUE")
    parser.add_argument("--ray", metavar="ADDRESS", help='of a cluster, or "local"')
    parser.add_argument("--out", type=Path, help="default: build/sweeps/FUNCTION.jsonl")
    arguments = parser.parse_args(argv)
    file = arguments.out or ROOT / "build" / "sweeps" / f"{arguments.function.replace(':', '.')}.jsonl"
    try:
        for line in sweep(arguments.function, grid(arguments.axes), file, arguments.ray):
            print(line, file=sys.stderr, flush=True)  # noqa: T201
    except (SweepError, ClusterError) as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on from there", file=sys.stderr)  # noqa: T201
        return 130
    print(file)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
