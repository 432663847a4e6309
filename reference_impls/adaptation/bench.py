"""The cases of this family: how far each method brings the tiny model in equal steps, and what it holds meanwhile.

The task is the held-out novel in capitals: the same language in tokens that the model has hardly seen. Learning rates
were chosen once for each method, the best of a few on text that is not evaluated (`LEARNING_RATE` of its module).
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from reference_impls.adaptation import Loss, methods, trainable, updates
from reference_impls.measurement.case import Case, Implementation, Role, Step, Value, Workload
from reference_impls.models import tiny
from reference_impls.models.perplexity import token_losses, token_perplexity
from reference_impls.pruning.bench_models import Way, value_case

STEPS, BATCH, LENGTH = 40, 4, 64
EVALUATED, CONTEXT = 4096, 128
TRIALS = 3
"""Draws of the training windows and of what a method draws itself: the samples of its cases."""
FULL_RATE = 1e-3
"""Of plain training of all weights, and of a method whose module declares no LEARNING_RATE."""
NAMES = {"bottleneck": "adapters"}
"""Of methods that are known under another name than their module's."""
Measure = Callable[["Training"], float]


@dataclass
class Training:
    """A model after its steps, and what was held while it was trained."""

    model: nn.Module
    trained: int = 0  # parameters
    state_bytes: int = 0  # gradients alive at once, and what the optimizer keeps


@cache
def capitals() -> Tensor:
    """The held-out text in capitals. -> (seq,)"""
    return tiny.load_tokenizer().encode(tiny.heldout_text().upper())


def windows_of(seed: int) -> list[Tensor]:
    """STEPS batches behind the tokens that are evaluated. -> (BATCH, LENGTH + 1) each"""
    text = capitals()[EVALUATED:]
    generator = torch.Generator().manual_seed(seed)
    starts = torch.randint(len(text) - LENGTH - 1, (STEPS, BATCH), generator=generator)
    return [torch.stack([text[start : start + LENGTH + 1] for start in row]) for row in starts.tolist()]


def rate_of(name: str) -> float:
    """What a method's module declares; else what its Config has by default, or the rate of all weights."""
    method: Any = {**methods(), **updates()}.get(name)
    default: float = getattr(getattr(method, "Config", None), "learning_rate", FULL_RATE)
    return getattr(method, "LEARNING_RATE", default)


def name_of(way: str) -> str:
    """What a method is called in the record, by its module."""
    return NAMES.get(way, way.replace("_", "-"))


def ranked() -> tuple[str, ...]:
    """The methods that have a rank."""
    return tuple(name for name, method in methods().items() if "rank" in {one.name for one in fields(method.Config)})


def loss_on(model: nn.Module, tokens: Tensor) -> Tensor:
    """Mean loss of the next token. tokens: (batch, seq) -> ()"""
    return token_losses(model(tokens[:, :-1]), tokens[:, 1:]).mean()


@cache
def trained(name: str, rank: int, seed: int) -> Training:
    """The tiny model after STEPS steps of one method; kept, since several cases look at it."""
    base = tiny.load_target()
    if name == "none":
        return Training(base)
    if name in updates():
        return _updated(name, base, seed)
    rate = rate_of(name)
    if name == "full":
        model, groups = base, [{"params": list(base.parameters())}]
    else:
        method: Any = methods()[name]
        config = method.Config(rank=rank) if name in ranked() else method.Config()
        model = method.adapt(base, config, torch.Generator().manual_seed(seed))
        groups = [{"params": trainable(model)}]
        if hasattr(method, "parameter_groups"):
            groups = method.parameter_groups(model, config, rate)
    return _with_adam(model, groups, rate, seed)


def _with_adam(model: nn.Module, groups: list[dict[str, Any]], rate: float, seed: int) -> Training:
    optimizer = torch.optim.AdamW(groups, lr=rate, weight_decay=0.0)
    result = Training(model, sum(parameter.numel() for parameter in trainable(model)))
    for tokens in windows_of(seed):
        optimizer.zero_grad()
        torch.autograd.backward(loss_on(model, tokens))
        optimizer.step()
        held = [p.grad for p in trainable(model) if p.grad is not None]
        held += [value for state in optimizer.state.values() for value in state.values() if value.dim()]
        result.state_bytes = max(result.state_bytes, sum(tensor.nbytes for tensor in held))
    return result


def _updated(name: str, model: nn.Module, seed: int) -> Training:
    """Every weight, by a method that holds less than an optimizer does; bytes are those of gradients at any time."""
    method: Any = updates()[name]
    parameters = list(model.parameters())
    result = Training(model, sum(parameter.numel() for parameter in parameters))

    def look(_parameter: Tensor) -> None:
        alive = sum(p.grad.nbytes for p in parameters if p.grad is not None)
        result.state_bytes = max(result.state_bytes, alive)

    handles = [parameter.register_post_accumulate_grad_hook(look) for parameter in parameters]  # type: ignore[no-untyped-call]
    config = method.Config(learning_rate=rate_of(name))
    for number, tokens in enumerate(windows_of(seed)):
        loss: Loss = partial(loss_on, model, tokens)
        method.step(parameters, loss, config, seed=1000 * seed + number)
    for handle in handles:
        handle.remove()
    return result


