"""The cases of this family: a small student's perplexity after equal tokens, and a task learnt from texts alone.

The student has the tiny draft's shape and random weights; its teacher is the tiny target. All read the same windows of
the held-out novel in the same order, each window once or twice; on-policy text replaces half of them.
"""

from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor

from reference_impls.distillation import bench_digits, logit, step_by_step
from reference_impls.measurement.case import Case, Value
from reference_impls.models import generate, tiny
from reference_impls.models.decoder import Decoder
from reference_impls.models.perplexity import token_losses, token_perplexity
from reference_impls.models.shapes import SHAPES, random_model
from reference_impls.pruning.bench_models import Way, value_case

STEPS, BATCH, LENGTH = 120, 8, 64
EVALUATED, CONTEXT = 4096, 128
RATE = 3e-3
TRIALS = 3
"""Draws of the student's start, of the order of the text and of what is sampled: the samples of its cases."""
PROMPT = 16
CONFIGS = {
    "forward-kl": logit.Config(),
    "forward-kl-hot": logit.Config(temperature=2.0),
    "reverse-kl": logit.Config("reverse_kl"),
    "jsd": logit.Config("jsd"),
    "on-policy": logit.Config("reverse_kl", on_policy=0.5, prompt_tokens=PROMPT),
}


def cases() -> list[Case]:
    """Every case of the family."""
    return [_language_case(), *bench_digits.cases()]


def _language_case() -> Case:
    work: dict[str, Value] = {
        "model": "tiny-draft",
        "teacher": "tiny-target",
        "weights": "random at the start",
        "text": "Sense and Sensibility from chapter 38, held out from the tiny models",
        "tokens": EVALUATED,
        "context_length": CONTEXT,
        "training_text": "windows of the same text behind the tokens evaluated, drawn anew for each sample",
        "training_tokens": STEPS * BATCH * LENGTH,
        "learning_rate": RATE,
        "dtype": "float32",
    }
    ways = [
        Way("plain", partial(_perplexity, plain), None, "baseline", "kernel"),
        *(Way(name, partial(_perplexity, partial(by_logits, name)), "logit", effect="kernel") for name in CONFIGS),
        Way("teacher-texts", partial(_perplexity, by_texts), "step_by_step", effect="kernel"),
    ]
    title = "Perplexity of a small student after equal tokens"
    name = "distillation/tiny-draft/equal-tokens/perplexity"
    return value_case(name, title, "perplexity", ways, work, TRIALS, "a property of the models and the text")


@cache
def teacher() -> Decoder:
    """Kept; never changed."""
    return tiny.load_target().eval().requires_grad_(False)


@cache
def text() -> Tensor:
    """The held-out text. -> (seq,)"""
    return tiny.heldout_tokens()


def windows_of(seed: int) -> list[Tensor]:
    """STEPS batches behind the tokens that are evaluated, every window equally often. -> (BATCH, LENGTH + 1) each"""
    windows = text()[EVALUATED:].unfold(0, LENGTH + 1, LENGTH)
    generator = torch.Generator().manual_seed(seed)
    rounds = -(-STEPS * BATCH // len(windows))
    order = torch.cat([torch.randperm(len(windows), generator=generator) for _ in range(rounds)])
    return list(windows[order[: STEPS * BATCH]].view(STEPS, BATCH, LENGTH + 1))


Train = Callable[[Decoder, torch.optim.Optimizer, int], None]


def _perplexity(train: Train, _model: str, seed: int) -> float:
    """Of a new student after its training, on text that nobody was trained on."""
    student = random_model(SHAPES["tiny-draft"], torch.Generator().manual_seed(seed))
    optimizer = torch.optim.AdamW(student.parameters(), lr=RATE, weight_decay=0.0)
    train(student, optimizer, seed)
    return token_perplexity(student.eval(), text()[:EVALUATED], CONTEXT)


def plain(student: Decoder, optimizer: torch.optim.Optimizer, seed: int) -> None:
    """Next tokens of the text, without a teacher."""
    for tokens in windows_of(seed):
        descend(optimizer, token_losses(student(tokens[:, :-1]), tokens[:, 1:]).mean())


def by_logits(name: str, student: Decoder, optimizer: torch.optim.Optimizer, seed: int) -> None:
    """The teacher's distributions on the same text, or on the student's own."""
    generator = torch.Generator().manual_seed(seed)
    for tokens in windows_of(seed):
        logit.train_step(student, teacher(), tokens[:, :-1], optimizer, CONFIGS[name], generator)


def by_texts(student: Decoder, optimizer: torch.optim.Optimizer, seed: int) -> None:
    """What the teacher writes behind the start of each window."""
    generator = torch.Generator().manual_seed(seed)
    prompts = torch.cat(windows_of(seed))[:, :PROMPT]
    sampled = generate.Config(temperature=1.0)
    written = [
        generate.generate(teacher(), part, LENGTH + 1 - PROMPT, sampled, generator=generator)
        for part in torch.split(prompts, 12 * BATCH)  # many at once: a step of decoding costs little more
    ]
    for asked, new in zip(torch.split(prompts, BATCH), torch.split(torch.cat(written), BATCH), strict=True):
        texts = step_by_step.join(list(asked), list(new))
        descend(optimizer, step_by_step.text_loss(student, texts, None, step_by_step.Config()))


def descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step."""
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    optimizer.step()
