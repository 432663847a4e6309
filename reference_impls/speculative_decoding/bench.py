"""The cases of this family: how many guesses are right, what that saves in time, and whether the formula foretells it.

Both arms count the tokens that were asked for, and decode from the same caches. The output is the target's own in every
arm, so no quality is shown. The tiny target's greedy text repeats itself, which flatters look-up: compare with SmolLM2.
"""

from collections.abc import Callable
from functools import cache, partial
from itertools import count
from typing import Any

import torch

from reference_impls.measurement.case import Case, Ceilings, Implementation, Limit, Role, Step, Workload
from reference_impls.speculative_decoding import (
    bench_breakeven,
    bench_formula,
    bench_gpu,
    bench_streamed,
    bench_typical,
)
from reference_impls.speculative_decoding.bench_recipes import (
    Recipe,
    rounded_to_8_bits,
    smollm2_recipes,
    tiny_recipes,
)
from reference_impls.speculative_decoding.bench_setups import (
    TINY,
    TINY_COPY,
    Setup,
    acceptance,
    compiled_step,
    draft,
    draft_share,
    plain_step,
    prompts,
    run,
    speculative_step,
    target,
    tokens_per_pass,
)
from reference_impls.speculative_decoding.generate import Result

SMOLLM2 = (Setup("smollm2-135m", "copy", tokens=16, count=2), Setup("smollm2-135m", "free", tokens=16, count=2))
VALUES: tuple[tuple[str, str, Callable[[list[Result]], float]], ...] = (
    ("tokens_per_target_step", "Tokens a pass of the target", tokens_per_pass),
    ("acceptance_rate", "Guesses that were right", acceptance),
    ("draft_share", "Share of the time spent drafting", draft_share),
)
TRIALS = {"tiny-target": 5, "smollm2-135m": 3}
RUNS = 3


def cases() -> list[Case]:
    """Every case of the family."""
    setups = [*((setup, tiny_recipes()) for setup in (TINY, TINY_COPY)), *((one, smollm2_recipes()) for one in SMOLLM2)]
    found = [case for setup, recipes in setups for case in _setup_cases(setup, recipes)]
    others = (bench_formula, bench_breakeven, bench_typical, bench_streamed, bench_gpu)
    return [*found, *(case for module in others for case in module.cases())]


def _setup_cases(setup: Setup, recipes: list[Recipe]) -> list[Case]:
    return [
        case
        for temperature in (0.0, 1.0)
        for case in (
            _speed_case(setup, recipes, temperature),
            *(_value_case(setup, recipes, *one, temperature) for one in VALUES),
        )
    ]


# Time really saved.


def _speed_case(setup: Setup, recipes: list[Recipe], temperature: float = 0.0) -> Case:
    """Sampled, neither peers nor limits: both would need tokens a pass of runs that differ."""
    own = [
        Implementation(
            one.name,
            "method",
            "kernel",
            partial(_speculate, setup, one, temperature),
            limit=None if temperature else partial(_limit, setup, one),
            note=one.note,
            module=one.module,
        )
        for one in recipes
    ]
    return Case(
        id=f"speculative_decoding/{setup.model}/{_kind(setup, temperature)}/decode_throughput",
        title=f"Decoding with {setup.model}, {_words(setup)}{', sampled' if temperature else ''}",
        metric="decode_throughput",
        workload=dict(setup.workload) | {"temperature": temperature},
        implementations=(
            *_without_guesses(setup, temperature),
            *own,
            *([] if temperature else _peers(setup)),
        ),
        no_limit="tokens a pass differ from run to run" if temperature else "",
        timed=True,
        amount=float(setup.tokens * setup.count),
        devices=("cpu",),
    )


def _kind(setup: Setup, temperature: float) -> str:
    return f"{setup.kind}-sampled" if temperature else setup.kind


def _words(setup: Setup) -> str:
    return "an answer that repeats the prompt" if setup.kind == "copy" else "free text"


def _without_guesses(setup: Setup, temperature: float) -> tuple[Implementation, Implementation]:
    """Plain decoding, and the same compiled: what of a compiled draft's gain is the compiler's."""

    def prepare(how: Callable[[Any, Setup, float], Step], _workload: Workload, _device: str) -> Step:
        return how(target(setup.model), setup, temperature)

    limit = None if temperature else partial(_limit, setup, None)
    note = "no guesses, the step compiled: to tell a compiled draft's gain from the compiler's"
    return (
        Implementation("plain", "baseline", "kernel", partial(prepare, plain_step), limit=limit),
        Implementation("plain-compiled", "peer", "kernel", partial(prepare, compiled_step), limit=limit, note=note),
    )


def _speculate(setup: Setup, recipe: Recipe, temperature: float, _workload: Workload, _device: str) -> Step:
    return speculative_step(target(setup.model), recipe.make(setup), setup, temperature)


