"""Run cases in engines, each in a child process of its own; a crash or a hang ends one case, never the sweep."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

from reference_impls.runtime_testing import Case
from reference_impls.runtime_testing.binary import assemble, encode
from reference_impls.runtime_testing.child import Child, EndedError, Limits
from reference_impls.runtime_testing.engines import Engine
from reference_impls.runtime_testing.module import Module
from reference_impls.runtime_testing.oracle import Config, Finding, judge, same
from reference_impls.runtime_testing.outcome import Outcome, read


@dataclass(frozen=True)
class Run:
    """One case in one engine."""

    engine: Engine
    case: Case
    outcomes: tuple[Outcome, ...]
    """Of loading, then of each call."""


def binary_of(case: Case) -> bytes:
    """The module as engines read it."""
    if isinstance(case.module, str):
        return assemble(case.module)
    return encode(case.module) if isinstance(case.module, Module) else case.module


def request(case: Case) -> str:
    """A case as drivers read it."""
    wasm = binary_of(case)
    system = case.system
    return json.dumps(
        {
            "wasm": wasm.hex(),
            "calls": [
                [call.export, [[type_, str(bits)] for type_, bits in call.arguments], [*call.results]]
                for call in case.calls
            ],
            "keeps_instance": case.keeps_instance,
            "is_stateless": case.is_stateless,
            "times": case.times,
            "system": {
                "arguments": [*system.arguments],
                "environment": [[*pair] for pair in system.environment],
                "stdin": system.stdin.hex(),
                "files": [[name, content.hex()] for name, content in system.files],
            }
            if system
            else None,
        }
    )


def run_one(child: Child, case: Case) -> tuple[Outcome, ...]:
    """One case; where the process ended, that is the outcome of everything in it."""
    places = 1 + len(case.calls)
    try:
        return tuple(read(one) for one in json.loads(child.ask(request(case))))
    except EndedError as error:
        return (Outcome(error.how),) * places


def limits_of(engine: Engine, limits: Limits | None = None) -> Limits:
    """The limits for an engine's process, with what it reserves on top."""
    limits = limits or Limits()
    return replace(limits, memory_mib=limits.memory_mib + engine.reserves_mib)


class Asker:
    """One engine that is asked case after case, in one process as long as it lives."""

    def __init__(self, engine: Engine, limits: Limits | None = None) -> None:
        self.child = Child(engine.command, limits_of(engine, limits))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.child.close()

    def __call__(self, case: Case) -> tuple[Outcome, ...]:
        """-> outcomes of loading and of each call"""
        return run_one(self.child, case)


def run(engine: Engine, cases: Iterable[Case], limits: Limits | None = None) -> Iterator[Run]:
    """Every case that the engine's adapter can run, in one process as long as it lives."""
    with Asker(engine, limits) as ask:
        for case in cases:
            if case.needs <= engine.offers:
                yield Run(engine, case, ask(case))


def confirmed(
    engine: Engine, findings: Sequence[Finding], config: Config | None = None, limits: Limits | None = None
) -> list[Finding]:
    """Those whose deviation shows again each time, in a fresh process for all of them."""
    kept = [*findings]
    for _ in range((config or Config()).repeats):
        again = [*run(engine, [_narrowed(one) for one in kept], limits)]
        shown = [{one.key for one in judge(engine.name, each.case, each.outcomes)} for each in again]
        kept = [one for one, keys in zip(kept, shown, strict=True) if one.key in keys]
    return kept


def _narrowed(finding: Finding) -> Case:
    """The one call, where no other bears on it."""
    case = finding.case
    if not finding.place or not case.is_stateless:
        return case
    return replace(case, calls=(case.calls[finding.place - 1],))


def agreement(first: Sequence[Run], second: Sequence[Run]) -> list[str]:
    """Cases in which two engines differ by more than the specification leaves open, for builds that must agree."""
    theirs = {run.case.id: run for run in second}
    found = []
    for mine in first:
        other = theirs.get(mine.case.id)
        if other and _differ(mine, other):
            found.append(mine.case.id)
    return found


def _differ(one: Run, other: Run) -> bool:
    calls = [None, *one.case.calls]
    return any(
        not same(a, b, call.nan if call else "") for a, b, call in zip(one.outcomes, other.outcomes, calls, strict=True)
    )
