"""What the cases of this family decode: models, prompts, and runs of any drafter from them."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from reference_impls.measurement.case import NotInstalledError, Step, Workload
from reference_impls.models import generate as plain
from reference_impls.models import smollm2, tiny
from reference_impls.models.decoder import Decoder
from reference_impls.quantization.fused import fuse
from reference_impls.speculative_decoding import Drafter
from reference_impls.speculative_decoding.generate import Prefilled, Result, generate, prefill
from reference_impls.speculative_decoding.quantized_draft import compiled_score
from reference_impls.speculative_decoding.verify import Rule

ROOM = 64
"""Slots kept for one draft."""
STORE_FROM, STORE_TOKENS = 40_000, 20_000
"""Held-out tokens that the retrieval store holds; no prompt comes from there."""
INSTRUCTIONS = {
    "copy": "Repeat the following text word for word:\n\n{text}",
    "free": "Write the first page of a novel about {subject}.",
}
SUBJECTS = ("a lighthouse keeper", "two sisters and a lost letter", "the last train north", "a city without clocks")


@dataclass(frozen=True)
class Setup:
    """A target and what it goes on from. copies: whether the answer repeats the prompt."""

    model: str
    kind: str
    tokens: int
    count: int = 1

    @property
    def workload(self) -> Workload:
        """As records show it."""
        tiny_text = {"free": "held-out Sense and Sensibility", "copy": "a held-out passage twice, the second time half"}
        text = tiny_text[self.kind] if self.model == "tiny-target" else INSTRUCTIONS[self.kind][:40]
        return {
            "model": self.model,
            "prompts": self.count,
            "prompt_text": text,
            "prompt_kind": self.kind,
            "prompt_tokens": sum(map(len, prompts(self))),
            "new_tokens": self.tokens,
            "batch": 1,
            "dtype": "float32",
            "temperature": 0.0,
            "prefill": "not timed for the target; a drafter's own pass over the prompt is",
        }


TINY = Setup("tiny-target", "free", tokens=32, count=4)
TINY_COPY = Setup("tiny-target", "copy", tokens=32, count=4)


@cache
def target(model: str) -> Decoder:
    """In float32. Raises NotInstalledError where SmolLM2 is not here."""
    if model == "tiny-target":
        return tiny.load_target().requires_grad_(False)
    _need_smollm2()
    return smollm2.load_smollm2().requires_grad_(False)


@cache
def draft() -> Decoder:
    """The tiny draft, in float32."""
    return tiny.load_draft().requires_grad_(False)


def _need_smollm2() -> None:
    if smollm2.smollm2_path() is None:
        raise NotInstalledError(smollm2.HOW_TO_GET_IT)


@cache
def prompts(setup: Setup) -> tuple[Tensor, ...]:
    """Windows of the held-out text for the tiny target, which has to be shown a passage and half of it again before it
    copies; instructions in SmolLM2's chat format, each with a passage or subject of its own."""
    if setup.model == "tiny-target":
        held = tiny.heldout_tokens(STORE_FROM)
        starts = torch.linspace(1000, STORE_FROM - 1000, setup.count).long().tolist()
        if setup.kind == "copy":
            return tuple(torch.cat([held[at : at + 64], held[at : at + 24]]) for at in starts)
        return tuple(held[start : start + 64] for start in starts)
    if smollm2.smollm2_path() is None:
        return ()
    return tuple(_chat(setup.kind, number) for number in range(setup.count))


def _chat(kind: str, number: int) -> Tensor:
    """One instruction. -> (seq,)"""
    text = tiny.heldout_text()
    passage = text[text.index(". ", 8000 * number) + 2 :][:400]
    request = INSTRUCTIONS[kind].format(text=passage, subject=SUBJECTS[number % len(SUBJECTS)])
    chat = f"<|im_start|>user\n{request}<|im_end|>\n<|im_start|>assistant\n"
    return smollm2.load_smollm2_tokenizer().encode(chat)


@cache
def store(model: str) -> tuple[int, ...]:
    """Tokens of the held-out text behind all prompts."""
    if model == "tiny-target":
        return tuple(tiny.heldout_tokens()[STORE_FROM : STORE_FROM + STORE_TOKENS].tolist())
    text = tiny.heldout_text()
    return tuple(smollm2.load_smollm2_tokenizer().encode(text[len(text) // 2 :])[:STORE_TOKENS].tolist())


@cache
def ready(model: Any, setup: Setup) -> list[Prefilled]:
    """The prompts in caches of the target, which contenders use one after the other."""
    return [prefill(model, [prompt], setup.tokens + ROOM) for prompt in prompts(setup)]


def speculative_step(
    model: Any, drafter: Drafter, setup: Setup, temperature: float = 0.0, rule: Rule | None = None
) -> Step:
    """Decode from every prompt once; where tokens are sampled, from one seed after the other."""
    caches, config = ready(model, setup), plain.Config(temperature)
    generator = torch.Generator().manual_seed(0)

    def step() -> None:
        for prompt, held in zip(prompts(setup), caches, strict=True):
            generate(model, drafter, [prompt], setup.tokens, config, generator=generator, prefilled=held, rule=rule)

    return step


def plain_step(model: Any, setup: Setup, temperature: float = 0.0) -> Step:
    """The same tokens, one a pass, from the same caches."""
    caches, config = ready(model, setup), plain.Config(temperature)
    generator = torch.Generator().manual_seed(0)

    def step() -> None:
        for prompt, held in zip(prompts(setup), caches, strict=True):
            held.cache.crop(held.length)
            plain.generate(model, prompt[None, -1:], setup.tokens, config, generator=generator, cache=held.cache)

    return step


def compiled_step(model: Any, setup: Setup, temperature: float = 0.0) -> Step:
    """As `plain_step`, its passes compiled over the memory of the same caches."""
    config, fused, held = plain.Config(temperature), fuse(model), ready(model, setup)
    generator = torch.Generator().manual_seed(0)
    caches: list[Any] = [one.cache for one in held]
    scores = [compiled_score(fused, cache) for cache in caches]

    def step() -> None:
        for prompt, score in zip(prompts(setup), scores, strict=True):
            tokens = prompt.tolist()
            for _ in range(setup.tokens):
                tokens.append(int(plain.choose(score(tokens)[None], config, generator)))

    return step


def run(
    model: Any,
    drafter: Drafter,
    setup: Setup,
    temperature: float = 0.0,
    seed: int = 0,
    rule: Rule | None = None,
) -> list[Result]:
    """The results of every prompt."""
    generator = torch.Generator().manual_seed(seed)
    config = plain.Config(temperature)
    return [
        generate(model, drafter, [prompt], setup.tokens, config, generator=generator, prefilled=held, rule=rule)
        for prompt, held in zip(prompts(setup), ready(model, setup), strict=True)
    ]


def tokens_per_pass(results: list[Result]) -> float:
    """New tokens over the target's passes, of all prompts together."""
    return sum(len(one.tokens[0]) for one in results) / sum(len(one.rounds) for one in results)


def acceptance(results: list[Result]) -> float:
    """Accepted guesses over guesses made, of all prompts together; 0 where none was made."""
    rounds = [one for result in results for one in result.rounds]
    return sum(one.accepted for one in rounds) / max(1, sum(one.drafted for one in rounds))


def draft_share(results: list[Result]) -> float:
    """Per cent of the seconds that went into drafting."""
    rounds = [one for result in results for one in result.rounds]
    drafting = sum(one.draft_s for one in rounds)
    return 100 * drafting / (drafting + sum(one.target_s for one in rounds))
