"""Texts alone: only the tokens of an output count, the teacher is a function of text, and a task is learnt."""

import pytest
import torch
from torch.nn import functional

from reference_impls.distillation import HEADER_FIELDS, bench_digits, step_by_step, text_methods
from reference_impls.distillation.step_by_step import Config, ask, join, output_loss, text_loss
from tests.quantization.cases import seeded, small_decoder, tokens_of


def texts_of(lengths=((5, 3), (2, 4), (7, 1))):
    drawn = [tokens_of(1, prompt + output, seed)[0] for seed, (prompt, output) in enumerate(lengths)]
    prompts = [row[:prompt] for row, (prompt, _) in zip(drawn, lengths, strict=True)]
    outputs = [row[prompt:] for row, (prompt, _) in zip(drawn, lengths, strict=True)]
    return prompts, outputs


def test_it_is_found_with_its_header():
    assert set(text_methods()) == {"step_by_step"}
    places = [step_by_step.__doc__.find(f"\n{field}: ") for field in HEADER_FIELDS]
    assert -1 not in places
    assert places == sorted(places)


def test_a_batch_holds_prompts_and_outputs_and_marks_the_outputs():
    texts = join([torch.tensor([1, 2, 3]), torch.tensor([4])], [torch.tensor([5]), torch.tensor([6, 7])], padding=9)
    assert texts.tokens.tolist() == [[1, 2, 3, 5], [4, 6, 7, 9]]
    assert texts.counts.int().tolist() == [[0, 0, 0, 1], [0, 1, 1, 0]]
    assert texts.size == 3
    with pytest.raises(ValueError, match="shorter"):
        join([torch.tensor([1])], [])


def test_the_loss_is_the_mean_over_the_tokens_of_the_outputs():
    model, (prompts, outputs) = small_decoder(dtype=torch.float64), texts_of()
    total = count = 0
    for prompt, output in zip(prompts, outputs, strict=True):
        logits = model(torch.cat([prompt, output])[None])[0]
        for place, token in enumerate(output):
            total += functional.cross_entropy(logits[len(prompt) + place - 1], token)
            count += 1
    assert torch.allclose(output_loss(model, join(prompts, outputs)), total / count)


def test_neither_padding_nor_the_words_of_a_prompt_are_learnt():
    model, (prompts, outputs) = small_decoder(dtype=torch.float64), texts_of()
    texts = join(prompts, outputs)
    again = join(prompts, outputs, padding=7)
    assert torch.equal(output_loss(model, texts), output_loss(model, again))
    logits = model(texts.tokens[:, :-1]).detach().requires_grad_()
    output_loss(lambda _tokens: logits, texts).backward()
    assert ((logits.grad.abs().sum(-1) > 0) == texts.counts[:, 1:]).all()


def test_reasons_are_a_second_task_with_their_weight():
    model, (prompts, outputs) = small_decoder(dtype=torch.float64), texts_of()
    answers, reasons = join(prompts, outputs), join(prompts[::-1], outputs)
    both = output_loss(model, answers) + 0.5 * output_loss(model, reasons)
    assert torch.allclose(text_loss(model, answers, reasons, Config(0.5)), both)
    for alone in (text_loss(model, answers, None, Config()), text_loss(model, answers, reasons, Config(0.0))):
        assert torch.equal(alone, output_loss(model, answers))
    with pytest.raises(ValueError, match="reason_weight"):
        Config(-1.0)


def test_a_teacher_is_asked_for_text_and_nothing_else():
    class Closed:
        """No logits, no parameters: only text from text."""

        __slots__ = ("asked",)

        def __init__(self):
            self.asked = []

        def __call__(self, prompt):
            self.asked.append(prompt.tolist())
            return prompt.flip(0)[:2]

    teacher = Closed()
    texts = ask(teacher, [torch.tensor([1, 2]), torch.tensor([3])], torch.tensor([8]))
    assert teacher.asked == [[1, 2, 8], [3, 8]]
    assert texts.tokens.tolist() == [[1, 2, 8, 8, 2], [3, 8, 8, 3, 0]]
    assert texts.counts.int().tolist() == [[0, 0, 0, 1, 1], [0, 0, 1, 1, 0]]


def test_nothing_counts_where_there_is_no_output():
    empty = join([tokens_of(1, 4)[0]], [torch.tensor([], dtype=torch.long)])
    assert float(output_loss(small_decoder(), empty)) == 0


def test_the_teacher_of_digits_adds_up():
    prompt = torch.tensor([3, 8, 5])
    question = {name: torch.tensor([getattr(bench_digits, name)]) for name in ("ANSWER", "REASON")}
    assert bench_digits.teacher(torch.cat([prompt, question["ANSWER"]])).tolist() == [6]
    assert bench_digits.teacher(torch.cat([prompt, question["REASON"]])).tolist() == [1, 6]
    assert len(bench_digits.prompts().unique(dim=0)) == 1000


def test_a_student_learns_what_it_is_shown(monkeypatch):
    monkeypatch.setattr(bench_digits, "STEPS", 60)
    known = bench_digits.prompts()[torch.randperm(1000, generator=seeded())[:16]]
    student = bench_digits.train(known, Config(), 0).eval()
    asked = torch.cat([known, torch.full((16, 1), bench_digits.ANSWER)], 1)
    with torch.no_grad():
        right = student(asked)[:, -1].argmax(-1) == known.sum(1) % 10
    assert right.float().mean() > 0.8
