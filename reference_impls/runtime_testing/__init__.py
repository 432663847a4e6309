"""Testing WebAssembly runtimes: patterns of known bugs make cases, many engines run them, deviations are findings.

The face of the family is `generate`: a module `patterns_…` has one, which yields cases, each under the leaf of the
taxonomy whose bugs it looks for. `pattern_modules` finds them; `engines.installed` finds what can run them; `sweep.run`
runs them in child processes; `oracle.judge` says what deviates. Nothing here needs torch.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

from reference_impls.runtime_testing.module import Module
from reference_impls.runtime_testing.outcome import LOADED, Outcome

HEADER_FIELDS = ("Paper", "Idea", "Symbols", "Simplified", "Differs", "Cost", "Checked against")


@dataclass(frozen=True)
class Call:
    """One call of an exported function, or a question to the driver (an export that starts with @)."""

    export: str
    arguments: tuple[tuple[str, int], ...] = ()  # type and raw bits
    results: tuple[str, ...] = ()
    label: str = ""
    """What it exercises, mostly the name of an instruction: findings of one label are one cluster."""
    nan: str = ""
    """f32 or f64: the result's bits are such a number, and any NaN that arithmetic may return is as good as another."""
    expected: tuple[Outcome, ...] = ()
    """What may happen; empty: what the reference interpreter says."""


@dataclass(frozen=True)
class System:
    """What a case sees of the system interface: arguments, environment, standard input, files of its one folder."""

    arguments: tuple[str, ...] = ("program",)
    environment: tuple[tuple[str, str], ...] = ()
    stdin: bytes = b""
    files: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True)
class Case:
    """A module and what is called in it."""

    id: str
    leaf: str
    module: str | bytes | Module
    """Text in the flat format, a binary, or what the text was read to."""
    calls: tuple[Call, ...] = ()
    loads: tuple[Outcome, ...] = (LOADED,)
    """What loading may end in."""
    label: str = ""
    """What loading exercises."""
    keeps_instance: bool = False
    """All calls in one instance, also after a trap; otherwise each trap is followed by a fresh instance."""
    times: int = 1
    """How often it is loaded and called, one after the other; the last time is compared."""
    system: System | None = None
    needs: frozenset[str] = frozenset()
    """Of {"host", "signatures", "system"}: what an adapter must offer; without it the case is not run."""

    @property
    def is_stateless(self) -> bool:
        """No call can tell whether another came before it, so that a trap needs no fresh instance."""
        changes = ("store", "memory.", "global.set", "data.drop", "import", "atomic")
        return isinstance(self.module, str) and not any(word in self.module for word in changes)


def pattern_modules() -> dict[str, ModuleType]:
    """Every module of generators, found by walking the package."""
    names = [found.name for found in iter_modules(__path__) if found.name.startswith("patterns_")]
    return {name: import_module(f"{__name__}.{name}") for name in names}


def generate() -> Iterator[Case]:
    """The cases of all patterns."""
    for module in pattern_modules().values():
        yield from module.generate()
