"""Distillation from logits: match the teacher's whole distribution, also on text that the student wrote.

Paper: arXiv 1503.02531, section 2 (temperature); 2306.13649, section 3, eq. 1-2 and algorithm 1 (generalised JSD,
    on-policy text); 2306.08543, section 2 (reverse KL).
Idea: the odds of the tokens that were not chosen teach too; forward KL makes the student cover all that the teacher
    may say, reverse KL makes it keep to what the teacher would say.
Symbols: P = teacher, Q = student, M = beta P + (1 - beta) Q; JSD = beta KL(P, M) + (1 - beta) KL(Q, M).
Simplified: no gradient through the choice of tokens, so reverse KL is per token and not of whole texts; no mixing of
    teacher and student while sampling, no length normalisation.
Differs: the loss is multiplied by temperature ** 2 for every divergence, as the first paper does for its own.
Cost: a teacher's forward pass for each student's; on-policy text costs its generation.
Checked against: torch's kl_div; finite differences; limits of beta.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from reference_impls.models import generate
from reference_impls.models.decoder import Decoder


@dataclass(frozen=True)
class Config:
    """Which divergence, and on whose text."""

    divergence: Literal["forward_kl", "reverse_kl", "jsd"] = "forward_kl"
    beta: float = 0.5  # of jsd: near 0 it behaves as forward KL, near 1 as reverse KL
    temperature: float = 1.0
    on_policy: float = 0.0  # share of the steps on text that the student goes on with
    prompt_tokens: int = 16  # of given text before the student's own

    def __post_init__(self) -> None:
        if self.divergence not in ("forward_kl", "reverse_kl", "jsd"):
            raise ValueError(f"divergence must be forward_kl, reverse_kl or jsd, got {self.divergence!r}")
        if self.divergence == "jsd" and not 0 < self.beta < 1:
            raise ValueError(f"beta must be above 0 and below 1, got {self.beta}")
        if self.temperature <= 0:
            raise ValueError(f"temperature must be above 0, got {self.temperature}")
        if not 0 <= self.on_policy <= 1:
            raise ValueError(f"on_policy must be 0 to 1, got {self.on_policy}")
        if self.prompt_tokens < 1:
            raise ValueError(f"prompt_tokens must be at least 1, got {self.prompt_tokens}")


def kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(P, Q) of log probabilities. log_p, log_q: (.., vocab) -> (..)"""
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def divergence(student_logits: Tensor, teacher_logits: Tensor, config: Config) -> Tensor:
    """At each position. student_logits, teacher_logits: (.., vocab) -> (..)"""
    wide = torch.promote_types(student_logits.dtype, torch.float32)
    log_q = functional.log_softmax(student_logits.to(wide) / config.temperature, -1)
    log_p = functional.log_softmax(teacher_logits.to(wide) / config.temperature, -1)
    if config.divergence == "forward_kl":
        found = kl(log_p, log_q)
    elif config.divergence == "reverse_kl":
        found = kl(log_q, log_p)
    else:
        share = torch.tensor([config.beta, 1 - config.beta], dtype=wide, device=log_p.device).log()
        log_m = torch.logaddexp(log_p + share[0], log_q + share[1])
        found = config.beta * kl(log_p, log_m) + (1 - config.beta) * kl(log_q, log_m)
    return found * config.temperature**2


def loss(student_logits: Tensor, teacher_logits: Tensor, config: Config, mask: Tensor | None = None) -> Tensor:
    """Mean over the positions that count. student_logits, teacher_logits: (.., vocab); mask: bool (..) -> ()"""
    found = divergence(student_logits, teacher_logits, config)
    return found.mean() if mask is None else (found * mask).sum() / mask.sum().clamp(min=1)


@torch.no_grad()
def student_text(student: Decoder, tokens: Tensor, config: Config, generator: torch.Generator) -> Tensor:
    """The start of each text, gone on with by the student. tokens: (batch, seq) -> (batch, seq)"""
    prompts = tokens[:, : config.prompt_tokens]
    sampled = generate.Config(temperature=1.0)
    new = generate.generate(student, prompts, tokens.shape[1] - prompts.shape[1], sampled, generator=generator)
    return torch.cat([prompts, new], 1)


def train_step(
    student: Decoder,
    teacher: Decoder,
    tokens: Tensor,
    optimizer: torch.optim.Optimizer,
    config: Config,
    generator: torch.Generator,
) -> float:
    """One step of algorithm 1: choose whose text, compare the two models on it, move the student. -> the loss

    tokens: (batch, seq); on the student's own text, positions of the prompt do not count
    """
    own = bool(torch.rand((), generator=generator) < config.on_policy)
    text = student_text(student, tokens, config, generator) if own else tokens
    mask = None
    if own:
        mask = torch.arange(text.shape[1], device=text.device).expand(text.shape) >= config.prompt_tokens - 1
    with torch.no_grad():
        target = teacher(text)
    optimizer.zero_grad()
    found = loss(student(text), target, config, mask)
    found.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return float(found.detach())
