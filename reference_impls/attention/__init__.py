"""Exact attention computed in parts, and attention that holds fewer keys and values.

A module with `Config` and `attend` computes what `models.attend.attend` computes (flash, split_kv); `methods()` finds
them by walking the package. Reading through a block table is in `paged_decode.py`, its kernels for CPUs and
GPUs beside it; fewer heads of keys and values in `gqa.py`, one latent in their place in `mla.py`.
"""

from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Protocol, cast

from torch import Tensor

HEADER_FIELDS = ("Paper", "Idea", "Symbols", "Simplified", "Differs", "Cost", "Checked against")


class Method(Protocol):
    """The face of this family."""

    Config: type[Any]

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor, config: Any) -> Tensor:
        """Causal attention, aligned at the last position.

        queries: (batch, heads, q_seq, head_dim); keys, values: (batch, kv_heads, kv_seq, head_dim)
        -> (batch, heads, q_seq, head_dim)
        """


def methods() -> dict[str, Method]:
    """Every way to compute attention, by module name."""
    parts = ("Config", "attend")
    names = [found.name for found in iter_modules(__path__)]
    modules = {name: import_module(f"{__name__}.{name}") for name in names if not name.startswith("bench")}
    return {
        name: cast(Method, module)
        for name, module in modules.items()
        if all(getattr(getattr(module, part, None), "__module__", None) == module.__name__ for part in parts)
    }
