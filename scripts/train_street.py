"""Train the detector of the drawn street: `python -m scripts.train_street`; about two minutes on one core."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from reference_impls.measurement.bench_street_detector import WEIGHTS, train


def main(path: Path = WEIGHTS) -> None:
    """Train and write the weights, under another name first."""
    torch.set_num_threads(1)
    model = train()
    path.parent.mkdir(exist_ok=True)
    part = path.with_suffix(".part")
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, part)
    part.replace(path)


if __name__ == "__main__":
    main()
