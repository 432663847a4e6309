"""The drafters that ship: as their card says, and better on unseen text than drafters that know next to nothing."""

import hashlib
import json

import pytest
import torch

pytest.importorskip("tokenizers")

from reference_impls.models import tiny
from reference_impls.speculative_decoding import eagle, medusa, trained
from reference_impls.speculative_decoding.generate import generate
from scripts import train_drafters

if not (trained.FOLDER / "card.json").exists() or not (tiny.FOLDER / "target.safetensors").exists():
    pytest.skip("the trained drafters are not there: see scripts/train_drafters.py", allow_module_level=True)


@pytest.fixture(scope="module")
def model():
    return tiny.load_target().requires_grad_(False)


@pytest.fixture(scope="module")
def unseen():
    return tiny.heldout_tokens(8 * 512).view(8, 512)


def test_files_are_those_of_the_card():
    card = trained.card()
    for name, digest in card["file_sha256"].items():
        assert hashlib.sha256((trained.FOLDER / f"{name}.safetensors").read_bytes()).hexdigest() == digest
    target = (tiny.FOLDER / "target.safetensors").read_bytes()
    assert card["target_sha256"] == hashlib.sha256(target).hexdigest()
    assert sum(path.stat().st_size for path in trained.FOLDER.iterdir()) <= 2_000_000


def test_heads_know_more_than_the_commonest_tokens(model, unseen):
    """Against the guess that needs no model: the token that the target chooses most often."""
    states = model.hidden_states(unseen)
    choices = model.head(states).argmax(-1)
    commonest = (choices == choices.flatten().mode().values).double().mean().item()
    found = medusa.rank_acceptance(trained.load_heads(), model.head, states)
    card = trained.card()["medusa_heldout_agreement"]
    assert found[0][0] > 1.5 * commonest
    assert all(abs(ranks[0] - recorded) < 0.05 for ranks, recorded in zip(found, card, strict=True))
    assert all(ranks == sorted(ranks, reverse=True) for ranks in found)


def test_the_block_agrees_more_than_the_draft_model(model, unseen):
    states = model.hidden_states(unseen)
    wanted = model.head(states[:, 1:]).argmax(-1)
    guessed = model.head(trained.load_block(model)(model.embedding(unseen[:, 1:]), states[:, :-1])).argmax(-1)
    draft = tiny.load_draft()(unseen[:, 1:]).argmax(-1)
    agreed = (guessed == wanted).double().mean().item()
    assert agreed > (draft == wanted).double().mean().item() + 0.05
    assert abs(agreed - trained.card()["eagle_heldout_agreement"]) < 0.03


def test_what_they_save_while_decoding(model, unseen):
    """Untrained drafters of the same shapes accept almost nothing; the shipped ones spare passes."""
    prompts = [row[:48] for row in unseen[:3]]
    shape = trained.medusa_drafter(model).config

    def passes(drafter):
        return len(generate(model, drafter, prompts, 24).rounds)

    untrained = train_drafters.new_drafters(model, 0).requires_grad_(False)
    assert passes(trained.medusa_drafter(model)) < passes(medusa.Drafter(model, untrained["medusa"], shape))
    chain = passes(trained.eagle_drafter(model))
    assert chain < 0.6 * passes(eagle.Drafter(model, untrained["eagle"], trained.CHAIN))
    assert passes(trained.eagle_drafter(model, eagle.tree((3, 2, 1, 1)))) < chain


def test_saving_and_loading_rounds_to_bfloat16_only(model, tmp_path):
    heads, block = train_drafters.new_drafters(model, 3).values()
    for name, drafter in (("medusa", heads), ("eagle", block)):
        trained.save(drafter, tmp_path / f"{name}.safetensors")
    again = {"medusa": trained.load_heads(tmp_path), "eagle": trained.load_block(model, tmp_path)}
    for drafter, loaded in zip((heads, block), again.values(), strict=True):
        for (name, value), (same, found) in zip(drafter.named_parameters(), loaded.named_parameters(), strict=True):
            assert name == same
            assert torch.equal(value.to(torch.bfloat16).float(), found)


def test_a_few_steps_of_the_script_lower_both_losses(model, monkeypatch):
    monkeypatch.setattr("scripts.train_tiny.SEQ", 64)
    tokens = tiny.heldout_tokens(2000)
    seen = []
    step = train_drafters.train_step
    monkeypatch.setattr(train_drafters, "train_step", lambda *a: seen.append(step(*a)) or seen[-1])
    train_drafters.train(model, tokens, 25, seed=2)
    for name in ("medusa", "eagle"):
        first, last = (sum(one[name] for one in part) for part in (seen[:4], seen[-4:]))
        assert last < first


def test_the_script_from_text_to_card(monkeypatch, tmp_path):
    """Whole, but short: what it writes is read back, and the card's numbers are those of the files."""
    monkeypatch.setattr("scripts.train_tiny.SEQ", 64)
    monkeypatch.setattr(train_drafters, "MEASURED", 1024)
    monkeypatch.setattr(train_drafters, "WINDOW", 128)
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n\n".join([tiny.heldout_text()] * 3), "utf-8")
    assert train_drafters.main([str(corpus), "--steps", "3", "--out", str(tmp_path / "out")]) == 0
    card = json.loads((tmp_path / "out" / "card.json").read_text("utf-8"))
    assert card["text"] == "corpus.txt"
    assert card["steps"] == 3
    assert card["parameters"] == trained.card()["parameters"]
    for name, digest in card["file_sha256"].items():
        assert hashlib.sha256((tmp_path / "out" / f"{name}.safetensors").read_bytes()).hexdigest() == digest
    assert len(card["medusa_acceptance_by_rank"]) == trained.HEADS
    medusa.best_shape(card["medusa_acceptance_by_rank"], 5)


def test_drafters_of_another_target_never_replace_those_that_ship():
    with pytest.raises(SystemExit):
        train_drafters.parse(["corpus.txt", "--target", "smollm2-135m"])
    assert train_drafters.parse(["corpus.txt", "--target", "smollm2-135m", "--out", "x"]).device == "cpu"


def test_smollm2_drafters_are_found_by_the_environment(monkeypatch, tmp_path):
    from reference_impls.measurement.case import NotInstalledError
    from reference_impls.speculative_decoding import bench_recipes

    monkeypatch.delenv("SMOLLM2_DRAFTERS", raising=False)
    with pytest.raises(NotInstalledError, match="train_drafters"):
        bench_recipes.smollm2_drafters()
    monkeypatch.setenv("SMOLLM2_DRAFTERS", str(tmp_path))
    assert bench_recipes.smollm2_drafters() == tmp_path
