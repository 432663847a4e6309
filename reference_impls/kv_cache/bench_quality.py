"""Perplexity and retrieval against the bytes that are really held: tokens dropped, bits dropped, and both.

Every implementation reads the same prompt; what it drops or rounds shows in what follows. Numbers that no method has
touched are kept in 16 bits, so that bytes compare with a 16-bit cache. A sample of perplexity is a window of text.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from reference_impls.kv_cache import evict, h2o, kivi, random_eviction, shape_of, snapkv, streaming_llm
from reference_impls.kv_cache.compose import compose
from reference_impls.kv_cache.evaluate import Retrieval, fill, losses_behind, read_prompt, recalled
from reference_impls.kv_cache.evict import Layer
from reference_impls.kv_cache.shape import CacheShape
from reference_impls.measurement.case import Case, Value
from reference_impls.models import smollm2
from reference_impls.pruning.bench_models import PROPERTY, SEEDS, Way, load_model, tokens_of, value_case

CONTEXT, PROMPT, CHUNK = 448, 256, 16
"""Tokens of a window, those of them that are cached before anything is scored, and tokens a pass behind them."""
MODELS, WINDOWS = ("tiny-target", "smollm2-135m"), SEEDS
"""Each window is a sample of its own."""
BUDGETS = (32, 64, 128)
BITS = (2, 4, 8)
TEXT_TOKENS, TRIALS = 400, SEEDS
RECENT = 32
Make = Callable[[CacheShape], Any]


def cases() -> list[Case]:
    """Budgets and bits on two models, and a number hidden in a text."""
    found: list[Case] = []
    for model in MODELS:
        found += [case for budget in BUDGETS for case in _pair(model, f"budget-{budget}", budgeted(budget))]
        found += [case for bits in BITS for case in _pair(model, f"bits-{bits}", rounded(bits))]
    found += [_needle(f"budget-{budget}", budgeted(budget), later) for budget in BUDGETS for later in (0, 1)]
    return [*found, *(_needle(f"bits-{bits}", rounded(bits), 0) for bits in BITS)]


def full(shape: CacheShape) -> Any:
    """Everything, as it is."""
    return kivi.new_cache(shape)


def budgeted(budget: int) -> dict[str, tuple[str, Make]]:
    """Name -> module and cache: every way to keep so many tokens."""
    return {
        "h2o": ("h2o", _evicting(h2o, h2o.Config(budget))),
        "snapkv": ("snapkv", _evicting(snapkv, _snapkv(budget))),
        "streaming-llm": ("streaming_llm", _evicting(streaming_llm, streaming_llm.Config(budget))),
        "window": ("streaming_llm", _evicting(streaming_llm, streaming_llm.Config(budget, 0))),
        "random": ("random_eviction", _evicting(random_eviction, random_eviction.Config(budget, 16))),
        "snapkv-4-bit": ("compose", partial(_cut_and_rounded, budget)),
    }


def rounded(bits: int) -> dict[str, tuple[str, Make]]:
    """Name -> module and cache: every way to keep so many bits."""
    straight = kivi.Config(bits, RECENT, RECENT)
    return {
        "kivi": ("kivi", partial(kivi.new_cache, config=straight)),
        "kivi-swapped-axes": (
            "kivi",
            partial(kivi.new_cache, config=replace(straight, keys="token", values="channel")),
        ),
        "kivi-all-by-token": ("kivi", partial(kivi.new_cache, config=replace(straight, keys="token"))),
    }


def _evicting(method: Any, config: Any) -> Make:
    return lambda shape: evict.new_cache(shape, method, config)


def _snapkv(budget: int) -> snapkv.Config:
    return snapkv.Config(budget, min(16, budget // 2))


def _cut_and_rounded(budget: int, shape: CacheShape) -> Any:
    return compose(shape, ("snapkv", _snapkv(budget)), ("kivi", kivi.Config(4, RECENT, RECENT)))


def shape16(model: str) -> CacheShape:
    """The model's shape, with numbers of 16 bits."""
    return replace(shape_of(load_model(model), capacity=CONTEXT), dtype=torch.float16)


@cache
def _window(model: str, number: int) -> tuple[Tensor, list[Layer]]:
    """A window with its prompt as the model read it."""
    tokens, decoder = tokens_of(model)[number * CONTEXT :][:CONTEXT], load_model(model)
    return tokens, read_prompt(decoder, shape_of(decoder), tokens[None, :PROMPT])


@cache
def window_scored(model: str, setting: str, name: str, number: int) -> tuple[float, float]:
    """-> perplexity behind the prompt of a window, and bytes held at its end. The full cache has no setting."""
    tokens, prompt = _window(model, number)
    own = (_settings()[setting][name][1] if setting else full)(shape16(model))
    fill(own, prompt)
    losses = losses_behind(load_model(model), own, tokens[PROMPT:], CHUNK)
    return float(losses.double().mean().exp()), float(own.nbytes)


