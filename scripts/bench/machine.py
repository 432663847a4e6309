"""What machine this is, as far as it can be read without changing anything."""

import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import torch


def machine_facts(device: str) -> dict[str, Any]:
    """The `machine` block of a recorded run; what cannot be read is left out rather than guessed."""
    cpu = _cpu_name()
    gpu = torch.cuda.get_device_properties(0) if device == "cuda" else None
    name = f"{_slug(gpu.name)}" if gpu else f"{_slug(cpu)}-{os.cpu_count()}-cores"
    facts: dict[str, Any] = {
        "name": name[:60].strip("-"),
        "cpu": cpu,
        "cores": os.cpu_count() or 1,
        "memory_bytes": _memory_bytes(),
        "os": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else [],
    }
    if gpu:
        facts |= {"gpu": gpu.name, "gpu_memory_bytes": gpu.total_memory, "cuda": torch.version.cuda or "unknown"}
        facts |= _read_nvidia_smi()
    version = _version("triton")
    return facts | ({"triton": version} if version else {})


def code_facts(root: Path, suite: str) -> dict[str, Any]:
    """The commit that is measured, whether the working tree differs from it, and hashes of the folders that run."""
    commit = _run("git", "-C", str(root), "rev-parse", "HEAD")
    changed = _run("git", "-C", str(root), "status", "--porcelain", "--", "reference_impls", "scripts/bench")
    folders = (f"reference_impls/{suite}", "reference_impls/models", "scripts/bench")
    trees = {folder: _run("git", "-C", str(root), "rev-parse", f"HEAD:{folder}") for folder in folders}
    return {
        "commit": commit or "unknown",
        "dirty": bool(changed) or not commit,
        "trees": {folder: tree for folder, tree in trees.items() if tree},
    }


def installed(package: str) -> str | None:
    """The version of an installed package, by the name it is imported under or its name on PyPI."""
    return _version(package) or _version(package.replace("_", "-"))


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu_name() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found.group(1).strip() if found else platform.processor() or platform.machine()


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError):
        return 1


def _read_nvidia_smi() -> dict[str, Any]:
    fields = "driver_version,clocks.max.sm,clocks.max.mem,power.limit"
    line = _run("nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits", "-i", "0")
    parts = [part.strip() for part in line.split(",")]
    if len(parts) != 4:
        return {}
    power = {"power_limit_w": float(parts[3])} if re.fullmatch(r"[\d.]+", parts[3]) else {}
    return {"driver": parts[0], "clocks": f"SM up to {parts[1]} MHz, memory up to {parts[2]} MHz"} | power


def _run(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", re.sub(r"\((r|tm)\)", "", text.casefold())).strip("-")
