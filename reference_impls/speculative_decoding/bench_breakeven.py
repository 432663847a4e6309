"""Where speculative decoding begins to pay: speed by acceptance and by the cost of a guess, beside the formula.

An oracle is right as often as it is told to be, and a price is paid for each of its guesses: one token through some of
the target's own layers. So both axes are set, the time is real, and the formula (see `bench_formula`) has only the loop
and the independence of guesses left to be wrong about; the oracle's guesses are independent.
"""

from collections.abc import Callable
from functools import cache, partial

import torch

from reference_impls.measurement.case import Case, Implementation, Step, Value, Workload
from reference_impls.models import generate as plain
from reference_impls.models.decoder import rotation
from reference_impls.speculative_decoding import oracle
from reference_impls.speculative_decoding.bench_formula import pass_of, seconds_of
from reference_impls.speculative_decoding.bench_setups import ROOM, Setup, plain_step, prompts, speculative_step, target

SETUP = Setup("tiny-target", "free", tokens=48)
LENGTH, TRIALS = 4, 10
ACCEPTANCES, AT_LAYERS = (0.2, 0.4, 0.6, 0.8, 0.95), 1
LAYERS, AT_ACCEPTANCE = (1, 2, 3, 4, 6), 0.8


def cases() -> list[Case]:
    """Both axes, measured and foretold; one case a place, which figures lay side by side."""
    places = [("acceptance", AT_LAYERS, alpha) for alpha in ACCEPTANCES]
    places += [("cost", layers, AT_ACCEPTANCE) for layers in LAYERS]
    return [_case(*place, kind) for place in places for kind in ("measured", "foretold")]


def _case(axis: str, layers: int, alpha: float, kind: str) -> Case:
    measured = kind == "measured"
    place = f"{alpha:g}" if axis == "acceptance" else f"{layers}-of-6"
    prepare: Callable[..., Step] = _measured if measured else _foretold
    return Case(
        id=f"speculative_decoding/break-even-{axis}/{place}-{kind}/decode_throughput",
        title=f"{LENGTH} guesses a round, right with chance {alpha:g}, each at {layers} of 6 layers, {kind}",
        metric="decode_throughput",
        workload=_workload(axis, layers, alpha) | {"values": kind},
        implementations=(
            Implementation("plain", "baseline", "kernel", partial(prepare, 0, alpha)),
            Implementation(
                "oracle" if measured else "formula",
                "method" if measured else "peer",
                "kernel" if measured else "simulated",
                partial(prepare, layers, alpha),
                note="guesses are right as often as they are told to be" if measured else "tau / (1 + gamma c + v)",
                module="oracle" if measured else None,
            ),
        ),
        timed=measured,
        amount=float(SETUP.tokens),
        no_limit="the formula stands beside it",
        devices=("cpu",),
        trials=1 if measured else TRIALS,
    )


def _workload(axis: str, layers: int, alpha: float) -> dict[str, Value]:
    """The varied field is a number under its own name, the other one is text. There is no batch: these are sweeps."""
    own = {name: value for name, value in SETUP.workload.items() if name != "batch"} | {"guesses": LENGTH}
    if axis == "acceptance":
        return own | {"acceptance": alpha, "guess": f"{layers} of 6 layers and the head"}
    return own | {"draft_cost": round(layers / 6, 3), "guesses_right": f"{alpha:g}"}


def _measured(layers: int, alpha: float, _workload: Workload, _device: str) -> Step:
    if not layers:
        return plain_step(target(SETUP.model), SETUP)
    config = oracle.Config(alpha, target(SETUP.model).config.vocab, LENGTH)
    return speculative_step(target(SETUP.model), oracle.Drafter(_known(), config, price(layers)), SETUP)


@cache
def _known() -> list[int]:
    """The prompt and the target's own continuation."""
    (prompt,) = prompts(SETUP)
    return [*prompt.tolist(), *plain.generate(target(SETUP.model), prompt[None], SETUP.tokens + ROOM)[0].tolist()]


def price(layers: int) -> Callable[[], None]:
    """One token through the first layers of the target and its head, with a cache of the prompt's length."""
    model = target(SETUP.model)
    held = model.new_cache(1, 80)
    model.hidden_states(torch.zeros(1, 64, dtype=torch.long), held)
    turn = rotation(torch.tensor([64]), model.config.head_dim, model.config.rope_theta)

    def pay() -> None:
        with torch.inference_mode():
            x = model.embedding(torch.zeros(1, 1, dtype=torch.long))
            for block in model.blocks[:layers]:
                x = block(x, turn, held, None)
            model.head(model.norm(x))
            held.crop(64)

    return pay


def _foretold(layers: int, alpha: float, _workload: Workload, _device: str) -> Step:
    """Tokens a second by the formula, its times taken anew in every trial."""
    length = LENGTH if layers else 0
    verify, guess = pass_of(target(SETUP.model), 1 + length), price(layers)

    def step() -> float:
        spent = seconds_of(verify) + (length * seconds_of(guess) if length else 0.0)
        return oracle.expected_tokens(alpha, length) / spent

    return step
