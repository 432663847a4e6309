"""The sweep of every engine over every pattern, and the frame that the cases of this family share."""

from collections.abc import Callable
from functools import cache, partial

from reference_impls.measurement.case import Case, Implementation, NotInstalledError, Step, Value, Workload
from reference_impls.runtime_testing import Case as Pattern
from reference_impls.runtime_testing import generate
from reference_impls.runtime_testing.engines import HOW_TO_GET_THEM, Engine, by_name
from reference_impls.runtime_testing.oracle import Cluster, Finding, clusters, compared, judge
from reference_impls.runtime_testing.sweep import Run, confirmed, run

SWEPT = (
    *("wasmtime", "wasmtime-unoptimised", "wasmtime-pulley", "wasmtime-6", "v8-liftoff", "v8-turbofan"),
    *("spidermonkey", "javascriptcore", "wasm3", "pywasm", "wabt"),
)
"""Engines of the sweep; wasmtime 6.0.0 has a known bug that must be found."""
OLD = "wasmtime-6"
"""Slow to end an instance after a trap, and here for the one pattern that must find its bug: it gets that alone."""
NO_LIMIT = "a property of the engines and the cases, not of the machine"

Note = str | Callable[[], str]


def cases() -> list[Case]:
    """What deviates, of how much."""
    return [
        _sweep_case("deviations", "deviations_found", "Deviations from the specification, alike ones counted once"),
        _sweep_case("compared", "outcomes_compared", "Outcomes compared with the specification's"),
    ]


@cache
def patterns() -> tuple[Pattern, ...]:
    """Every case of every pattern."""
    return tuple(generate())


def engine(name: str) -> Engine:
    """The engine, or NotInstalledError."""
    found = by_name(name)
    if found is None:
        raise NotInstalledError(f"{name}: {HOW_TO_GET_THEM}; see reference_impls/runtime_testing/engines.py")
    return found


@cache
def runs(name: str) -> tuple[Run, ...]:
    """The sweep of one engine, made once."""
    chosen = (one for one in patterns() if name != OLD or one.id.startswith("address/"))
    return tuple(run(engine(name), chosen))


@cache
def findings(name: str) -> tuple[Cluster, ...]:
    """Its deviations, alike ones together; each is shown again in three fresh processes, or left out."""
    found: list[Finding] = [one for each in runs(name) for one in judge(name, each.case, each.outcomes)]
    alike = clusters(found)
    kept = {one.key for one in confirmed(engine(name), [each.witness for each in alike])}
    return tuple(one for one in alike if one.witness.key in kept)


def report(name: str) -> str:
    """Engine, version, and its deviations by leaf, on one line."""
    groups: dict[str, list[str]] = {}
    for one in findings(name):
        _, leaf, label, pair = one.witness.key
        groups.setdefault(leaf if pair == "values → values" else f"{leaf} ({pair})", []).append(label)
    listed = "; ".join(f"{group}: {', '.join(labels)}" for group, labels in groups.items())
    return f"{engine(name).title}. {listed or 'nothing deviates'}"


def _sweep_case(what: str, metric: str, title: str) -> Case:
    def value(name: str, _work: Workload, _device: str) -> Step:
        if name == "reference":
            found = 0.0 if what == "deviations" else float(sum(1 + len(one.calls) for one in patterns()))
        elif what == "deviations":
            found = float(len(findings(name)))
        else:
            found = float(sum(compared(each.outcomes) for each in runs(name)))
        return lambda: found

    names = ("reference", *SWEPT)
    notes: dict[str, Note] = {"reference": "the interpreter that gives the answers"}
    if what == "deviations":
        notes |= {name: partial(report, name) for name in SWEPT}
    return make_case(f"sweep/{what}/{metric}", title, metric, names, value, _sweep_work(), notes, "oracle")


def _sweep_work() -> dict[str, Value]:
    return {
        "cases": "every pattern of bugs, boundary operands of every scalar operation",
        "oracle": "what the specification says, by an interpreter of our own or stated in the case",
        "left_open": "payload of a NaN that arithmetic returns, words of a trap, size limits of a module",
        "confirmed": "in three fresh processes each",
    }


def make_case(
    name: str,
    title: str,
    metric: str,
    names: tuple[str, ...],
    value: Callable[[str, Workload, str], Step],
    work: dict[str, Value],
    notes: dict[str, Note],
    module: str,
    methods: tuple[str, ...] = ("rig",),
) -> Case:
    """The first name is the baseline."""
    return Case(
        id=f"runtime_testing/{name}",
        title=title,
        metric=metric,
        workload=work,
        implementations=tuple(
            Implementation(
                one,
                "baseline" if one == names[0] else "method" if one in methods else "peer",
                "simulated",
                partial(value, one),
                note=notes.get(one, ""),
                module=module if one in methods else None,
            )
            for one in names
        ),
        timed=False,
        no_limit=NO_LIMIT,
        devices=("cpu",),
    )
