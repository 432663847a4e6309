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

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reference_impls import cpp
from reference_impls.quantization.packed import PackedWeight, row_scale, signed_codes

SOURCE = Path(__file__).with_suffix(".cpp")


@cache
def _product() -> Any:
    function = cpp.library(SOURCE).w8a8_product
    function.argtypes, function.restype = [*[cpp.POINTER] * 4, *[cpp.NUMBER] * 3, cpp.THREADS], None
    return function


def prepare(weight: PackedWeight) -> Callable[[Tensor], Tensor]:
    """A function inputs: (rows, in) -> (rows, out), in the dtype of the inputs.

    weight: 8 bits, symmetric, one scale a row
    """
    codes, scale = signed_codes(weight), row_scale(weight).float()
    out, columns = codes.shape
    function = _product()

    def product(inputs: Tensor) -> Tensor:
        wide = inputs.float().contiguous()
        rows = len(wide)
        outputs = torch.empty(rows, out)
        at = (tensor.data_ptr() for tensor in (wide, codes, scale, outputs))
        function(*at, rows, columns, out, torch.get_num_threads())
        return outputs.to(inputs.dtype)

    return product
