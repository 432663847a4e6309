"""Make the witness of a finding small: fewer calls, functions, instructions, as long as it deviates in the same way.

Paper: Zeller and Hildebrandt, IEEE Trans. Softw. Eng. 28, 183 (2002), delta debugging; used on the findings of
    arXiv 2301.12102's kind of test.
Idea: leave out halves, then quarters, and so on; keep whatever still shows the deviation. Of instructions, neighbours
    are left out together, since what pushes a value and what takes it must go at once; only valid modules count.
Symbols: n = number of parts that the list is cut into.
Simplified: nothing is put in place of what goes, so that a part whose value is needed stays whole.
Differs: complements only, as in the later ddmin of the same authors. What a smaller module should do is asked of the
    reference interpreter anew: an answer kept from the larger one would make a deviation of any change.
Cost: up to the square of the number of items, mostly n log n, each one run of the engine.
Checked against: a made-up predicate whose smallest list is known, and real findings, which must still deviate.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TypeVar

from reference_impls.runtime_testing import Case
from reference_impls.runtime_testing.module import Instruction, Module
from reference_impls.runtime_testing.oracle import Finding
from reference_impls.runtime_testing.wat import parse

T = TypeVar("T")


@dataclass(frozen=True)
class Config:
    """How often the engine may be asked."""

    runs: int = 400

    def __post_init__(self) -> None:
        if self.runs < 1:
            raise ValueError(f"runs must be at least 1, got {self.runs}")


def ddmin(items: Sequence[T], shows: Callable[[list[T]], bool], config: Config | None = None) -> list[T]:
    """A list of which no part can be left out, by halves down to single items; `shows` holds for it."""
    kept, parts, runs = [*items], 2, (config or Config()).runs
    while len(kept) > 1 and runs > 0:
        size = -(-len(kept) // parts)
        for start in range(0, len(kept), size):
            fewer = kept[:start] + kept[start + size :]
            runs -= 1
            if fewer and shows(fewer):
                kept, parts = fewer, max(parts - 1, 2)
                break
        else:
            if size == 1:
                break
            parts = min(2 * parts, len(kept))
    return kept


def reduced(
    finding: Finding,
    findings_of: Callable[[Case], list[Finding]],
    config: Config | None = None,
    is_valid: Callable[[Case], bool] | None = None,
) -> Case:
    """The smallest case found that deviates with the finding's key. findings_of: runs a case in the engine

    is_valid: whether a sound engine accepts the module; without it single instructions are left as they are.
    """

    def shows(case: Case) -> bool:
        return finding.key in {one.key for one in findings_of(case)}

    case = finding.case
    if case.calls and finding.place:
        calls = ddmin(case.calls, lambda some: shows(replace(case, calls=tuple(some))), config)
        case = replace(case, calls=tuple(calls))
    if isinstance(case.module, bytes):
        return case
    module = parse(case.module) if isinstance(case.module, str) else case.module
    own = range(len(module.functions))
    kept = ddmin(own, lambda some: shows(replace(case, module=_only(module, set(some)))), config)
    case = replace(case, module=_only(module, set(kept)))
    asked = replace(case, calls=tuple(replace(call, expected=()) for call in case.calls))
    if is_valid is None or not finding.place or not shows(asked):
        return case
    return _with_fewer_instructions(asked, kept, lambda some: is_valid(some) and shows(some), config or Config())


def _only(module: Module, kept: set[int]) -> Module:
    """The others keep their place and type, with nothing in them but a trap."""
    empty = (("unreachable",), ("end",))
    functions = (one if n in kept else replace(one, body=empty, locals=()) for n, one in enumerate(module.functions))
    return replace(module, functions=tuple(functions))


def _with_fewer_instructions(
    case: Case, functions: Sequence[int], shows: Callable[[Case], bool], config: Config
) -> Case:
    for number in functions:
        case = _with_shorter_body(case, number, shows, config)
    return case


def _with_shorter_body(case: Case, number: int, shows: Callable[[Case], bool], config: Config) -> Case:
    assert isinstance(case.module, Module)
    *body, end = case.module.functions[number].body
    kept = shorter(body, lambda some: shows(_with_body(case, number, [*some, end])), config)
    return _with_body(case, number, [*kept, end])


def _with_body(case: Case, number: int, body: Sequence[Instruction]) -> Case:
    assert isinstance(case.module, Module)
    functions = [*case.module.functions]
    functions[number] = replace(functions[number], body=tuple(body))
    return replace(case, module=replace(case.module, functions=tuple(functions)))


def shorter(items: Sequence[T], shows: Callable[[list[T]], bool], config: Config | None = None) -> list[T]:
    """A list of which no stretch of neighbours and no two items can be left out; long stretches are tried first."""
    kept, runs = [*items], (config or Config()).runs
    size = len(kept)
    while size and runs > 0:
        before = len(kept)
        stretches = ([*range(start, start + size)] for start in range(len(kept) - size, -1, -1))
        kept, runs = _without(kept, stretches, shows, runs)
        size = size // 2 if size > 6 else size - 1 if len(kept) == before else min(size, len(kept))
    before = len(kept) + 1
    while len(kept) < before and runs > 0:
        before = len(kept)
        kept, runs = _without(kept, map(list, combinations(range(len(kept) - 1, -1, -1), 2)), shows, runs)
    return kept


def _without(
    items: list[T], choices: Iterable[list[int]], shows: Callable[[list[T]], bool], runs: int
) -> tuple[list[T], int]:
    """-> what is left after the first choice of places that may go, and the runs left."""
    for places in choices:
        if runs <= 0:
            break
        fewer = [one for place, one in enumerate(items) if place not in places]
        runs -= 1
        if shows(fewer):
            return fewer, runs
    return items, runs


def size_of(case: Case) -> int:
    """Calls, and instructions of all functions that hold more than a trap."""
    if isinstance(case.module, bytes):
        return len(case.calls)
    module = parse(case.module) if isinstance(case.module, str) else case.module
    return len(case.calls) + sum(len(one.body) for one in module.functions if one.body[0] != ("unreachable",))
