"""What is left of the witnesses of findings when all that does not matter is taken out, and shown again from there."""

from dataclasses import replace
from functools import cache, partial

from reference_impls.measurement.case import Case, Step, Value, Workload
from reference_impls.runtime_testing import Case as Pattern
from reference_impls.runtime_testing.bench_sweep import OLD, Note, engine, findings, make_case
from reference_impls.runtime_testing.module import Module
from reference_impls.runtime_testing.oracle import Finding, judge
from reference_impls.runtime_testing.outcome import LOADED, Outcome
from reference_impls.runtime_testing.reduce import reduced, size_of
from reference_impls.runtime_testing.sweep import Asker, confirmed, run

REDUCED = ("wasmtime-6", "wasm3", "pywasm")
"""Engines whose findings are reduced: those that compute other values."""
FEW = 3


def reduction() -> Case:
    """What of a finding's witness is left, and shown again from there."""

    def value(name: str, _work: Workload, _device: str) -> Step:
        small = () if name == "as found" else smallest(name)
        if name != "as found" and not small:
            raise ValueError(f"{name}: no finding whose witness could be reduced")
        sizes = [(size_of(one.case), size_of(case)) for one, case in small]
        left = 100 * sum(after for _, after in sizes) / sum(before for before, _ in sizes) if sizes else 100.0
        return lambda: left

    notes: dict[str, Note] = {name: partial(_told, name) for name in REDUCED}
    work: dict[str, Value] = {
        "findings": f"the first {FEW} of each engine with another value than the specification's, in scalar operations",
        "counted": "calls, and instructions of functions that hold more than a trap",
        "confirmed": "in three fresh processes each",
        "valid": "as wasmtime says",
    }
    title = "What is left of the witness of a finding after its reduction"
    names = ("as found", *REDUCED)
    return make_case(
        "reduced/witness/witness_left", title, "witness_left", names, value, work, notes, "reduce", REDUCED
    )


@cache
def smallest(name: str) -> tuple[tuple[Finding, Pattern], ...]:
    """The first findings of an engine and their reduced witnesses; a finding that does not show again is left out."""
    chosen = [one.witness for one in findings(name) if one.witness.place and one.witness.case.leaf in ("A2", "A7")]
    small = []
    with Asker(engine(name)) as one_process, Asker(engine("wasmtime")) as sound:
        # What a wrong address of the old engine meets depends on instances that the process held before.
        ask = partial(run_fresh, name) if name == OLD else one_process
        for one in chosen[:FEW]:
            case = reduced(
                one,
                lambda some: judge(name, some, ask(some)),
                is_valid=lambda some: sound(replace(some, calls=()))[0] == LOADED,
            )
            small.append((one, case))
    return tuple((one, case) for one, case in small if _shows_again(name, one, case))


def _shows_again(name: str, finding: Finding, case: Pattern) -> bool:
    """Whether the reduced witness gives its finding in a process of its own, and then in as many as confirm one."""
    found = [one for one in judge(name, case, run_fresh(name, case)) if one.key == finding.key]
    return bool(found and confirmed(engine(name), found[:1]))


def run_fresh(name: str, case: Pattern) -> tuple[Outcome, ...]:
    """One case in a process of its own."""
    (only,) = run(engine(name), [case])
    return only.outcomes


def _told(name: str) -> str:
    parts = [f"{one.label}: {size_of(one.case)} to {size_of(case)}, {_code(case)}" for one, case in smallest(name)]
    return f"{engine(name).title}. {'; '.join(parts)}"


def _code(case: Pattern) -> str:
    assert isinstance(case.module, Module)
    bodies = [one.body[:-1] for one in case.module.functions if one.body[0] != ("unreachable",)]
    return " | ".join(", ".join(" ".join(map(str, each)) for each in body) for body in bodies)
