"""Facts of the machine that belong beside every measurement, found with the standard library alone."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")
GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TORCH_NUM_THREADS")


@dataclass(frozen=True)
class Environment:
    """None is "not available", never a guess."""

    cpu: str
    cores: int | None
    usable_cores: int | None
    governor: str | None
    load_before: float | None
    load_after: float | None
    os: str
    python: str
    libraries: dict[str, str]
    threads: dict[str, str]
    seed: int | None

    def as_dict(self) -> dict[str, object]:
        """Plain types only, ready for `json.dumps`."""
        return asdict(self)


def cpu_model(path: Path = CPU_INFO) -> str:
    """The first model name Linux lists, else what Python knows."""
    if path.is_file():
        for line in path.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def governor(path: Path = GOVERNOR) -> str | None:
    """The frequency governor of the first core, where the system shows it."""
    return path.read_text().strip() if path.is_file() else None


def load_average() -> float | None:
    """Runnable processes over the last minute; call it before the measurement too."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def library_versions(names: Sequence[str]) -> dict[str, str]:
    """Without importing them; those not installed say so."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def describe(
    load_before: float | None = None, libraries: Sequence[str] = ("numpy", "torch"), seed: int | None = None
) -> Environment:
    """The machine as it is now, after the measurement."""
    return Environment(
        cpu=cpu_model(),
        cores=os.cpu_count(),
        usable_cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        governor=governor(),
        load_before=load_before,
        load_after=load_average(),
        os=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        libraries=library_versions(libraries),
        threads={name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ},
        seed=seed,
    )
