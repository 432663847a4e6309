"""The cases of this family: what deviates in each engine, whether kernels give the same bits, and how fast they are.

All engines are optional; what is not here is recorded as not installed. What was found stands in each measurement's
note, with the engine's version, as this very run found it. There is no part for a GPU: WebAssembly runs on processors.
"""

import json
from collections.abc import Callable
from functools import cache, partial

from reference_impls.measurement.case import Case, Implementation, NotInstalledError, Role, Step, Value, Workload
from reference_impls.runtime_testing import Case as Pattern
from reference_impls.runtime_testing import faults, generate, kernels
from reference_impls.runtime_testing.child import Child, Limits
from reference_impls.runtime_testing.engines import HOW_TO_GET_THEM, Engine, by_name
from reference_impls.runtime_testing.oracle import Cluster, Finding, clusters, compared, judge
from reference_impls.runtime_testing.random_modules import generate_module
from reference_impls.runtime_testing.sweep import Run, agreement, confirmed, request, run

SWEPT = (
    *("wasmtime", "wasmtime-unoptimised", "wasmtime-pulley", "wasmtime-6", "v8-liftoff", "v8-turbofan"),
    *("spidermonkey", "wasm3", "pywasm", "wabt"),
)
"""Engines of the sweep; wasmtime 6.0.0 has a known bug that must be found."""
OLD = "wasmtime-6"
"""Slow to end an instance after a trap, and here for the one pattern that must find its bug: it gets that alone."""
FAST = ("wasmtime", "wasmtime-pulley", "v8-turbofan", "spidermonkey", "wasm3")
"""Engines whose kernels are timed; in pywasm, an interpreter in Python, one call would take minutes."""
RANDOM = 200
TIMES = 2000
NO_LIMIT = "a property of the engines and the cases, not of the machine"


def cases() -> list[Case]:
    """Every case of the family."""
    return [
        _sweep_case("deviations", "deviations_found", "Deviations from the specification, alike ones counted once"),
        _sweep_case("compared", "outcomes_compared", "Outcomes compared with the specification's"),
        _kernel_equality(),
        _builds(),
        _faults(),
        *(_speed(kind) for kind in ("int8-dot", "int4-dot", "dequantize")),
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
    notes: dict[str, str | Callable[[], str]] = {"reference": "the interpreter that gives the answers"}
    if what == "deviations":
        notes |= {name: partial(report, name) for name in SWEPT}
    return _case(f"sweep/{what}/{metric}", title, metric, names, value, _sweep_work(), notes, "oracle")


def _sweep_work() -> dict[str, Value]:
    return {
        "cases": "every pattern of bugs, boundary operands of every scalar operation",
        "oracle": "what the specification says, by an interpreter of our own or stated in the case",
        "left_open": "payload of a NaN that arithmetic returns, words of a trap, size limits of a module",
        "confirmed": "in three fresh processes each",
    }


def _kernel_equality() -> Case:
    def value(name: str, _work: Workload, _device: str) -> Step:
        every = [kernels.case_of(one) for one in kernels.KERNELS]
        if name == "numpy":
            return lambda: 100.0
        each = [*run(engine(name), every)]
        good = sum(not judge(name, one.case, one.outcomes) for one in each)
        return lambda: 100 * good / len(every)

    title = "Kernels of quantized inference whose results have the bits that numpy and PyTorch give"
    work: dict[str, Value] = {"kernels": ", ".join(kernels.KERNELS), "n": kernels.Config().n}
    notes: dict[str, str | Callable[[], str]] = {"wasm3": "has no vectors: it rejects those kernels"}
    return _case("kernels/bits/equal_results", title, "equal_results", ("numpy", *SWEPT), value, work, notes, "kernels")


def _builds() -> Case:
    """Settings of one engine must agree on random modules: a difference is a false alarm of the rig, or news."""
    pairs = {"wasmtime-unoptimised": "wasmtime", "wasmtime-pulley": "wasmtime", "v8-liftoff": "v8-turbofan"}

    def value(name: str, _work: Workload, _device: str) -> Step:
        modules = [generate_module(seed) for seed in range(RANDOM)]
        if name == "reference":
            return lambda: 100.0
        differ = agreement([*run(engine(pairs[name]), modules)], [*run(engine(name), modules)])
        return lambda: 100 * (1 - len(differ) / RANDOM)

    title = "Random modules on which two settings of one engine agree"
    work: dict[str, Value] = {"modules": RANDOM, "pairs": ", ".join(f"{a} with {b}" for a, b in pairs.items())}
    names = ("reference", *pairs)
    return _case("random/builds/equal_results", title, "equal_results", names, value, work, {}, "random_modules")


def _faults() -> Case:
    @cache
    def result() -> tuple[int, list[str]]:
        return faults.score([*patterns()])

    def value(name: str, _work: Workload, _device: str) -> Step:
        return lambda: 100 * result()[0] / len(faults.faults()) if name == "rig" else 0.0

    def missed() -> str:
        return f"missed: {'; '.join(result()[1]) or 'none'}"

    title = "Faults put into the interpreter that the intended pattern notices"
    work: dict[str, Value] = {"faults": len(faults.faults())}
    notes: dict[str, str | Callable[[], str]] = {"rig": missed, "no fault": "nothing may be noticed, and nothing is"}
    return _case("faults/found/faults_found", title, "faults_found", ("no fault", "rig"), value, work, notes, "faults")


def _case(
    name: str,
    title: str,
    metric: str,
    names: tuple[str, ...],
    value: Callable[[str, Workload, str], Step],
    work: dict[str, Value],
    notes: dict[str, str | Callable[[], str]],
    module: str,
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
                "baseline" if one == names[0] else "method" if one == "rig" else "peer",
                "simulated",
                partial(value, one),
                note=notes.get(one, ""),
                module=module if one == "rig" else None,
            )
            for one in names
        ),
        timed=False,
        no_limit=NO_LIMIT,
        devices=("cpu",),
    )


def _speed(kind: str) -> Case:
    """A kernel in every engine that is fast enough; the scalar one in wasmtime is the baseline."""
    named = [(f"{name}-{width}", name, width) for width in ("scalar", "vector") for name in FAST]
    named = [one for one in named if one[1:] != ("wasm3", "vector")]  # has none

    def prepare(name: str, width: str, _work: Workload, _device: str) -> Step:
        config = kernels.Config(times=TIMES)
        line = request(kernels.case_of(f"{kind}-{width}", config))
        child = Child(engine(name).command, Limits(seconds=60))
        answer = json.loads(child.ask(line))[1]
        if answer[0] != "values" or ("dot" in kind and int(answer[2][0]) != kernels.dot(kind, config)):
            raise ValueError(f"{name}: a wrong result, {answer}")

        def step() -> None:
            child.ask(line)

        return step

    role: dict[bool, Role] = {True: "baseline", False: "peer"}
    return Case(
        id=f"runtime_testing/kernels/{kind}/latency",
        title=f"Time of {kind}, {TIMES} times over {kernels.Config().n} codes",
        metric="latency",
        workload={
            "n": kernels.Config().n,
            "times": TIMES,
            "dtype": "int8",
            "includes": "reading and compiling the module",
        },
        implementations=tuple(
            Implementation(
                full,
                "method" if width == "vector" else role[full == "wasmtime-scalar"],
                "kernel",
                partial(prepare, name, width),
                module="kernels" if width == "vector" else None,
            )
            for full, name, width in named
        ),
        timed=True,
        no_limit="the engines are compared; what the machine could do at most is not asked",
        devices=("cpu",),
    )
