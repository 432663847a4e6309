"""Run by `python -m scripts wheel` in a fresh environment, away from the checkout: what the wheel can do there.

Prints one line of JSON. Needs what the wheel needs, torch and numpy, and nothing of this repository.
"""

import json
import pkgutil
import sys
import time
from importlib import import_module
from typing import Any

HEAVY = ("torch._dynamo", "torch._inductor", "transformers", "scipy", "triton")
"""What an import of the library must not bring; torch itself may, in some versions."""


def importing() -> dict[str, Any]:
    """The processor time that the library's import takes on top of torch's, and what it loads."""
    import torch  # noqa: F401 its own time is not ours

    before, start = set(sys.modules), time.process_time()
    import reference_impls

    seconds = time.process_time() - start
    loaded = set(sys.modules) - before
    heavy = sorted({name for name in loaded for one in HEAVY if name == one or name.startswith(one + ".")})
    where = reference_impls.__file__
    return {
        "import_s": seconds,
        "loaded": len(loaded),
        "heavy": heavy,
        "file": where,
        "wheel": reference_impls.__version__,
    }


def modules() -> dict[str, Any]:
    """Every module imported; name -> the package that it misses, of those that want one."""
    import reference_impls

    start, missing, count = time.process_time(), {}, 0
    for found in pkgutil.walk_packages(reference_impls.__path__, "reference_impls."):
        try:
            import_module(found.name)
        except ModuleNotFoundError as error:
            missing[found.name] = error.name or str(error)
        count += 1
    return {"modules": count, "missing": missing, "modules_s": time.process_time() - start}


def example() -> dict[str, Any]:
    """Quantise a small model to the bytes it holds, by the function that README.md shows."""
    import torch

    from reference_impls.quantization.apply import quantize_model, weight_bytes
    from reference_impls.quantization.calibration import Calibration

    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(128, 256), torch.nn.ReLU(), torch.nn.Linear(256, 64))
    inputs = torch.randn(32, 128)
    smaller = quantize_model(model, "gptq", {"bits": 4, "group_size": 64}, Calibration([inputs]), effect="packed")
    error = (smaller(inputs) - model(inputs)).norm() / model(inputs).norm()
    return {"bytes": [weight_bytes(model), weight_bytes(smaller)], "error": float(error.detach())}


def versions() -> dict[str, str]:
    """What it ran with."""
    import numpy
    import torch

    return {"python": sys.version.split()[0], "torch": torch.__version__, "numpy": numpy.__version__}


if __name__ == "__main__":
    print(json.dumps(importing() | modules() | example() | versions()))  # noqa: T201
