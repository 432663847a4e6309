import struct
import zlib
from dataclasses import replace

import pytest
import torch

from reference_impls.models.decoder import Config
from scripts import train_tiny
from scripts.train_tiny import Muon, Run, batch_at, check_apart, orthogonal, rate, read_corpus, read_rdb, split, train

SHAPE = Config(vocab=50, hidden=16, layers=2, heads=2, kv_heads=1, head_dim=8, ffn=24)


def character_vector(lines: list[str], version: int = 3) -> bytes:
    """One object as R's `saveRDS(lines, ascii = FALSE, compress = FALSE)` writes it."""
    head = b"X\n" + struct.pack(">iii", version, 0x40200, 0x30500)
    head += struct.pack(">i", 5) + b"UTF-8" if version == 3 else b""
    body = struct.pack(">ii", 16, len(lines))
    for line in lines:
        body += struct.pack(">ii", 9 | 0x8000, len(line.encode())) + line.encode()
    return head + body


def test_rdb_by_hand():
    other = b"X\n" + struct.pack(">iii", 2, 0, 0) + struct.pack(">iii", 13, 1, 7)  # an integer vector
    objects = [character_vector(["one", "", "é"]), other, character_vector(["two"], version=2)]
    data = b"".join(struct.pack(">i", len(raw)) + zlib.compress(raw) for raw in objects)
    assert list(read_rdb(data)) == ["one\n\né", "two"]


def test_novels_are_joined_in_one_order_whatever_the_files(tmp_path):
    novels = [character_vector([title, "", "wrapped", "line"]) for title in ("Persuasion", "EMMA", "SANDITON")]
    data = b"".join(struct.pack(">i", len(raw)) + zlib.compress(raw) for raw in novels)
    (tmp_path / "Rdata.rdb").write_bytes(data)
    parts = read_corpus(tmp_path / "Rdata.rdb").split(f"\n\n{train_tiny.END}\n\n")
    assert parts == [f"{title}\n\nwrapped line" for title in ("EMMA", "Persuasion", "SANDITON")]


def test_split_loses_nothing_and_cuts_between_paragraphs():
    text = "\n\n".join(f"paragraph {number} " + "word " * 60 for number in range(2000))
    training, heldout = split(text)
    assert training + heldout == text
    assert training.endswith("\n\n")
    assert train_tiny.HELDOUT_CHARACTERS <= len(heldout) < train_tiny.HELDOUT_CHARACTERS + 400
    check_apart(training, heldout)
    with pytest.raises(ValueError, match="1 held-out paragraphs"):
        check_apart(training + heldout[: heldout.index("\n\n")], heldout)
    with pytest.raises(ValueError, match="more than"):
        split(text[:1000])


def test_rate_rises_stays_and_falls_to_zero():
    rates = [rate(step, 1000) for step in range(1001)]
    assert rates[0] == 1 / train_tiny.WARMUP_STEPS
    assert set(rates[50:700]) == {1.0}
    assert rates[700:] == sorted(rates[700:], reverse=True)
    assert rates[1000] == 0
    assert [rate(step, 2000) for step in range(700)] == rates[:700]  # a longer run begins the same


def test_batches_depend_on_seed_and_step_only():
    tokens = torch.arange(5000)
    assert torch.equal(batch_at(tokens, 3, 1), batch_at(tokens, 3, 1))
    assert not torch.equal(batch_at(tokens, 3, 1), batch_at(tokens, 4, 1))
    assert (batch_at(tokens, 3, 1).diff() == 1).all()


def test_orthogonal_brings_singular_values_near_one():
    matrices = torch.randn(3, 20, 8, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonal(matrices))
    assert values.min() > 0.5  # the quintic of Muon ends between 0.7 and 1.2 for well-conditioned matrices
    assert values.max() < 1.3
    assert torch.allclose(orthogonal(matrices.mT), orthogonal(matrices).mT, atol=1e-4)


def test_muon_equals_torchs():
    weights = [torch.randn(12, 6, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    ours, theirs = ([torch.nn.Parameter(weight.clone()) for weight in weights] for _ in range(2))
    steppers = [Muon(ours, lr=0.1), torch.optim.Muon(theirs, lr=0.1, momentum=0.95, weight_decay=0.0)]
    for step in range(3):
        for parameters, stepper in zip((ours, theirs), steppers, strict=True):
            for number, parameter in enumerate(parameters):
                parameter.grad = torch.randn(12, 6, generator=torch.Generator().manual_seed(10 * step + number))
            stepper.step()
    for first, second in zip(ours, theirs, strict=True):
        assert torch.allclose(
            first, second, atol=0.03
        )  # theirs iterates in bfloat16: 3 steps of 0.1, 2**-8 * a few each


def test_an_interrupted_run_ends_as_an_uninterrupted_one(tmp_path, monkeypatch):
    monkeypatch.setattr(train_tiny, "SEQ", 12)
    monkeypatch.setattr(train_tiny, "CHECKPOINT_S", 0)
    tokens = torch.randint(50, (400,), generator=torch.Generator().manual_seed(0))
    whole, parts = (tmp_path / name for name in ("whole", "parts"))
    whole.mkdir()
    parts.mkdir()
    run = Run("made", SHAPE, steps=40, seed=3, folder=whole)
    expected = train(run, tokens)
    run = replace(run, folder=parts)
    usual = train_tiny.train_step

    def interrupted(model, steppers, batch, share):
        calls.append(0)
        if len(calls) == 25:
            raise KeyboardInterrupt
        return usual(model, steppers, batch, share)

    calls: list[int] = []
    monkeypatch.setattr(train_tiny, "train_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(run, tokens)
    monkeypatch.setattr(train_tiny, "train_step", usual)
    assert torch.load(run.checkpoint)["step"] == 24
    again = train(run, tokens)
    for first, second in zip(expected.parameters(), again.parameters(), strict=True):
        assert torch.equal(first, second)


def test_a_checkpoint_of_another_seed_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(train_tiny, "SEQ", 12)
    run = Run("made", SHAPE, steps=1, seed=3, folder=tmp_path)
    train(run, torch.zeros(100, dtype=torch.long))
    with pytest.raises(ValueError, match="another seed"):
        train(replace(run, seed=4), torch.zeros(100, dtype=torch.long))
