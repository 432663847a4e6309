"""Where Triton's kernels are tested: on a GPU if there is one, else under Triton's interpreter, mended for bfloat16."""

import os
import platform
from importlib.util import find_spec

import pytest
import torch

ON_GPU = torch.cuda.is_available()
PINNED = platform.system() == "Linux" and platform.machine() == "x86_64"
"""Whether requirements/torch.txt names a Triton for this machine."""
MISSING = find_spec("triton") is None
WHOLE = PINNED and bool(os.environ.get("CI"))
"""Whether a missing Triton is a failure here, by every test that needs it."""
needs_triton = pytest.mark.skipif(MISSING and not WHOLE, reason="triton is not installed")


@pytest.fixture
def mended(monkeypatch):
    """Tiles of bfloat16 multiply as numbers, and integers become bfloat16 by value.

    The interpreter holds bfloat16 as uint16. It multiplies tiles as if those bits were integers, and an integer that
    becomes bfloat16 keeps its bits (seen in 3.7.1 and 3.9.0). Here both go through float32, which is exact for tiles
    and whose sums the kernels ask for anyway. A GPU needs no mending.
    """
    if ON_GPU or MISSING:
        return
    import numpy as np
    import triton.language as tl
    from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

    def widened(tile):
        if tile.dtype.scalar != tl.bfloat16:
            return tile
        return TensorHandle((tile.data.astype(np.uint32) << 16).view(np.float32), tl.float32)

    def dot(self, a, b, *more):
        return plain_dot(self, widened(a), widened(b), *more)

    def cast(self, source, to):
        if to.scalar == tl.bfloat16 and source.dtype.scalar.is_int():
            source = TensorHandle(source.data.astype(np.float32), tl.float32)
        return plain_cast(self, source, to)

    plain_dot, plain_cast = InterpreterBuilder.create_dot, InterpreterBuilder.cast_impl
    monkeypatch.setattr(InterpreterBuilder, "create_dot", dot)
    monkeypatch.setattr(InterpreterBuilder, "cast_impl", cast)