def cases() -> list[Case]:
    """Every case of the family: equal steps for all, other ranks for those that have one, and the time of a step."""
    return [*_equal_steps(), *(_rank_case(rank) for rank in (2, 32)), _step_case()]


def _equal_steps() -> list[Case]:
    name, title = "adaptation/tiny-target/equal-steps", f"the tiny target after {STEPS} steps on capitals"
    ways = [*methods(), *updates()]
    return [
        _case(f"{name}/perplexity", f"Perplexity of {title}", "perplexity", ways, quality, TRIALS, base="none"),
        _case(f"{name}/trained_parameters", f"Trained parameters of {title}", "trained_parameters", ways, parameters),
        _case(
            f"{name}/training_state_bytes",
            f"Gradients and optimizer state of {title}",
            "training_state_bytes",
            ways,
            state,
        ),
    ]


def _rank_case(rank: int) -> Case:
    name, title = f"adaptation/tiny-target/rank-{rank}", f"Perplexity of the tiny target tuned at rank {rank}"
    return _case(f"{name}/perplexity", title, "perplexity", ranked(), quality, 1, "none", rank)


def quality(training: Training) -> float:
    """On text behind which it was trained."""
    return token_perplexity(training.model.eval(), capitals()[:EVALUATED], CONTEXT)


def parameters(training: Training) -> float:
    """Numbers that are trained."""
    return float(training.trained)


def state(training: Training) -> float:
    """Bytes beside weights and activations."""
    return float(training.state_bytes)


def _workload(rank: int = 8) -> dict[str, Value]:
    return {
        "model": "tiny-target",
        "text": "the held-out novel in capitals",
        "tokens": EVALUATED,
        "context_length": CONTEXT,
        "training_text": "windows of the same text behind the tokens evaluated, drawn anew for each sample",
        "training_tokens": STEPS * BATCH * LENGTH,
        "steps": STEPS,
        "batch": BATCH,
        "rank": rank,
        "learning_rates": "one for each method, the best of a few on text that is not evaluated",
        "dtype": "float32",
    }


def _case(
    name: str,
    title: str,
    metric: str,
    ways: list[str] | tuple[str, ...],
    measure: Measure,
    trials: int = 1,
    base: str = "full",
    rank: int = 8,
) -> Case:
    """A case of values of one training each; the baseline of qualities is the model before any step."""

    def value(way: str, _model: str, seed: int) -> float:
        return measure(trained(way, rank, seed))

    chosen: list[tuple[str, Role]] = [(base, "baseline"), *((way, "method") for way in ways)]
    if base == "none":
        chosen.append(("full", "peer"))
    found = [
        Way(name_of(way), partial(value, way), way if role == "method" else None, role, effect="kernel")
        for way, role in chosen
    ]
    return value_case(name, title, metric, found, _workload(rank), trials, "a property of the method and the text")


def _step_case() -> Case:
    """Time of one step of training; a prefix or a bias costs as much of it as all weights do, or nearly."""
    ways: list[tuple[str, Role]] = [("full", "baseline"), *((way, "method") for way in [*methods(), *updates()])]
    return Case(
        id="adaptation/tiny-target/training-step",
        title="One step of training the tiny target",
        metric="step_time",
        workload={"model": "tiny-target", "batch": BATCH, "prompt_tokens": LENGTH, "rank": 8, "dtype": "float32"},
        implementations=tuple(
            Implementation(name_of(way), role, "kernel", partial(_step, way), module=way if role == "method" else None)
            for way, role in ways
        ),
        timed=True,
        no_limit="a mix of passes of different length; the ratio to full training is what is asked",
    )


def _step(way: str, work: Workload, device: str) -> Step:  # noqa: ARG001 one shape only
    base = tiny.load_target().to(device)
    tokens = windows_of(0)[0].to(device)
    if way in updates():
        method: Any = updates()[way]
        config, parameters = method.Config(learning_rate=rate_of(way)), list(base.parameters())

        def update() -> None:
            with torch.inference_mode(False):  # the bench times in inference mode
                method.step(parameters, partial(loss_on, base, tokens), config)

        return update
    model = base
    if way != "full":
        method = methods()[way]
        model = method.adapt(base, method.Config(), torch.Generator().manual_seed(0))
    optimizer = torch.optim.AdamW(trainable(model), lr=0.0)

    def step() -> None:
        with torch.inference_mode(False), torch.enable_grad():
            optimizer.zero_grad()
            torch.autograd.backward(loss_on(model, tokens))
            optimizer.step()

    return step