def _limit(setup: Setup, recipe: Recipe | None, _workload: Workload, ceilings: Ceilings) -> Limit | None:
    """Tokens a pass over the seconds in which the weights can be read, as if drafts and verification were free."""
    if ceilings.read_bytes_per_s is None:
        return None
    per_pass = 1.0 if recipe is None else tokens_per_pass(_results(setup, recipe, 0.0, 0))
    moved = sum(p.nbytes for p in target(setup.model).parameters())
    return Limit(
        per_pass * ceilings.read_bytes_per_s / moved, f"{per_pass:.2f} tokens a pass x read bandwidth / weight bytes"
    )


def _peers(setup: Setup) -> list[Implementation]:
    """transformers: plain, with the same look-up, and with the same draft where there is one."""
    ways: dict[str, dict[str, Any]] = {
        "transformers-plain": {},
        "transformers-prompt-lookup": {"prompt_lookup_num_tokens": 8, "max_matching_ngram_size": 3},
    }
    ways["transformers-assisted"] = {"assistant": True}
    note = "prefill included, which cannot be left out there"
    return [
        Implementation(name, "peer", "kernel", partial(_transformers, setup, options), ("transformers",), note=note)
        for name, options in ways.items()
    ]


def _transformers(setup: Setup, options: dict[str, Any], _workload: Workload, _device: str) -> Step:
    model = hugging_face(setup.model)
    more = {name: value for name, value in options.items() if name != "assistant"}
    if "assistant" in options:
        assistant = hugging_face("tiny-draft") if setup.model == "tiny-target" else _copy_at_8_bits(setup.model)
        assistant.generation_config.num_assistant_tokens = 4
        assistant.generation_config.num_assistant_tokens_schedule = "constant"
        assistant.generation_config.assistant_confidence_threshold = 0.0
        more["assistant_model"] = assistant
    fixed = {"max_new_tokens": setup.tokens, "min_new_tokens": setup.tokens, "do_sample": False, "pad_token_id": 0}

    def step() -> None:
        for prompt in prompts(setup):
            model.generate(prompt[None], attention_mask=torch.ones_like(prompt[None]), **fixed, **more)

    return step


@cache
def hugging_face(name: str) -> Any:
    """The same weights as a LlamaForCausalLM in float32."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from reference_impls.models.weights import HUGGING_FACE, config_to_hugging_face, names

    own = draft() if name == "tiny-draft" else target(name)
    model: Any = LlamaForCausalLM(LlamaConfig(**config_to_hugging_face(own.config, torch.float32)))
    renamed = names(own.config, HUGGING_FACE)
    model.load_state_dict({renamed[key]: value for key, value in own.named_parameters()}, strict=False)
    model.generation_config.eos_token_id = None
    model.eval()
    return model.requires_grad_(False)


@cache
def _copy_at_8_bits(name: str) -> Any:
    """The assistant that is our draft's equal: the same rounding, multiplied by the same kernel."""
    return rounded_to_8_bits(hugging_face(name))


# Values of runs.


@cache
def _results(setup: Setup, recipe: Recipe, temperature: float, seed: int) -> list[Result]:
    return run(target(setup.model), recipe.make(setup), setup, temperature, seed)


def _value_case(
    setup: Setup,
    recipes: list[Recipe],
    metric: str,
    title: str,
    value: Callable[[list[Result]], float],
    temperature: float,
) -> Case:
    """A case that is not timed. Only tokens a pass can be compared with plain decoding, which guesses nothing."""
    with_plain = metric == "tokens_per_target_step"
    timed = metric == "draft_share"
    trials = TRIALS[setup.model] if temperature else RUNS if timed else 1
    roles: list[Role] = ["method" if with_plain or at else "baseline" for at in range(len(recipes))]
    ways = [
        Implementation(
            one.name,
            role,
            "kernel",
            partial(_values, setup, one, value, temperature, fresh=timed),
            note=one.note,
            module=one.module,
        )
        for one, role in zip(recipes, roles, strict=True)
    ]
    if with_plain:
        ways.insert(0, Implementation("plain", "baseline", "kernel", lambda _workload, _device: lambda: 1.0))
    return Case(
        id=f"speculative_decoding/{setup.model}/{_kind(setup, temperature)}/{metric}",
        title=f"{title}{', sampled' if temperature else ''}: {setup.model}, {_words(setup)}",
        metric=metric,
        workload=dict(setup.workload) | {"temperature": temperature},
        implementations=tuple(ways),
        timed=False,
        no_limit="a share of the time" if timed else "a property of models and text, not of the machine",
        devices=("cpu",),
        trials=trials,
    )


def _values(
    setup: Setup,
    recipe: Recipe,
    value: Callable[[list[Result]], float],
    temperature: float,
    _workload: Workload,
    _device: str,
    *,
    fresh: bool,
) -> Step:
    """Trial after trial: of seeds 0, 1, … where tokens are sampled, else runs of their own."""
    target(setup.model)
    seeds = count()
    if fresh:
        return lambda: value(run(target(setup.model), recipe.make(setup), setup, temperature, next(seeds)))
    return lambda: value(_results(setup, recipe, temperature, next(seeds)))
