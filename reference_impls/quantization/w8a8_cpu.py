"""A product of 8-bit weights with inputs rounded to 8 bits on any CPU: `w8a8_cpu.cpp`, compiled when first asked for.

Paper: arXiv 2208.07339, section 2.1 (a scale for each row of inputs and of the weight: vector-wise products);
    2306.00978, section 4.2 (codes are read in the kernel, as they lie in memory).
Idea: at batch 1 time is the bytes of the weight; a loop that adds exact products of integers in 32 bits, over codes as
    they lie in memory, keeps up with reading them; the layer around it is part of the same call, since between other
    work each small operation starts from cold memory.
Symbols: y = step * scale * (codes . round(x / step)), step = max |x| / 127 of each row of inputs.
Simplified: AVX2's products of 8 bits, plain loops elsewhere; four rows share a load of the weight, but there are no
    blocks for caches, so that it is for decoding and not for long prompts.
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
DTYPES = (torch.float32, torch.bfloat16)


@cache
def _product() -> Any:
    function = cpp.library(SOURCE).w8a8_product
    function.argtypes, function.restype = [*[cpp.POINTER] * 4, *[cpp.NUMBER] * 4, cpp.THREADS], None
    return function


def prepare(weight: PackedWeight) -> Callable[[Tensor], Tensor]:
    """A function inputs: (rows, in) -> (rows, out), in the dtype of the inputs.

    weight: 8 bits, symmetric, one scale a row
    """
    codes, scale = signed_codes(weight), row_scale(weight).float()
    out, columns = codes.shape
    function, held = _product(), (codes.data_ptr(), scale.data_ptr())

    def product(inputs: Tensor, _kept_alive: tuple[Tensor, Tensor] = (codes, scale)) -> Tensor:
        if inputs.dtype not in DTYPES:
            return product(inputs.float()).to(inputs.dtype)
        rows, lying = len(inputs), inputs.contiguous()
        outputs = inputs.new_empty(rows, out)
        halves = inputs.dtype == torch.bfloat16
        function(lying.data_ptr(), *held, outputs.data_ptr(), rows, columns, out, halves, torch.get_num_threads())
        return outputs

    return product
