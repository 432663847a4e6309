"""Taking the time of one step, and reading (never setting) what the machine does meanwhile."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import torch

RAPL = Path("/sys/class/powercap/intel-rapl:0/energy_uj")
_BENIGN = {"0x0000000000000000", "0x0000000000000001"}  # nothing, or the GPU was idle when asked


def time_step(step: Callable[[], object], device: str) -> float:
    """Seconds of one step: by CUDA events on a GPU, by the clock elsewhere."""
    if device == "cuda":
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        start.record()
        step()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / 1000
    begin = time.perf_counter()
    step()
    return time.perf_counter() - begin


def throttled(device: str) -> bool:
    """Whether the GPU says that it slows itself down now; on a CPU nothing tells."""
    if device != "cuda":
        return False
    query = ["nvidia-smi", "--query-gpu=clocks_event_reasons.active", "--format=csv,noheader", "-i", "0"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and done.stdout.strip() not in _BENIGN


def energy_j(device: str) -> float | None:
    """The running energy counter of the device in joules; None where there is none that can be read."""
    if device == "cuda":
        return _gpu_energy_j()
    try:
        return int(RAPL.read_text()) / 1e6
    except (OSError, ValueError):
        return None


def _gpu_energy_j() -> float | None:
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1000
    except pynvml.NVMLError:
        return None
