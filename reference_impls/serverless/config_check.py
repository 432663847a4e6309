"""A configuration, checked before it is deployed: rules with a reason and a fix.

Paper: arXiv 2207.13263 ("Software Engineering for Serverless Computing" names configuration management; rules ours).
Idea: what makes a function fail or waste money shows in four small records: its config, the card of its model, a
    measured profile, and what the host offers.
Symbols: nothing beyond the records' fields.
Simplified: one function on one host; nothing is measured here.
Differs: the paper lists no rules.
Cost: nothing worth naming.
Checked against: one record that breaks each rule and one at its edge that keeps it; configs that keep all, run.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from reference_impls.serverless import MEMORY_OF_ONE_CORE, Config

MB = 1 << 20


@dataclass(frozen=True)
class Card:
    """What is known of the model. quantization: how its codes are read, or None where nothing says so."""

    weight_bytes: int
    kv_bytes_per_token: int
    context: int
    dtype: str = "float32"
    bits: int = 32
    quantization: str | None = None


@dataclass(frozen=True)
class Profile:
    """What was measured of the function. Memory is the peak of one instance."""

    peak_memory_mb: float
    p99_cold_s: float
    batch: int = 1
    threads: int = 1


@dataclass(frozen=True)
class Host:
    """What an instance may be given. dtypes: those that its processor and its kernels compute in."""

    memory_mb: float
    dtypes: frozenset[str] = frozenset({"float32", "bfloat16"})


@dataclass(frozen=True)
class Deployment:
    """All that the rules look at."""

    config: Config
    card: Card
    profile: Profile
    host: Host


@dataclass(frozen=True)
class Finding:
    """A rule that was broken: an error would fail, a warning wastes."""

    rule: str
    severity: Literal["error", "warning"]
    reason: str
    fix: str


Rule = Callable[[Deployment], Finding | None]


def memory_below_peak(given: Deployment) -> Finding | None:
    """An instance that needs more than it may have is killed in the middle of a request."""
    config, peak = given.config, given.profile.peak_memory_mb
    if config.memory_mb >= peak:
        return None
    reason = f"the function was seen to take {peak:g} MB, it may take {config.memory_mb}"
    return Finding("memory-below-peak", "error", reason, f"set memory_mb to at least {peak:g}")


def timeout_below_cold(given: Deployment) -> Finding | None:
    """A first request that times out starts another cold instance, which times out as well."""
    cold = given.profile.p99_cold_s
    if given.config.timeout_s >= cold:
        return None
    reason = f"one cold request in a hundred takes {cold:g} s or more, the timeout is {given.config.timeout_s:g} s"
    return Finding("timeout-below-cold", "error", reason, f"set timeout_s to at least {cold:g}, or load fewer bytes")


def cache_above_memory(given: Deployment) -> Finding | None:
    """Keys and values grow with batch and context, and weights lie beside them."""
    card, batch = given.card, given.profile.batch
    needed = (card.weight_bytes + batch * card.context * card.kv_bytes_per_token) / MB
    if needed <= given.config.memory_mb:
        return None
    reason = f"weights and {batch} x {card.context} tokens of cache take {needed:.0f} MB of {given.config.memory_mb}"
    return Finding("cache-above-memory", "error", reason, "shorten the context, lower the batch or add memory")


def dtype_unsupported(given: Deployment) -> Finding | None:
    """Where a type is not computed in, a library fails or quietly converts everything."""
    if given.card.dtype in given.host.dtypes:
        return None
    reason = f"the model computes in {given.card.dtype}, the host in {', '.join(sorted(given.host.dtypes))}"
    return Finding("dtype-unsupported", "error", reason, "convert the weights to a type that the host has")


def quantization_unnamed(given: Deployment) -> Finding | None:
    """Codes of a few bits mean nothing without their scheme."""
    if given.card.bits >= 16 or given.card.quantization:
        return None
    reason = f"weights of {given.card.bits} bits, and nothing says how they are decoded"
    return Finding("quantization-unnamed", "error", reason, "store method, bits and group size beside the weights")


def instances_above_host(given: Deployment) -> Finding | None:
    """The platform admits as many instances as it was told to."""
    config, host = given.config, given.host.memory_mb
    if config.concurrency * config.memory_mb <= host:
        return None
    reason = f"{config.concurrency} instances of {config.memory_mb} MB do not fit into {host:g} MB"
    return Finding(
        "instances-above-host", "error", reason, f"set concurrency to at most {int(host / config.memory_mb)}"
    )


def core_unused(given: Deployment) -> Finding | None:
    """One thread cannot use what is beyond one core, and it is billed."""
    config, profile = given.config, given.profile
    useful = max(MEMORY_OF_ONE_CORE, profile.peak_memory_mb)
    if profile.threads > 1 or config.memory_mb <= useful:
        return None
    reason = f"one thread is no faster above {MEMORY_OF_ONE_CORE} MB, and the peak is {profile.peak_memory_mb:g} MB"
    return Finding("core-unused", "warning", reason, f"set memory_mb to {useful:g}")


def kept_too_briefly(given: Deployment) -> Finding | None:
    """Loading takes longer than what was loaded is then kept for."""
    config, cold = given.config, given.profile.p99_cold_s
    if config.keep_alive_s == 0 or config.keep_alive_s >= cold:
        return None
    reason = f"an instance that took {cold:g} s to start is kept for {config.keep_alive_s:g} s"
    return Finding("kept-too-briefly", "warning", reason, f"keep it for at least {cold:g} s, or not at all")


def pickled_weights(given: Deployment) -> Finding | None:
    """A pickle is a program; and its bytes are copied where a mapped file's are not."""
    if given.config.format != "pickle":
        return None
    reason = "a pickle may run code when it is read, and cannot be mapped into memory by every loader"
    return Finding("pickled-weights", "warning", reason, "store the weights as safetensors")


RULES: tuple[Rule, ...] = (
    memory_below_peak,
    timeout_below_cold,
    cache_above_memory,
    dtype_unsupported,
    quantization_unnamed,
    instances_above_host,
    core_unused,
    kept_too_briefly,
    pickled_weights,
)


def check(given: Deployment) -> list[Finding]:
    """Every rule that is broken, errors first."""
    return sorted(_findings(given), key=lambda one: one.severity)


def _findings(given: Deployment) -> Iterator[Finding]:
    return (found for rule in RULES if (found := rule(given)))
