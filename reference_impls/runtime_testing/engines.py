"""Which engines are here, and how each is started. None is needed: what is absent is left out of a sweep.

Engines for Python are looked for in the running Python, and in that of $WASM_PYTHON; old releases of wasmtime in the
Pythons that $WASM_OLD_PYTHONS names, with colons between. Shells and WABT are looked for on the path, WABT also
beside those Pythons.
"""

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

DRIVERS = "reference_impls.runtime_testing.drivers"
SCRIPT = Path(__file__).resolve().parent / "drivers" / "javascript.cjs"
HOW_TO_GET_THEM = "pip install 'frugalfm[runtimes]', or name a Python that has them in $WASM_PYTHON"


@dataclass(frozen=True)
class Engine:
    """A runtime in one setting."""

    name: str
    version: str
    command: tuple[str, ...]
    offers: frozenset[str] = frozenset({"host", "signatures", "system"})
    build: str = ""
    """Engines of one build differ in settings only, so that they must agree in everything."""
    slow: bool = False
    """An interpreter in an interpreted language, or one that compiles with a C compiler: it gets fewer cases."""
    reserves_mib: int = 0
    """Address space that it takes at its start and mostly leaves untouched; a limit of memory comes on top."""

    @property
    def title(self) -> str:
        """Name and version."""
        return f"{self.name} {self.version}"


@cache
def installed() -> tuple[Engine, ...]:
    """Every engine that is here, in a fixed order."""
    return (*_of_pythons(), *_old_wasmtimes(), *_shells(), *_wabt())


def by_name(name: str) -> Engine | None:
    """The engine, where it is here."""
    return next((one for one in installed() if one.name == name), None)


def _pythons() -> list[str]:
    """The running one first."""
    given = os.environ.get("WASM_PYTHON")
    return [sys.executable, *([given] if given else [])]


@cache
def _version_in(python: str, package: str) -> str | None:
    """Version of a package in a Python; None where it is not there."""
    if python == sys.executable:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return None
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    return _output(python, "-c", code) or None


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _of_pythons() -> Iterator[Engine]:
    host = frozenset({"host", "signatures"})
    both = host | {"system"}
    settings: list[tuple[str, str, str, tuple[str, ...], frozenset[str], bool]] = [
        ("wasmtime", "wasmtime", "wasmtime_driver", (), both, False),
        ("wasmtime-unoptimised", "wasmtime", "wasmtime_driver", ("unoptimised",), both, False),
        ("wasmtime-pulley", "wasmtime", "wasmtime_driver", ("pulley",), both, False),
        ("wasm3", "pywasm3", "wasm3_driver", (), host, False),
        ("pywasm", "pywasm", "pywasm_driver", (), both, True),
    ]
    for name, package, driver, arguments, offers, slow in settings:
        for python in _pythons():
            version = _version_in(python, package)
            if version:
                build = f"wasmtime {version}" if package == "wasmtime" else ""
                command = (python, "-m", f"{DRIVERS}.{driver}", *arguments)
                yield Engine(name, version, command, offers, build, slow)
                break


def _old_wasmtimes() -> Iterator[Engine]:
    for python in filter(None, os.environ.get("WASM_OLD_PYTHONS", "").split(":")):
        version = _version_in(python, "wasmtime")
        if version:
            yield Engine(f"wasmtime-{version.split('.')[0]}", version, (python, "-m", f"{DRIVERS}.wasmtime_driver"))


def _shells() -> Iterator[Engine]:
    node = shutil.which("node")
    if node:
        version = _output(node, "-p", "process.versions.v8").split("-")[0]
        for name, flags in (("v8-liftoff", ("--liftoff-only",)), ("v8-turbofan", ("--no-liftoff",))):
            command = (node, "--no-warnings", *flags, str(SCRIPT))
            yield Engine(name, version, command, frozenset({"host", "system"}), f"v8 {version}")
    gjs = shutil.which("gjs")
    host = frozenset({"host"})
    if gjs:
        version = "".join(re.findall(r"[\d.]+", _output(gjs, "--version"))) or "of this system"
        yield Engine("spidermonkey", f"gjs {version}", (gjs, str(SCRIPT)), host)
    jsc = shutil.which("jsc")
    if jsc:
        # Its guard pages, 4 GiB a memory, would count as memory used; without them it checks bounds itself.
        own = (jsc, "--useWasmFastMemory=false", str(SCRIPT))
        yield Engine("javascriptcore", _package_of(jsc) or "of this system", own, host, reserves_mib=8192)


def _package_of(path: str) -> str:
    """Version of the Debian package that a program came in: this shell does not say its own."""
    name = _output("dpkg-query", "--search", str(Path(path).resolve())).split(":")[0]
    return _output("dpkg-query", "--show", "--showformat=${Version}", name).split("-")[0] if name else ""


def program(name: str) -> str | None:
    """A program of WABT or wasm-tools: on the path, or beside one of the Pythons."""
    beside = (str(Path(python).parent / name) for python in _pythons())
    return shutil.which(name) or next((path for path in beside if Path(path).exists()), None)


def _wabt() -> Iterator[Engine]:
    interpreter = program("spectest-interp")
    if interpreter:
        folder = str(Path(interpreter).parent)
        version = _output(str(Path(folder) / "wat2wasm"), "--version")
        yield Engine("wabt", version, (sys.executable, "-m", f"{DRIVERS}.wabt_driver", folder), frozenset())
