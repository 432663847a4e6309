"""The cases of a GPU: an 8B-shaped target with random weights, guesses that are right as often as they are told to be.

Speed depends on shapes, so random weights serve; acceptance does not, so an oracle sets it, and a smaller model of
random weights is run for every guess as its price. On the CPU the same code runs with tiny shapes, for rehearsals.
"""

from collections.abc import Callable
from functools import cache, partial
from time import perf_counter
from typing import Any

import torch

from reference_impls.measurement.case import Case, Ceilings, Implementation, Limit, Step, Value, Workload
from reference_impls.models import generate as plain
from reference_impls.models.decoder import Config, Decoder
from reference_impls.models.shapes import SHAPES, random_model
from reference_impls.speculative_decoding import oracle
from reference_impls.speculative_decoding.generate import generate, judge, prefill
from reference_impls.speculative_decoding.layer_store import HostStore, nbytes, split
from reference_impls.speculative_decoding.layer_stream import Config as Stream
from reference_impls.speculative_decoding.layer_stream import StreamedDecoder
from reference_impls.speculative_decoding.tree import Tree, chain

DRAFT_1B = Config(
    128_256, 2048, layers=16, heads=32, kv_heads=8, head_dim=64, ffn=8192, rope_theta=500_000.0, max_positions=8192
)
MODELS = {
    "cuda": {"target": SHAPES["llama-3-8b"], "draft": DRAFT_1B},
    "cpu": {"target": SHAPES["tiny-target"], "draft": SHAPES["tiny-draft"]},
}
PROMPT, TOKENS, LENGTH = 512, 64, 4
ACCEPTANCES = (0.6, 0.8, 0.9)
NODES = (2, 5, 9, 17, 33, 65, 129)
SHARE = 4
"""The streamed target may hold this part of its layers: 1 / SHARE."""
TRIALS = 10


def cases() -> list[Case]:
    """Speed at set acceptance, cost of verification, what the loop adds, and a target that streams from the host."""
    return [
        *(_speed_case(alpha) for alpha in ACCEPTANCES),
        _verify_case(),
        _overhead_case(),
        _streamed_case(),
    ]


@cache
def model(which: str, device: str) -> Decoder:
    """Random weights: bfloat16 on a GPU, float32 on the CPU."""
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    made = random_model(MODELS[device][which], torch.Generator(device).manual_seed(1), dtype)
    return made.requires_grad_(False)


@cache
def prompt(device: str) -> torch.Tensor:
    """Random tokens. -> (PROMPT,)"""
    vocab = MODELS[device]["target"].vocab
    return torch.randint(vocab, (PROMPT,), generator=torch.Generator().manual_seed(2)).to(device)


@cache
def known(device: str) -> list[int]:
    """The prompt and the target's own continuation, as far as guesses may reach."""
    own = plain.generate(model("target", device), prompt(device)[None], TOKENS + LENGTH + 1)
    return [*prompt(device).tolist(), *own[0].tolist()]


def price(device: str) -> Callable[[], None]:
    """One token through the draft, behind as many as the prompt has."""
    small = model("draft", device)
    held = small.new_cache(1, PROMPT + 8)
    token = torch.zeros(1, 1, dtype=torch.long, device=device)
    with torch.inference_mode():
        small.hidden_states(token.expand(1, PROMPT), held)

    def pay() -> None:
        small.head(small.hidden_states(token, held)[:, -1]).argmax(-1).item()  # a guess is needed before the next one
        held.crop(PROMPT)

    return pay


def drafter(alpha: float, device: str, length: int = LENGTH) -> oracle.Drafter:
    """The oracle, whose guesses cost draft steps."""
    config = oracle.Config(alpha, MODELS[device]["target"].vocab, length)
    return oracle.Drafter(known(device), config, price(device))


def _workload(**more: Value) -> Workload:
    common: dict[str, Value] = {
        "model": "8B shape, random weights",
        "draft": "1B shape, random weights",
        "batch": 1,
        "prompt_tokens": PROMPT,
        "new_tokens": TOKENS,
        "dtype": "bfloat16",
        "temperature": 0.0,
    }
    return common | more


def _plain(big: Any, device: str) -> Step:
    ready = prefill(big, [prompt(device)], TOKENS + 64)

    def step() -> None:
        ready.cache.crop(ready.length)
        plain.generate(big, prompt(device)[None, -1:], TOKENS, cache=ready.cache)

    return step


def _speculative(big: Any, guesses: oracle.Drafter, device: str) -> Step:
    ready = prefill(big, [prompt(device)], TOKENS + 64)

    def step() -> None:
        generate(big, guesses, [prompt(device)], TOKENS, prefilled=ready)

    return step


def _speed_case(alpha: float) -> Case:
    def limit(guesses: int, _workload: Workload, ceilings: Ceilings) -> Limit | None:
        """Tokens a pass over the seconds in which both models' weights can be read."""
        if ceilings.read_bytes_per_s is None:
            return None
        moved = 2 * (_parameters("target") + guesses * _parameters("draft"))
        tokens = oracle.expected_tokens(alpha, guesses)
        return Limit(
            tokens * ceilings.read_bytes_per_s / moved, f"{tokens:.2f} tokens a round x read bandwidth / bytes"
        )

    return Case(
        id=f"speculative_decoding/8b-shape/acceptance-{alpha:g}/decode_throughput",
        title=f"8B shape, {LENGTH} guesses a round of a 1B shape, right with chance {alpha:g}",
        metric="decode_throughput",
        workload=_workload(acceptance=alpha, guesses=LENGTH),
        implementations=(
            Implementation(
                "plain", "baseline", "kernel", lambda _, d: _plain(model("target", d), d), limit=partial(limit, 0)
            ),
            Implementation(
                "oracle",
                "method",
                "kernel",
                lambda _, d: _speculative(model("target", d), drafter(alpha, d), d),
                limit=partial(limit, LENGTH),
                note="guesses are right as often as they are told to be; the draft's steps are paid",
                module="oracle",
            ),
        ),
        timed=True,
        amount=float(TOKENS),
        devices=("cuda",),
    )


