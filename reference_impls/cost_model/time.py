"""Lower bounds on the time of prefill and decode, and what speculation can gain.

Paper: Williams et al. 2009 (roofline); arXiv 2211.05102, sections 2 and 3 (inference); 2211.17192, eq. 1 and
    theorem 3.8 (speculation).
Idea: a pass takes at least as long as reading what it needs, streaming what stays on the host, and its arithmetic;
    perfectly overlapped, the longest of the three.
Symbols: alpha = acceptance, gamma = draft_length, c = draft_cost; tau = tokens a step of the target yields.
Simplified: perfect overlap, peak rates, weights read once a pass, no communication between devices; even routing.
Differs: a verifying pass is priced by its own bytes and operations, where the paper takes it as free.
Cost: none to speak of.
Checked against: recorded runs, none of which beats its bound; hand-worked values; the limit of gamma or alpha at 0.
"""

from reference_impls.cost_model.memory import (
    head_bytes,
    kv_bytes,
    linear_bytes,
    touched_linear_bytes,
)
from reference_impls.cost_model.parameters import active_linear_weights, head_weights, small_weights
from reference_impls.cost_model.records import KvFormat, Machine, Settings, Shape, Step, WeightFormat


def flops_rate(machine: Machine, compute: str) -> float:
    """Rate of products in an arithmetic; where the machine has none, of the next wider one. 0: not known."""
    wide = machine.bfloat16_flops_per_s if machine.bfloat16_flops_per_s > 0 else machine.float32_flops_per_s
    if compute == "float32":
        return machine.float32_flops_per_s
    if compute == "float8" and machine.float8_flops_per_s > 0:
        return machine.float8_flops_per_s
    if compute == "int8" and machine.int8_flops_per_s > 0:
        return machine.int8_flops_per_s
    return wide


def pairs(context: float, added: float, window: float) -> float:
    """(query, key) pairs of the last `added` of `context` tokens, each seeing itself and up to window - 1 before it.

    window 0: everything before. With f(n) = pairs of the first n tokens: f(context) - f(context - added).
    """
    return pairs_from_start(context, window) - pairs_from_start(context - added, window)


def pairs_from_start(tokens: float, window: float) -> float:
    """n (n + 1) / 2 while n is within the window, then `window` for each more."""
    inside = min(tokens, window) if window > 0 else tokens
    return inside * (inside + 1) / 2 + (tokens - inside) * window


def pair_flops(shape: Shape, absorbed: bool) -> float:
    """Operations for one pair in one layer: two a number of the key, two a number of the value, for every head.

    absorbed: latent attention works on the cached latent itself (decode) instead of keys and values made from it.
    """
    if shape.kv_rank > 0:
        if absorbed:
            return 2 * shape.heads * (2 * shape.kv_rank + shape.rope_dim)
        return 2 * shape.heads * (shape.head_dim + shape.rope_dim + shape.value_dim)
    return 4 * shape.heads * shape.head_dim


def attention_flops(shape: Shape, context: float, added: float) -> float:
    """Operations of attention for the last `added` of `context` tokens of one sequence, and of the state updates."""
    cost = pair_flops(shape, added < context)
    seen = shape.global_layers * pairs(context, added, 0) + shape.window_layers * pairs(context, added, shape.window)
    state = 6 * shape.state_layers * shape.state_inner * shape.state_size * added
    return cost * seen + state


def dense_flops(shape: Shape, tokens: float, logits: float) -> float:
    """Two operations for each weight that a token uses, and the head for `logits` of them."""
    return 2 * (active_linear_weights(shape) * tokens + head_weights(shape) * logits)


def step(
    shape: Shape,
    machine: Machine,
    weights: WeightFormat,
    kv: KvFormat,
    settings: Settings,
    added: int,
    logits: int,
    streamed_share: float,
) -> Step:
    """One pass in which each of `batch` sequences adds `added` tokens to reach `context`.

    logits: positions a sequence whose scores are computed; streamed_share: what of the linear layers the host keeps,
    which goes over the link first and is read from memory like the rest.
    """
    tokens = settings.batch * added
    touched = touched_linear_bytes(shape, weights, tokens)
    rest = head_bytes(shape, weights) + small_weights(shape) * weights.small_bits / 8
    cache = kv_bytes(shape, kv, settings.context, settings.batch)
    link_bytes = touched * streamed_share
    read_bytes = touched + rest + cache
    dense = dense_flops(shape, tokens, settings.batch * logits)
    mixed = settings.batch * attention_flops(shape, settings.context, added)
    rate = flops_rate(machine, weights.compute)
    wide = flops_rate(machine, "float32" if weights.compute == "float32" else "bfloat16")
    compute_s = dense / rate + mixed / max(wide, rate) if rate > 0 else 0
    read_s = read_bytes / machine.read_bytes_per_s
    link_s = link_bytes / machine.link_bytes_per_s if machine.link_bytes_per_s > 0 else 0
    return Step(
        read_bytes=read_bytes,
        link_bytes=link_bytes,
        flops=dense + mixed,
        read_s=read_s,
        link_s=link_s,
        compute_s=compute_s,
        seconds=max(read_s, link_s, compute_s),
        limit=longest(read_s, link_s, compute_s),
    )


def longest(read_s: float, link_s: float, compute_s: float) -> str:
    """Which of the three bounds a pass."""
    if link_s >= read_s and link_s >= compute_s and link_s > 0:
        return "link"
    return "bandwidth" if read_s >= compute_s else "compute"


def tokens_per_target_step(acceptance: float, draft_length: int) -> float:
    """tau = 1 + alpha + ... + alpha^gamma: the accepted drafts and the token that the target adds itself."""
    return sum(acceptance**at for at in range(draft_length + 1))


def streamed_share_of(shape: Shape, weights: WeightFormat, streamed: float) -> float:
    """Share of the linear layers that stays on the host; embedding, head and norms are kept on the device."""
    return min(1, streamed / linear_bytes(shape, weights))
