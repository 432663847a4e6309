"""A product of 8-bit weights with inputs rounded to 8 bits on any CPU: `w8a8_cpu.cpp`, compiled when first asked for.

Paper: arXiv 2208.07339, section 2.1 (a scale for each row of inputs and of the weight: vector-wise products);
    2306.00978, section 4.2 (codes are read in the kernel, as they lie in memory).
Idea: at batch 1 time is the bytes of the weight; a loop that adds exact products of integers in 32 bits, over codes as
    they lie in memory, keeps up with reading them, and the layer around it must cost microseconds, not tens of them.
Symbols: y = step * scale * (codes . round(x / step)), step = max |x| / 127 of each row of inputs.
Simplified: plain loops, which the compiler turns into the machine's vector instructions; no blocks of rows, so that it
    is for decoding and not for long prompts.
Differs: symmetric grids only; no outlier columns (see `llm_int8.py`).
Cost: a byte a weight read once a call, a microsecond a thousand inputs to round, and under a second to compile.
Checked against: integer arithmetic in torch, value by value, and the dequantizing oracle.
"""

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from reference_impls.quantization.packed import PackedWeight, row_scale, signed_codes

SOURCE = Path(__file__).with_suffix(".cpp")
FLAGS = ("-march=native", "-fopenmp"), ("-march=native",), ()
"""Tried in turn: compilers differ in what they know."""


def compiler() -> str | None:
    """The C++ compiler: $CXX, or the first known one on the path."""
    names = filter(None, (os.environ.get("CXX"), "c++", "g++", "clang++"))
    return next(filter(None, map(shutil.which, names)), None)


@cache
def library() -> ctypes.CDLL:
    """The compiled loops, once a process. Raises RuntimeError with what the compiler said where it refuses."""
    said = "no C++ compiler is on the path"
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder) / "w8a8_cpu.so"
        for flags in FLAGS if (found := compiler()) else ():
            command = [found, "-O3", "-std=c++17", *flags, "-shared", "-fPIC", str(SOURCE), "-o", str(built)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if not done.returncode:
                loaded = ctypes.CDLL(str(built))
                pointer, number = ctypes.c_void_p, ctypes.c_int64
                loaded.w8a8_product.argtypes = [*[pointer] * 4, *[number] * 3, ctypes.c_int]
                loaded.w8a8_product.restype = None
                return loaded
            said = f"{' '.join(command)}: {done.stderr.strip()}"
    raise RuntimeError(f"w8a8_cpu.cpp could not be compiled: {said}")


def obstacle() -> str | None:
    """Why there is no such product here; None: there is."""
    return None if compiler() else "needs a C++ compiler on the path, or in CXX"


def prepare(weight: PackedWeight) -> Callable[[Tensor], Tensor]:
    """A function inputs: (rows, in) -> (rows, out), in the dtype of the inputs.

    weight: 8 bits, symmetric, one scale a row
    """
    codes, scale = signed_codes(weight), row_scale(weight).float()
    out, columns = codes.shape
    function = library().w8a8_product

    def product(inputs: Tensor) -> Tensor:
        wide = inputs.float().contiguous()
        rows = len(wide)
        outputs = torch.empty(rows, out)
        at = (tensor.data_ptr() for tensor in (wide, codes, scale, outputs))
        function(*at, rows, columns, out, torch.get_num_threads())
        return outputs.to(inputs.dtype)

    return product
