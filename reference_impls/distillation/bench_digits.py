"""A task that is learnt from texts: the last digit of a sum, from few examples, with and without the teacher's steps.

The teacher is a function from text to text. It answers `3 8 5 7 =` with `3`, and gives as its reason the running sums
`1 6 3`; the student is asked for one or the other by the token behind the digits.
"""

from functools import partial

import torch
from torch import Tensor

from reference_impls.distillation import step_by_step
from reference_impls.measurement.case import Case, Value
from reference_impls.models.decoder import Config as Shape
from reference_impls.models.decoder import Decoder
from reference_impls.models.shapes import random_model
from reference_impls.pruning.bench_models import Way, value_case

DIGITS, ANSWER, REASON = 3, 10, 11
"""Digits of a prompt; the tokens that ask for an answer and for a reason."""
SHAPE = Shape(vocab=12, hidden=48, layers=2, heads=3, kv_heads=1, head_dim=16, ffn=96, max_positions=32)
STEPS, RATE = 200, 4e-3
EXAMPLES = (150, 300)
TRIALS = 3


def cases() -> list[Case]:
    """One case for each number of examples."""
    return [_case(examples) for examples in EXAMPLES]


def _case(examples: int) -> Case:
    work: dict[str, Value] = {
        "model": "two layers of 48, random at the start",
        "task": f"the last digit of the sum of {DIGITS} digits",
        "examples": examples,
        "tested_on": "all prompts that were not trained on",
        "steps": STEPS,
        "dtype": "float32",
    }
    ways = [
        Way("answers", partial(accuracy, examples, 0.0), "step_by_step", "baseline", "kernel"),
        Way("answers-and-reasons", partial(accuracy, examples, 1.0), "step_by_step", effect="kernel"),
    ]
    title = f"Sums right after {examples} examples of a teacher's texts"
    name = f"distillation/digits/{examples}-examples/accuracy"
    return value_case(name, title, "accuracy", ways, work, TRIALS, "a property of the task and the method")


def teacher(prompt: Tensor) -> Tensor:
    """The answer, or the running sums after each further digit. prompt: (seq,), its last token the question"""
    sums = prompt[:-1].cumsum(0) % 10
    return sums[-1:] if prompt[-1] == ANSWER else sums[1:]


def prompts() -> Tensor:
    """All of them, as digits. -> (10 ** DIGITS, DIGITS)"""
    return torch.cartesian_prod(*[torch.arange(10)] * DIGITS)


def accuracy(examples: int, reason_weight: float, _model: str, seed: int) -> float:
    """Share of right answers, %, on prompts that were not trained on."""
    order = torch.randperm(10**DIGITS, generator=torch.Generator().manual_seed(seed))
    known, unseen = prompts()[order[:examples]], prompts()[order[examples:]]
    student = train(known, step_by_step.Config(reason_weight), seed).eval()
    asked = torch.cat([unseen, torch.full((len(unseen), 1), ANSWER)], 1)
    with torch.no_grad():
        found = student(asked)[:, -1].argmax(-1)
    return 100 * float((found == unseen.sum(1) % 10).float().mean())


def train(known: Tensor, config: step_by_step.Config, seed: int) -> Decoder:
    """A student trained on the teacher's texts for these digits. known: (examples, DIGITS)"""
    answers, reasons = (
        step_by_step.ask(teacher, list(known), torch.tensor([question])) for question in (ANSWER, REASON)
    )
    student = random_model(SHAPE, torch.Generator().manual_seed(seed))
    optimizer = torch.optim.AdamW(student.parameters(), lr=RATE, weight_decay=0.1)
    for _ in range(STEPS):
        optimizer.zero_grad()
        torch.autograd.backward(step_by_step.text_loss(student, answers, reasons, config))
        optimizer.step()
    return student
