"""Settings of these tests: one thread, since the tensors are tiny and the machine is shared."""

import os

import torch

from tests.models.conftest import one_thread  # noqa: F401
from tests.triton_here import mended  # noqa: F401

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # read when kernels are imported
