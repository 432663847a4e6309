"""Random modules that end, whose results every engine must give alike: breadth beside the patterns.

Paper: arXiv 2301.12102 derives tests from patterns; random ones are the usual counterpart (wasm-smith, Csmith).
Idea: trees of scalar operations over two parameters. No loop, so all end; no operation that shows the payload of a NaN,
    and a NaN as a result becomes 0, so all agree.
Symbols: depth = height of a tree; a module has as many functions as asked for.
Simplified: no memory, no control flow: those are the patterns' part.
Differs: nothing to differ from.
Cost: linear in the size of the trees.
Checked against: the reference interpreter, and builds of one engine among each other.
"""

from dataclasses import dataclass

import numpy as np

from reference_impls.runtime_testing import Call, Case
from reference_impls.runtime_testing.numeric import operations, signature
from reference_impls.runtime_testing.patterns_numeric import operands


@dataclass(frozen=True)
class Config:
    """Size of a module."""

    functions: int = 4
    depth: int = 5
    calls: int = 3

    def __post_init__(self) -> None:
        if min(self.functions, self.depth, self.calls) < 1:
            raise ValueError(f"sizes must be at least 1, got {self}")


BY_RESULT: dict[str, list[str]] = {
    type_: [
        name
        for name in sorted(operations())
        if signature(name)[1] == type_ and "reinterpret" not in name and "copysign" not in name
    ]
    for type_ in ("i32", "i64", "f32", "f64")
}
"""Operations by the type of their result."""
PARAMETERS = ("i32", "i64")


def generate_module(seed: int, config: Config | None = None) -> Case:
    """The module of a seed, with calls at boundary values."""
    config = config or Config()
    rng = np.random.default_rng(seed)
    functions, calls = [], []
    for number in range(config.functions):
        type_ = str(rng.choice(["i32", "i64", "f32", "f64"]))
        body = _result(type_, _tree(type_, config.depth, rng))
        carrier = f"i{type_[1:]}"
        locals_ = f"(local $r {type_})"
        functions.append(f'(func (export "f{number}") (param i32 i64) (result {carrier}) {locals_} {body})')
        for _ in range(config.calls):
            given = tuple((one, int(rng.choice(np.array(operands(one), dtype=np.uint64)))) for one in PARAMETERS)
            calls.append(Call(f"f{number}", given, (carrier,), "random"))
    return Case(f"random/{seed}", "A2", f"(module {' '.join(functions)})", tuple(calls), label="random")


def _tree(type_: str, depth: int, rng: np.random.Generator) -> str:
    if depth == 0 or (depth < 3 and rng.random() < 0.25):
        if type_ in PARAMETERS and rng.random() < 0.6:
            return f"local.get {PARAMETERS.index(type_)}"
        bits = int(rng.choice(np.array(operands(type_), dtype=np.uint64)))
        return f"i{type_[1:]}.const {bits}" + (f" {type_}.reinterpret_i{type_[1:]}" if type_[0] == "f" else "")
    name = str(rng.choice(BY_RESULT[type_]))
    return " ".join([*(_tree(one, depth - 1, rng) for one in signature(name)[0]), name])


def _result(type_: str, tree: str) -> str:
    """The tree's value as an integer; a NaN is 0."""
    if type_[0] == "i":
        return tree
    carrier = f"i{type_[1:]}"
    return (
        f"{tree} local.set $r local.get $r local.get $r {type_}.eq if (result {carrier}) local.get $r "
        f"{carrier}.reinterpret_{type_} else {carrier}.const 0 end"
    )
