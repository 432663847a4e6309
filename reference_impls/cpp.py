"""Loops in plain C++ for CPUs, compiled when first asked for: a `.cpp` beside the module that calls it.

No package to build and no binary to trust: the compiler of the machine makes what its processor runs best.
"""

import ctypes
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

POINTER, NUMBER, THREADS, FLOAT = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int, ctypes.c_float
"""Kinds of arguments: `Tensor.data_ptr()`, a size or stride in elements, how many threads, a factor."""
FLAGS = ("-march=native", "-fopenmp"), ("-march=native", "-fopenmp-simd"), ("-march=native",), ()
"""Tried in turn: compilers differ in what they know."""


def compiler() -> str | None:
    """The C++ compiler: $CXX, or the first known one on the path."""
    names = filter(None, (os.environ.get("CXX"), "c++", "g++", "clang++"))
    return next(filter(None, map(shutil.which, names)), None)


def obstacle(source: Path | None = None) -> str | None:
    """Why nothing can be compiled here, or not this file, which is tried; None: it can."""
    found = _compiled(source) if source else None
    if isinstance(found, ctypes.CDLL):
        return None
    return found if compiler() else "needs a C++ compiler on the path, or in CXX"


def library(source: Path) -> ctypes.CDLL:
    """The compiled file, once a process. Raises RuntimeError with what the compiler said where it refuses.

    The caller sets `argtypes` of the functions it uses, and `restype` to None.
    """
    found = _compiled(source)
    if isinstance(found, str):
        raise RuntimeError(found)
    return found


@cache
def _compiled(source: Path) -> ctypes.CDLL | str:
    """The compiled file, or why there is none."""
    said = "no C++ compiler is on the path"
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder) / f"{source.stem}.so"
        for flags in FLAGS if (found := compiler()) else ():
            command = [found, "-O3", "-std=c++17", *flags, "-shared", "-fPIC", str(source), "-o", str(built)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if not done.returncode:
                return ctypes.CDLL(str(built))
            said = f"{' '.join(command)}: {done.stderr.strip()}"
    return f"{source.name} could not be compiled: {said}"