def _parameters(which: str) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in Decoder(MODELS["cuda"][which]).parameters())


def tree_of(nodes: int) -> Tree:
    """A root and guesses, two below every other node."""
    return Tree(torch.arange(nodes) % 7, (-1, *((node - 1) // 2 for node in range(1, nodes))))


def _verify_case() -> Case:
    def prepare(nodes: int, _workload: Workload, device: str) -> Step:
        big = model("target", device)
        ready = prefill(big, [prompt(device)], max(NODES) + 8)
        tree = tree_of(nodes) if nodes > 1 else chain([1])

        def step() -> None:
            judge(big, ready.cache, [tree], [ready.length], plain.GREEDY)
            ready.cache.crop(ready.length)

        return step

    ways = [
        Implementation(f"{n - 1}-guesses", "method", "kernel", partial(prepare, n), module="generate") for n in NODES
    ]
    return Case(
        id="speculative_decoding/8b-shape/verification/step_time",
        title="8B shape: a pass over a tree, its verdict and the cache put in order",
        metric="step_time",
        workload=_workload(),
        implementations=(Implementation("no-guess", "baseline", "kernel", partial(prepare, 1)), *ways),
        timed=True,
        no_limit="the cases of set acceptance have limits",
        devices=("cuda",),
    )


def _overhead_case() -> Case:
    """What the loop adds in Python to the passes and draft steps that it gives out."""

    def passes(_workload: Workload, _device: str) -> Step:
        return lambda: 0.0

    return Case(
        id="speculative_decoding/8b-shape/loop/overhead",
        title="8B shape: time of the loop beside its passes and draft steps, as a share of them",
        metric="overhead",
        workload=_workload(guesses_right="0.8", guesses=LENGTH),
        implementations=(
            Implementation("passes-alone", "baseline", "kernel", passes),
            Implementation("loop", "method", "kernel", lambda _, d: overhead_step(d), module="generate"),
        ),
        timed=False,
        no_limit="the goal is nothing",
        devices=("cuda",),
        trials=TRIALS,
    )


def overhead_step(device: str) -> Step:
    """Per cent: the loop's seconds over those of as many passes and draft steps given out bare, less one."""
    big, guesses = model("target", device), drafter(0.8, device)
    ready, pay = prefill(big, [prompt(device)], TOKENS + 64), price(device)
    tokens = torch.zeros(1, 1 + LENGTH, dtype=torch.long, device=device)

    def step() -> float:
        start = _now(device)
        rounds = generate(big, guesses, [prompt(device)], TOKENS, prefilled=ready).rounds
        whole = _now(device) - start
        start = _now(device)
        for one in rounds:
            for _ in range(one.drafted):
                pay()
            ready.cache.crop(ready.length)
            big.head(big.hidden_states(tokens[:, : 1 + one.drafted], ready.cache)).argmax(-1).cpu()
        return 100 * (whole / (_now(device) - start) - 1)

    return step


def _now(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return perf_counter()


def _streamed_case() -> Case:
    def prepare(name: str, _workload: Workload, device: str) -> Step:
        big = streamed(device, ahead=name != "std")
        return _plain(big, device) if name.startswith("std") else _speculative(big, drafter(0.8, device, 8), device)

    def limit(tokens: float, _workload: Workload, ceilings: Ceilings) -> Limit | None:
        if ceilings.host_to_device_bytes_per_s is None:
            return None
        moved = 2 * _layer_parameters() * (1 - 1 / SHARE)
        return Limit(tokens * ceilings.host_to_device_bytes_per_s / moved, f"{tokens:.2f} tokens a pass x link / bytes")

    expected = oracle.expected_tokens(0.8, 8)
    ways = {"std": ("baseline", 1.0), "std-pl": ("method", 1.0), "sp-8-oracle": ("method", expected)}
    return Case(
        id="speculative_decoding/8b-shape/from-host/decode_throughput",
        title=f"8B shape, all but a {SHARE}th of its layers copied from the host in every pass",
        metric="decode_throughput",
        workload=_workload(guesses_right="0.8", guesses=8, storage="pinned host memory"),
        implementations=tuple(
            Implementation(
                name,
                role,  # type: ignore[arg-type]
                "kernel",
                partial(prepare, name),
                limit=partial(limit, tokens),
                module="layer_stream" if name.startswith("std") else "oracle",
            )
            for name, (role, tokens) in ways.items()
        ),
        timed=True,
        amount=float(TOKENS),
        devices=("cuda",),
    )


def _layer_parameters() -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in Decoder(MODELS["cuda"]["target"]).blocks.parameters())


@cache
def _host(device: str) -> HostStore:
    return HostStore(model("target", device), device)


def streamed(device: str, ahead: bool) -> StreamedDecoder:
    """The target with a share of its layers on the device and the others in the host's memory."""
    store = _host(device)
    _, rest = split(model("target", device))
    staying = len(store.held) // SHARE + (2 if ahead else 1)
    shape = MODELS[device]["target"]
    return StreamedDecoder(store, shape, Stream(nbytes(rest) + staying * store.unpacked, ahead))
