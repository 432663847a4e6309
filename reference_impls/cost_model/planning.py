"""From a model, a machine and settings to an answer: does it fit, how fast can it be, what to change first.

Paper: none; the bounds are those of `time`, the bytes those of `memory`.
Idea: weights, cache, working memory and draft must fit in the usable memory; what does not may be streamed.
Symbols: as in `time`.
Simplified: one device; what is streamed is always weights; a draft's memory is draft_cost times that of the weights.
Differs: nothing.
Cost: none to speak of.
Checked against: recorded runs; laws (less memory for fewer bits, no time gained by a slower machine); hand-worked sums.
"""

from math import floor, inf

from reference_impls.cost_model.memory import kv_bytes, linear_bytes, weight_bytes, work_bytes
from reference_impls.cost_model.parameters import (
    active_parameters,
    linear_weights,
    total_parameters,
)
from reference_impls.cost_model.records import KvFormat, Machine, Option, Plan, Settings, Shape, Step, WeightFormat
from reference_impls.cost_model.time import step, streamed_share_of, tokens_per_target_step


def draft_bytes(shape: Shape, weights: WeightFormat, settings: Settings) -> float:
    """Estimate of a draft model's weights: where reading bounds both, its cost is its share of the bytes."""
    return settings.draft_cost * weight_bytes(shape, weights) if settings.draft_length > 0 else 0


def streamed_bytes(shape: Shape, weights: WeightFormat, missing: float, allowed: bool) -> float:
    """Bytes of the linear layers that stay on the host: what is missing, if that is allowed, and no more than all."""
    return min(max(0, missing), linear_bytes(shape, weights)) if allowed else 0


def longest_context(shape: Shape, kv: KvFormat, settings: Settings, room: float) -> float:
    """Tokens a sequence for which `room` bytes are enough; infinity where the cache does not grow.

    Up to its window a window layer grows as the others do; after that only global layers grow.
    """
    fixed = kv_bytes(shape, kv, 0, settings.batch)
    short = kv_bytes(shape, kv, 1, settings.batch) - fixed
    full = kv_bytes(shape, kv, shape.window, settings.batch)
    more = kv_bytes(shape, kv, shape.window + 1, settings.batch) - full
    if room < fixed:
        return 0
    if room < full:
        return floor((room - fixed) / short)
    return shape.window + floor((room - full) / more) if more > 0 else inf


def advise(total: float, usable: float, weights_bytes: float, cache: float, fits: bool, decode: Step) -> str:
    """Which change helps first, as a key of the words that page and command print."""
    if not fits:
        if weights_bytes > usable:
            return "fewer-weight-bits"
        return "fewer-kv-bits" if cache > weights_bytes else "shorter"
    if decode.limit == "link":
        return "stop-streaming"
    if decode.limit == "compute":
        return "compute-bound"
    if cache > 0.5 * decode.read_bytes:
        return "cache-bound"
    return "weights-bound-room" if total < 0.7 * usable else "weights-bound"


def plan(shape: Shape, machine: Machine, weights: WeightFormat, kv: KvFormat, settings: Settings) -> Plan:
    """Bytes by part, whether they fit, and bounds on time for one device."""
    stored = weight_bytes(shape, weights)
    cache = kv_bytes(shape, kv, settings.context, settings.batch)
    work = work_bytes(shape, settings)
    draft = draft_bytes(shape, weights, settings)
    total = stored + cache + work + draft
    usable = machine.memory_bytes * machine.usable_share
    allowed = settings.offload and machine.link_bytes_per_s > 0
    streamed = streamed_bytes(shape, weights, total - usable, allowed)
    share = streamed_share_of(shape, weights, streamed)
    spare = usable - total + streamed
    prefill = step(shape, machine, weights, kv, settings, settings.context, 1, share)
    decode = step(shape, machine, weights, kv, settings, 1, 1, share)
    drafted = settings.draft_length
    verify = step(shape, machine, weights, kv, settings, min(drafted + 1, settings.context), drafted + 1, share)
    tau = tokens_per_target_step(settings.acceptance, drafted)
    decode_s = (verify.seconds + drafted * settings.draft_cost * decode.seconds) / tau
    room = usable - (total - cache) + (linear_bytes(shape, weights) if allowed else 0)
    each = kv_bytes(shape, kv, settings.context, 1)
    return Plan(
        parameters=total_parameters(shape),
        active_parameters=active_parameters(shape),
        weight_bytes=stored,
        kv_bytes=cache,
        work_bytes=work,
        draft_bytes=draft,
        total_bytes=total,
        usable_bytes=usable,
        streamed_bytes=streamed,
        spare_bytes=spare,
        fits=spare >= 0,
        prefill=prefill,
        decode=decode,
        prefill_s=prefill.seconds,
        decode_s=decode_s,
        tokens_per_s=settings.batch / decode_s,
        tokens_per_target_step=tau,
        speculation_speedup=decode.seconds / decode_s,
        longest_context=longest_context(shape, kv, settings, room),
        largest_batch=max(0, floor(room / each)),
        advice=advise(total, usable, stored, cache, spare >= 0, decode),
    )


def bits_per_weight(shape: Shape, weights: WeightFormat) -> float:
    """Stored bits a weight of the linear layers, scales included."""
    return 8 * linear_bytes(shape, weights) / linear_weights(shape)


def option(
    shape: Shape, machine: Machine, names: list[str], weights: WeightFormat, kv: KvFormat, settings: Settings
) -> Option:
    """One pair of formats with its plan. names: of the weight format, of the cache format."""
    return Option(
        weights=names[0],
        kv=names[1],
        weight_bits=bits_per_weight(shape, weights),
        kv_bits=8 * kv_bytes(shape, kv, 1, 1),
        plan=plan(shape, machine, weights, kv, settings),
    )


def rank(
    shape: Shape, machine: Machine, weights: dict[str, WeightFormat], kv: dict[str, KvFormat], settings: Settings
) -> list[Option]:
    """Every pair of formats that fits: most bits a weight first, then most bits of cache, then the faster.

    More bits are never expected to do more harm; what was measured stands beside each, where something was. Formats
    wider than 16 bits are left out: they add nothing to models that are published in 16.
    """
    found = [
        option(shape, machine, [name, kv_name], weights[name], kv[kv_name], settings)
        for name in weights
        for kv_name in kv
        if weights[name].bits <= 16 and kv[kv_name].bits <= 16
    ]
    fitting = [one for one in found if one.plan.fits]
    return sorted(fitting, key=lambda one: [-one.weight_bits, -one.kv_bits, one.plan.decode_s])
