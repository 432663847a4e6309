"""Which methods meet at which number of bits, and with what parameters."""

from dataclasses import dataclass
from typing import Any

from reference_impls.quantization import (
    awq,
    bitnet,
    fp8,
    gptq,
    hqq,
    llm_int8,
    nf4,
    quarot,
    rtn,
    smoothquant,
    spqr,
)

STACKED = (rtn, hqq, awq, gptq, spqr, llm_int8)
"""Methods that work row by row, so that stacking layers with the same inputs changes nothing but the time; AWQ then
chooses one scale for them, as its paper does. Others have scales of whole layers."""


@dataclass(frozen=True)
class Recipe:
    """A method with its parameters, under the name that records and figures use."""

    name: str
    method: Any
    config: Any

    @property
    def module(self) -> str:
        """Name of the method's module."""
        return str(self.method.__name__).rpartition(".")[2]


def grid_recipes(bits: int, group_size: int = 64) -> list[Recipe]:
    """Methods on a uniform grid, all with the same groups of 64, which divide every width here; SpQR in its own."""
    return [
        Recipe("rtn", rtn, rtn.Config(bits=bits, group_size=group_size)),
        Recipe("hqq", hqq, hqq.Config(bits=bits, group_size=group_size)),
        Recipe("awq", awq, awq.Config(bits=bits, group_size=group_size)),
        Recipe("gptq", gptq, gptq.Config(bits=bits, group_size=group_size)),
        Recipe("gptq-act-order", gptq, gptq.Config(bits=bits, group_size=group_size, act_order=True)),
        Recipe("spqr", spqr, spqr.Config(bits=bits, group_size=16)),
    ]


def _other_recipes() -> dict[str, list[Recipe]]:
    return {
        "w8a8": [
            Recipe("llm-int8", llm_int8, llm_int8.Config()),
            Recipe("smoothquant", smoothquant, smoothquant.Config()),
            Recipe("fp8-e4m3", fp8, fp8.Config()),
        ],
        "w4a4": [
            Recipe("quarot", quarot, quarot.Config()),
            Recipe("no-rotation", quarot, quarot.Config(rotate_inputs=False)),
        ],
        "w4-levels": [Recipe("nf4-double", nf4, nf4.Config()), Recipe("nf4", nf4, nf4.Config(double=False))],
        "ternary": [Recipe("bitnet-untrained", bitnet, bitnet.Config())],
    }


LARGER = {
    8: ("rtn", "gptq"),
    6: ("rtn", "gptq"),
    5: ("rtn", "gptq"),
    4: ("rtn", "hqq", "awq", "gptq", "spqr"),
    3: ("rtn", "hqq", "awq", "gptq", "spqr"),
    2: ("rtn", "hqq", "awq", "gptq", "spqr"),
}
"""Where a method takes a quarter of a minute, only the bits at which it can differ from rounding to nearest."""


def groups(small: bool) -> dict[str, list[Recipe]]:
    """Methods at each number of bits: all on the tiny model, those of LARGER on the larger one."""
    others = _other_recipes()
    found = {f"{bits}-bit": [r for r in grid_recipes(bits) if _meets(small, bits, r.name)] for bits in LARGER}
    return found | (others if small else {name: others[name] for name in ("w8a8", "w4a4", "w4-levels")})


def _meets(small: bool, bits: int, name: str) -> bool:
    """The order of columns is a matter of few bits."""
    return (bits < 5 or name != "gptq-act-order") if small else name in LARGER[bits]