@cache
def scored(model: str, setting: str, name: str) -> float:
    """Perplexity behind the prompts of all windows, which are as long as each other."""
    found = [_part(0, setting, name, model, number) for number in range(WINDOWS)]
    return float(torch.tensor(found).double().log().mean().exp())


def _settings() -> dict[str, dict[str, tuple[str, Make]]]:
    return {f"budget-{one}": budgeted(one) for one in BUDGETS} | {f"bits-{one}": rounded(one) for one in BITS}


def _pair(model: str, setting: str, ways: dict[str, tuple[str, Make]]) -> list[Case]:
    """A case of perplexity, and one of the bytes that go with it."""
    kind, _, size = setting.partition("-")
    work: dict[str, Value] = {
        "model": model,
        "text": "Sense and Sensibility from chapter 38, held out from the tiny models",
        "tokens": CONTEXT - PROMPT - 1,
        "context_length": CONTEXT,
        "prompt_tokens": PROMPT,
        "chunk": CHUNK,
        kind: int(size),
        "recent_tokens": RECENT if kind == "bits" else None,
        "dtype": "float32",
        "cache_dtype": "float16",
    }
    names = {"perplexity": "Perplexity behind a cached prompt", "kv_bytes": "Bytes held at the end of a window"}
    limits = {"perplexity": PROPERTY, "kv_bytes": "bytes follow from the method"}
    return [
        value_case(
            f"kv_cache/{model}/{setting}/{metric}",
            f"{title}: {model}, {kind} {size}",
            metric,
            [
                Way("full", partial(_part, place, setting, "full"), role="baseline", effect="packed"),
                *(
                    Way(name, partial(_part, place, setting, name), module, effect="packed")
                    for name, (module, _) in ways.items()
                ),
            ],
            work,
            trials=WINDOWS if metric == "perplexity" else 1,
            why=limits[metric],
        )
        for place, (metric, title) in enumerate(names.items())
    ]


def _part(place: int, setting: str, name: str, model: str, window: int) -> float:
    return window_scored(model, "" if name == "full" else setting, name, window)[place]


# A number hidden in a text.


@cache
def hidden_number(seed: int, later: bool) -> tuple[Retrieval, list[Layer]]:
    """A text with a number at another depth for each seed, the question behind it before or after the cache is cut."""
    encode, text = smollm2.load_smollm2_tokenizer().encode, tokens_of("smollm2-135m")
    number = int(torch.randint(10_000, 99_999, (1,), generator=torch.Generator().manual_seed(seed)))
    fact, answer = (
        torch.as_tensor(encode(one)) for one in (f" The secret number of the house is {number}.", f" {number}")
    )
    asked = "\nQuestion: What is the secret number of the house?\nAnswer: The secret number of the house is"
    question = torch.as_tensor(encode(asked))
    start, depth = seed * TEXT_TOKENS, int(TEXT_TOKENS * (seed % TRIALS + 0.5) / TRIALS)
    hay = text[start : start + TEXT_TOKENS]
    hay = torch.cat([hay[:depth], fact, hay[depth:]])
    first = len(question) if later else 1  # the last token is always fed, since its logits begin the answer
    prompt = hay if later else torch.cat([hay, question[:-1]])
    case = Retrieval(prompt, question[-first:], answer)
    decoder = load_model("smollm2-135m")
    return case, read_prompt(decoder, shape_of(decoder), case.prompt[None])


def _recall(make: Make, later: bool, model: str, seed: int) -> float:
    case, prompt = hidden_number(seed, later)
    own = make(shape16(model))
    fill(own, prompt)
    return 100 * recalled(load_model(model), own, case)


def _needle(setting: str, ways: dict[str, tuple[str, Make]], later: int) -> Case:
    kind, _, size = setting.partition("-")
    asked = "after the cache was cut" if later else "in the prompt"
    shown: Sequence[Way] = [
        Way("full", partial(_recall, full, bool(later)), role="baseline", effect="packed"),
        *(
            Way(name, partial(_recall, make, bool(later)), module, effect="packed")
            for name, (module, make) in ways.items()
        ),
    ]
    return value_case(
        f"kv_cache/smollm2-135m/needle-{'later-' if later else ''}{setting}/accuracy",
        f"Digits of a number hidden in {TEXT_TOKENS} tokens, the question {asked}: {kind} {size}",
        "accuracy",
        shown,
        {
            "model": "smollm2-135m",
            "text": "Sense and Sensibility with one sentence added at another depth for each sample",
            "context_length": TEXT_TOKENS,
            "question": asked,
            kind: int(size),
            "dtype": "float32",
            "cache_dtype": "float16",
        },
        trials=TRIALS,
        why="a property of the model and the text, not of the machine; at most 100 %",
    )
