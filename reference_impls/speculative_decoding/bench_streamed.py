"""The cases of LLMCad: a target whose layers come from files at a stated rate, and the method with each part removed.

The budget of bytes is checked in every pass of every run (`layer_stream`). `bench_sweep` varies r, the ratio of a
target's pass to a draft's step, on which everything here depends.
"""

from collections.abc import Callable
from functools import cache, partial

from reference_impls.measurement.case import Case, Ceilings, Implementation, Limit, Quality, Step, Workload
from reference_impls.speculative_decoding import bench_sweep
from reference_impls.speculative_decoding.bench_contenders import (
    MANY,
    SETUP,
    Contender,
    Nothing,
    contenders,
    likeness,
    results,
    sizes,
    streamed,
)
from reference_impls.speculative_decoding.bench_setups import (
    Setup,
    draft,
    plain_step,
    run,
    speculative_step,
    target,
    tokens_per_pass,
)
from reference_impls.speculative_decoding.layer_stream import Log

RATE = 2e8
"""Bytes a second: the stated rate of the streamed case."""


def cases() -> list[Case]:
    """Seconds of a pass, throughput of all contenders, what they make, read and hold, and the sweep over r."""
    return [
        _step_case(),
        _throughput_case(),
        _value_case(
            "tokens_per_target_step",
            "Tokens a pass of the target, where each pass leaves time for every provisional guess",
            lambda one: tokens_per_pass(results(one.name, MANY)),
        ),
        _value_case("rouge_l", "How much of the target's own text is made", lambda one: likeness(one.name, MANY)),
        _value_case("bytes_moved", "Bytes of weights read for a token", _bytes_a_token, SETUP),
        _value_case("peak_memory", "Bytes of the target's weights held at most", _peak, SETUP),
        *bench_sweep.cases(),
    ]


def _workload(setup: Setup) -> Workload:
    layer, rest, small = sizes()
    return dict(setup.workload) | {"draft": "tiny-draft", "weight_budget_bytes": rest + 2 * layer + small}


def _throughput_case() -> Case:
    return Case(
        id=f"speculative_decoding/llmcad/{RATE / 1e6:.0f}-mb-per-s/decode_throughput",
        title=f"LLMCad and its parts, target read at {RATE / 1e6:.0f} MB/s",
        metric="decode_throughput",
        workload=dict(_workload(SETUP)) | {"storage": "files, page cache dropped", "bytes_per_s": RATE},
        implementations=tuple(_implementation(one) for one in contenders()),
        timed=True,
        amount=float(SETUP.tokens),
        devices=("cpu",),
    )


def _implementation(one: Contender) -> Implementation:
    def prepare(_workload: Workload, _device: str) -> Step:
        return contender_step(one, RATE, SETUP)

    def quality(_workload: Workload, _device: str) -> Quality:
        return Quality("rouge_l", likeness(one.name, MANY))

    return Implementation(
        one.name,
        one.role,
        "kernel",
        prepare,
        quality=quality if one.rule or one.shards else None,
        limit=partial(_limit, one),
        note=one.note,
        module=one.module,
    )


def contender_step(one: Contender, bytes_per_s: float | None, setup: Setup) -> Step:
    """Decode from every prompt once, layers read at a rate."""
    model = streamed(one, bytes_per_s)
    if one.make is None:
        return plain_step(model, setup)
    drafter = one.make()
    model.idle = getattr(drafter, "meanwhile", None)
    return speculative_step(model, drafter, setup, rule=one.rule)


def _limit(one: Contender, workload: Workload, _: Ceilings) -> Limit:
    """Tokens of a pass over the seconds of its bytes, if nothing else cost anything."""
    rate, per_pass = float(workload["bytes_per_s"] or 0), tokens_per_pass(results(one.name, SETUP))
    read = bytes_a_pass(one)
    return Limit(per_pass * rate / read, f"{per_pass:.2f} tokens a pass / seconds to read {read / 1e6:.2f} MB")


def bytes_a_pass(one: Contender) -> int:
    """What has to be read in each: the layers that do not stay."""
    model = streamed(one, None)
    return sum(size for layer, size in enumerate(model.store.held) if layer not in model.resident)


@cache
def _log(one: Contender) -> Log:
    """What a run from a cold start reads and holds; the prompt's pass is not counted."""
    model = streamed(one, None)
    drafter = one.make() if one.make else Nothing()
    run(model, drafter, SETUP, rule=one.rule)
    first = Log(model.log.passes, model.log.bytes_read)
    run(model, drafter, SETUP, rule=one.rule)
    log = model.log
    return Log(log.passes - first.passes, log.bytes_read - first.bytes_read, 0.0, log.peak_bytes)


def _bytes_a_token(one: Contender) -> float:
    return _log(one).bytes_read / SETUP.tokens


def _peak(one: Contender) -> float:
    return _log(one).peak_bytes


def _value_case(metric: str, title: str, value: Callable[[Contender], float], setup: Setup = MANY) -> Case:
    def prepare(one: Contender, _workload: Workload, _device: str) -> Step:
        return lambda: float(value(one))

    ways = [
        Implementation(
            one.name,
            "baseline" if one.name == "std" else "method",
            "packed" if metric in ("bytes_moved", "peak_memory") else "kernel",
            partial(prepare, one),
            quality=partial(_quality, one) if one.rule or one.shards else None,
            note=one.note,
            module=one.module,
        )
        for one in contenders()
    ]
    return Case(
        id=f"speculative_decoding/llmcad/{metric}",
        title=title,
        metric=metric,
        workload=_workload(setup),
        implementations=tuple(ways),
        timed=False,
        no_limit="a property of models and text, not of the machine",
        devices=("cpu",),
    )


def _quality(one: Contender, _workload: Workload, _device: str) -> Quality:
    return Quality("rouge_l", likeness(one.name, MANY))


def _step_case() -> Case:
    """What one pass costs: r is the target's over the draft's."""

    def streamed_step(_workload: Workload, _device: str) -> Step:
        return contender_step(contenders()[1], RATE, _ONE)

    rate = f"target-{RATE / 1e6:.0f}-mb-per-s"
    ways = [
        Implementation("draft-step", "baseline", "kernel", lambda *_: plain_step(draft(), _ONE)),
        Implementation("target-memory", "method", "kernel", lambda *_: plain_step(target("tiny-target"), _ONE)),
        Implementation(rate, "method", "kernel", streamed_step, module="layer_stream"),
    ]
    return Case(
        id="speculative_decoding/llmcad/passes/step_time",
        title="One token through the draft, and through the target in memory and read from files",
        metric="step_time",
        workload={"model": "tiny-target", "draft": "tiny-draft", "cached_tokens": 63, "batch": 1, "dtype": "float32"},
        implementations=tuple(ways),
        timed=True,
        no_limit="the streamed case has the limit of its rate",
        devices=("cpu",),
    )


_ONE = Setup("tiny-target", "free", tokens=1)
