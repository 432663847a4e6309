import sys

import pytest

from reference_impls.models.gguf import GGUFError, GGUFFile
from reference_impls.models.tokenizer import load_tokenizer, tokenizer_from_gguf
from tests.models import gguf_builder as g

METADATA = {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "smollm",
    "tokenizer.ggml.tokens": ["<|end|>", "a", "b", "1", "Ġ", "ab", "Ġab"],
    "tokenizer.ggml.merges": ["a b", "Ġ ab"],
    "tokenizer.ggml.token_type": [3, 1, 1, 1, 1, 1, 1],
}


def made(tmp_path, **changes) -> GGUFFile:
    (tmp_path / "made.gguf").write_bytes(g.build(METADATA | changes, {}))
    return GGUFFile(tmp_path / "made.gguf")


def test_merges_digits_and_control_tokens_by_hand(tmp_path):
    pytest.importorskip("tokenizers")
    tokenizer = tokenizer_from_gguf(made(tmp_path))
    assert tokenizer.encode("ab ab11<|end|>a").tolist() == [5, 6, 3, 3, 0, 1]
    assert tokenizer.decode(tokenizer.encode("ab ab11<|end|>a")) == "ab ab11<|end|>a"
    assert tokenizer.vocab == 7
    assert tokenizer.encode("").shape == (0,)


def test_an_unknown_pre_tokenizer_is_refused(tmp_path):
    pytest.importorskip("tokenizers")
    with pytest.raises(GGUFError, match="llama-bpe"):
        tokenizer_from_gguf(made(tmp_path, **{"tokenizer.ggml.pre": "llama-bpe"}))


def test_without_the_library_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ModuleNotFoundError, match="pip install tokenizers"):
        tokenizer_from_gguf(made(tmp_path))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.json"):
        load_tokenizer(tmp_path / "none.json")
