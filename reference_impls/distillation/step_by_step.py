"""Distillation from texts alone: fine-tune the student on the teacher's answers, and on its reasons as a second task.

Paper: arXiv 2305.02301, section 3.2, eq. 3-4 (rationales as a second task).
Idea: a reason says why an answer is right, so a student learns more from few examples; asked for as a task of its own,
    it costs nothing at test time, when only the answer is asked for.
Symbols: L = L_answer + lambda L_reason, each the mean loss over the tokens of the output; lambda = reason_weight.
Simplified: a decoder in the place of T5; the teacher's text is taken as it comes, no filter.
Differs: each loss is a mean over its own tokens, where the authors' code takes the framework's mean over a batch.
Cost: the teacher's sampling, once, through any interface; the student's training doubles with the second task.
Checked against: cross entropy over the output's tokens by hand; a teacher that is a function from text to text.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reference_impls.models.perplexity import token_losses

Teacher = Callable[[Tensor], Tensor]
"""All that is asked of a teacher: prompt (seq,) -> its text (new,). No logits, no weights."""


@dataclass(frozen=True)
class Config:
    """How much a reason counts."""

    reason_weight: float = 1.0  # lambda; 0: answers only

    def __post_init__(self) -> None:
        if self.reason_weight < 0:
            raise ValueError(f"reason_weight must not be negative, got {self.reason_weight}")


@dataclass(frozen=True)
class Texts:
    """Prompts with what is to follow, padded at the end; only the outputs count."""

    tokens: Tensor  # (batch, seq)
    counts: Tensor  # bool (batch, seq), True at the tokens of an output

    @property
    def size(self) -> int:
        """Tokens that are learnt."""
        return int(self.counts.sum())


def join(prompts: Sequence[Tensor], outputs: Sequence[Tensor], padding: int = 0) -> Texts:
    """Put each output behind its prompt. prompts, outputs: (seq,) each -> (batch, longest)"""
    rows = [torch.cat(pair) for pair in zip(prompts, outputs, strict=True)]
    width = max(map(len, rows))
    tokens = torch.full((len(rows), width), padding)
    counts = torch.zeros(len(rows), width, dtype=torch.bool)
    for number, (row, prompt) in enumerate(zip(rows, prompts, strict=True)):
        tokens[number, : len(row)] = row
        counts[number, len(prompt) : len(row)] = True
    return Texts(tokens, counts)


def ask(teacher: Teacher, prompts: Sequence[Tensor], task: Tensor | None = None) -> Texts:
    """The teacher's text for every prompt. task: (seq,) put behind each, such as "answer" or "reason" """
    asked = [prompt if task is None else torch.cat([prompt, task]) for prompt in prompts]
    return join(asked, [teacher(one) for one in asked])


def output_loss(student: nn.Module, texts: Texts) -> Tensor:
    """Mean loss over the tokens of the outputs; prompts and padding do not count. -> ()"""
    losses = token_losses(student(texts.tokens[:, :-1]), texts.tokens[:, 1:])
    counts = texts.counts[:, 1:]
    return (losses * counts).sum() / counts.sum().clamp(min=1)


def text_loss(student: nn.Module, answers: Texts, reasons: Texts | None, config: Config) -> Tensor:
    """Eq. 4. -> ()"""
    found = output_loss(student, answers)
    if reasons is None or config.reason_weight == 0:
        return found
    return found + config.reason_weight * output_loss(student, reasons)
