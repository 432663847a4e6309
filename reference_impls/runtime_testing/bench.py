"""The cases of this family: what deviates in each engine, whether kernels give the same bits, and how fast they are.

All engines are optional; what is not here is recorded as not installed. What was found stands in each measurement's
note, with the engine's version, as this very run found it. There is no part for a GPU: WebAssembly runs on processors.
"""

import json
from functools import cache, partial

from reference_impls.measurement.case import Case, Implementation, Role, Step, Value, Workload
from reference_impls.runtime_testing import bench_sweep, faults, kernels
from reference_impls.runtime_testing.bench_reduce import reduction
from reference_impls.runtime_testing.bench_sweep import SWEPT, Note, engine, make_case, patterns
from reference_impls.runtime_testing.child import Child, Limits
from reference_impls.runtime_testing.oracle import judge
from reference_impls.runtime_testing.random_modules import generate_module
from reference_impls.runtime_testing.sweep import agreement, limits_of, request, run

FAST = ("wasmtime", "wasmtime-pulley", "v8-turbofan", "spidermonkey", "javascriptcore", "wasm3")
"""Engines whose kernels are timed; in pywasm, an interpreter in Python, one call would take minutes."""
RANDOM = 200
TIMES = 2000


def cases() -> list[Case]:
    """Every case of the family."""
    return [
        *bench_sweep.cases(),
        reduction(),
        _kernel_equality(),
        _builds(),
        _faults(),
        *(_speed(kind) for kind in ("int8-dot", "int4-dot", "dequantize")),
    ]


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
    notes: dict[str, Note] = {"wasm3": "has no vectors: it rejects those kernels"}
    return make_case(
        "kernels/bits/equal_results", title, "equal_results", ("numpy", *SWEPT), value, work, notes, "kernels"
    )


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
    return make_case("random/builds/equal_results", title, "equal_results", names, value, work, {}, "random_modules")


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
    notes: dict[str, Note] = {"rig": missed, "no fault": "nothing may be noticed, and nothing is"}
    return make_case(
        "faults/found/faults_found", title, "faults_found", ("no fault", "rig"), value, work, notes, "faults"
    )


def _speed(kind: str) -> Case:
    """A kernel in every engine that is fast enough; the scalar one in wasmtime is the baseline."""
    named = [(f"{name}-{width}", name, width) for width in ("scalar", "vector") for name in FAST]
    named = [one for one in named if one[1:] != ("wasm3", "vector")]  # has none

    def prepare(name: str, width: str, _work: Workload, _device: str) -> Step:
        config = kernels.Config(times=TIMES)
        line = request(kernels.case_of(f"{kind}-{width}", config))
        child = Child(engine(name).command, limits_of(engine(name), Limits(seconds=60)))
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
