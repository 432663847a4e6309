"""Where the cases come from; a module of its own, since a worker cannot import what a command line calls `__main__`."""

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import reference_impls
from reference_impls.measurement.case import Case


def all_cases() -> list[Case]:
    """The cases of every family that has a `bench.py`, found by walking the package."""
    cases: list[Case] = []
    for family in iter_modules(reference_impls.__path__):
        folder = Path(reference_impls.__path__[0]) / family.name
        if (folder / "bench.py").exists():
            cases += import_module(f"reference_impls.{family.name}.bench").cases()
    return sorted(cases, key=lambda case: case.id)
