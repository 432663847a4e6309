"""Make the witness of a finding small: fewer calls, then fewer functions, as long as it still deviates in the same way.

Paper: Zeller and Hildebrandt, IEEE Trans. Softw. Eng. 28, 183 (2002), delta debugging; used on the findings of
    arXiv 2301.12102's kind of test.
Idea: leave out halves, then quarters, and so on; keep whatever still shows the deviation.
Symbols: n = number of parts that the list is cut into.
Simplified: calls and whole functions, not single instructions.
Differs: complements only, as in the later ddmin of the same authors.
Cost: up to the square of the number of items, mostly n log n, each one run of the engine.
Checked against: a made-up predicate whose smallest list is known, and real findings, which must still deviate.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from reference_impls.runtime_testing import Case
from reference_impls.runtime_testing.module import Module
from reference_impls.runtime_testing.oracle import Finding
from reference_impls.runtime_testing.wat import parse

T = TypeVar("T")


@dataclass(frozen=True)
class Config:
    """How often the engine may be asked."""

    runs: int = 200

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


def reduced(finding: Finding, findings_of: Callable[[Case], list[Finding]], config: Config | None = None) -> Case:
    """The smallest case found that deviates with the finding's key. findings_of: runs a case in the engine"""

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
    return replace(case, module=_only(module, set(kept)))


def _only(module: Module, kept: set[int]) -> Module:
    """The others keep their place and type, with nothing in them but a trap."""
    empty = (("unreachable",), ("end",))
    functions = (one if n in kept else replace(one, body=empty, locals=()) for n, one in enumerate(module.functions))
    return replace(module, functions=tuple(functions))
