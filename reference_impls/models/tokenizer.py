"""Text to tokens and back, by the `tokenizers` library: from a tokenizer.json or from a GGUF file's metadata.

Paper: arXiv 1508.07909, section 3.2 (byte-pair encoding); GPT-2's report, section 2.2 (of bytes).
Idea: begin with bytes and replace the pair that was most frequent in training, over and over.
Symbols: nothing beyond the axes' names.
Simplified: of GGUF's pre-tokenizers only `smollm` and `gpt-2`; no chat templates.
Differs: nothing.
Cost: some 10 ms to open the tiny one, 70 ms for 49,152 words out of a GGUF.
Checked against: transformers' tokenizer on SmolLM2; decode(encode(text)) == text.
"""

from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from reference_impls.models.gguf import GGUFError, GGUFFile

CONTROL: Final = 3
"""The token type of GGUF's `tokenizer.ggml.token_type` that text must not produce by accident."""


class Tokenizer:
    """Encodes to and decodes from one-dimensional tensors; `inner` is the library's own object."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    @property
    def vocab(self) -> int:
        """Tokens, the special ones included."""
        return int(self.inner.get_vocab_size())

    def encode(self, text: str) -> Tensor:
        """-> (seq,) of int64; nothing is put before or after the text's own tokens."""
        return torch.tensor(self.inner.encode(text, add_special_tokens=False).ids, dtype=torch.long)

    def decode(self, tokens: Tensor) -> str:
        """tokens: (seq,) -> text; special tokens are shown."""
        return str(self.inner.decode(tokens.tolist(), skip_special_tokens=False))


def tokenizers_library() -> Any:
    """The library, imported when first needed."""
    try:
        import tokenizers
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("text needs the `tokenizers` library: pip install tokenizers") from error
    return tokenizers


def load_tokenizer(path: Path | str) -> Tokenizer:
    """Read a tokenizer.json."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file")
    return Tokenizer(tokenizers_library().Tokenizer.from_file(str(path)))


def tokenizer_from_gguf(file: GGUFFile) -> Tokenizer:
    """Build the byte-level BPE that the metadata describes."""
    library = tokenizers_library()
    model, kind = (file.metadata.get(f"tokenizer.ggml.{key}") for key in ("model", "pre"))
    if model != "gpt2" or kind not in ("smollm", "gpt-2"):
        raise GGUFError(f"{file.path}: tokenizer {model} with pre-tokenizer {kind} is not supported")
    words = file.strings("tokenizer.ggml.tokens")
    pairs = [tuple(merge.split(" ", 1)) for merge in file.strings("tokenizer.ggml.merges")]
    inner = library.Tokenizer(library.models.BPE({word: number for number, word in enumerate(words)}, pairs))
    split = library.pre_tokenizers
    by_bytes = split.ByteLevel(add_prefix_space=False)
    single_digits = split.Digits(individual_digits=True)
    inner.pre_tokenizer = split.Sequence([single_digits, by_bytes]) if kind == "smollm" else by_bytes
    inner.decoder = library.decoders.ByteLevel()
    kinds = file.numbers("tokenizer.ggml.token_type")
    control = [word for word, found in zip(words, kinds, strict=True) if found == CONTROL]
    inner.add_special_tokens([library.AddedToken(word, special=True, normalized=False) for word in control])
    return Tokenizer(inner)
