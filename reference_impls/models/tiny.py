"""The tiny trained pair that ships with the package: a target, a draft, one tokenizer and a text that neither has seen.

Paper: none; the shapes are small Llamas, the text is Jane Austen's (public domain).
Idea: weights that were really trained and never quantized, small enough for every test.
Symbols: nothing beyond the axes' names.
Simplified: trained for minutes on one author; read its numbers as differences between variants, never as quality.
Differs: nothing.
Cost: 6 MB on disk as bfloat16; a fraction of a second to load.
Checked against: `tiny/card.json`, which scripts/train_tiny.py wrote after reading the files back.
"""

import json
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from reference_impls.models import tokenizer
from reference_impls.models.decoder import Decoder
from reference_impls.models.weights import load

FOLDER: Final = Path(__file__).with_name("tiny")
CONTEXT_LENGTH: Final = 512
"""The length that the pair was trained on; perplexities of the card are in windows of it that do not overlap."""
QUICK_TOKENS: Final = 8_192
"""The card has the loss over this many held-out tokens too: enough for a test, done in a second."""


def load_target(dtype: torch.dtype = torch.float32) -> Decoder:
    """6 layers of 192, 2.56 million parameters."""
    return load(FOLDER / "target.safetensors", dtype)


def load_draft(dtype: torch.dtype = torch.float32) -> Decoder:
    """2 layers of 96, 0.30 million parameters, the target's tokenizer."""
    return load(FOLDER / "draft.safetensors", dtype)


def load_tokenizer() -> tokenizer.Tokenizer:
    """Byte-level BPE of 1,024 tokens; token 0 is the end of a text."""
    return tokenizer.load_tokenizer(FOLDER / "tokenizer.json")


def heldout_text() -> str:
    """The last chapters of Sense and Sensibility, which neither model nor tokenizer was trained on."""
    return (FOLDER / "heldout.txt").read_text("utf-8")


def heldout_tokens(count: int | None = None) -> Tensor:
    """The held-out text as tokens, all or the first `count`. -> (seq,)."""
    return load_tokenizer().encode(heldout_text())[:count]


def card() -> dict[str, Any]:
    """How the pair was made and what it measured."""
    found: dict[str, Any] = json.loads((FOLDER / "card.json").read_text("utf-8"))
    return found
