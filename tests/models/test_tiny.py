import hashlib
import math

import pytest
import torch

from reference_impls.models import tiny
from reference_impls.models.generate import generate
from reference_impls.models.perplexity import mean_loss
from reference_impls.models.shapes import SHAPES


@pytest.fixture(scope="module")
def tokens():
    pytest.importorskip("tokenizers", reason="the held-out text is encoded by the tokenizers library")
    return tiny.heldout_tokens(tiny.QUICK_TOKENS)


@pytest.fixture(scope="module")
def pair():
    return {"target": tiny.load_target(), "draft": tiny.load_draft()}


@pytest.mark.parametrize("name", ["target", "draft"])
def test_perplexity_is_the_cards(pair, tokens, name):
    loss = mean_loss(pair[name], tokens, tiny.CONTEXT_LENGTH)
    assert math.exp(loss) == pytest.approx(math.exp(tiny.card()[name]["quick_loss_nats"]), rel=0.01)


def test_the_target_is_better_than_the_draft_and_both_than_chance(pair, tokens):
    card = tiny.card()
    assert card["target"]["heldout_loss_nats"] < card["draft"]["heldout_loss_nats"] - 0.1
    shares = tokens.bincount(minlength=1024) / len(tokens)
    unigram = -(shares * shares.clamp(min=1e-9).log()).sum().item()  # the best that ignores context
    assert card["draft"]["heldout_loss_nats"] < unigram - 0.5


@pytest.mark.parametrize("name", ["target", "draft"])
def test_files_are_those_of_the_card(name):
    data = (tiny.FOLDER / f"{name}.safetensors").read_bytes()
    assert hashlib.sha256(data).hexdigest() == tiny.card()[name]["file_sha256"]


def test_shapes_are_the_named_ones(pair):
    assert {name: model.config for name, model in pair.items()} == {
        name: SHAPES[f"tiny-{name}"] for name in ("target", "draft")
    }


def test_heldout_text_is_that_of_the_card(tokens):
    data = (tiny.FOLDER / "heldout.txt").read_bytes()
    card = tiny.card()
    assert hashlib.sha256(data).hexdigest() == card["heldout_text_sha256"] != card["training_text_sha256"]
    assert len(data) == card["heldout_text_bytes"]
    assert len(tiny.heldout_tokens()) == card["heldout_tokens"]


def test_tokenizer_gives_the_text_back(tokens):
    tokenizer = tiny.load_tokenizer()
    text = tiny.heldout_text()[:5000] + " naïve £5 — «ok» 日本\x00"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.vocab == 1024


def test_greedy_text_is_the_same_every_time_and_with_or_without_cache(pair, tokens):
    prompt = tokens[None, :32]
    first, again = (generate(pair["target"], prompt, 24) for _ in range(2))
    assert torch.equal(first, again)
    parallel = pair["target"](torch.cat([prompt, first], 1))[:, 31:-1].argmax(-1)
    assert torch.equal(parallel, first)


def test_the_draft_is_worth_asking(pair, tokens):
    """Speculation needs agreement: the greedy tokens of both, along the held-out text."""
    with torch.no_grad():
        chosen = {name: model(tokens[None, :512]).argmax(-1) for name, model in pair.items()}
    assert (chosen["target"] == chosen["draft"]).float().mean() > 0.4


def test_the_pair_is_small_enough_to_ship():
    assert sum(path.stat().st_size for path in tiny.FOLDER.iterdir()) <= 6_500_000
