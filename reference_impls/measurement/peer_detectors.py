"""Detectors that people use, in a process of their own: `python -m reference_impls.measurement.peer_detectors JOB`.

It needs numpy and OpenCV, for SSDLite also onnxruntime, for its 8-bit version also onnx, so that it can run under
another Python than the bench (named in $VISION_PYTHON). JOB is one JSON object: detector, video, model, frames,
brightness, calibration. It answers one JSON object: version, and for each brightness and frame the boxes as
[confidence, x_min, y_min, x_max, y_max]. Exit code 3 says that something is not installed, and standard error what.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from reference_impls.measurement.detectors import Frame, darkened, places

Box = list[float]
Detect = Callable[[Frame], list[Box]]
NOT_INSTALLED = 3
PERSON, LEAST = 1, 0.05
"""COCO's number of a person, and the confidence below which SSDLite's guesses are not kept."""
OUTPUTS = ["detection_boxes:0", "detection_scores:0", "detection_classes:0"]


def frames_of(video: str, count: int, offset: int = 0) -> list[Frame]:
    """Frames spread over the video, `offset` frames later; blue, green, red as OpenCV has them."""
    import cv2

    capture = cv2.VideoCapture(video)
    wanted = {place + offset for place in places(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), count)}
    taken: list[Frame] = []
    number = 0
    while len(taken) < count:
        ok, frame = capture.read()
        if not ok:
            raise ValueError(f"{video}: ended at frame {number}, before {max(wanted)}")
        if number in wanted:
            taken.append(frame)
        number += 1
    return taken


def hog() -> Detect:
    """OpenCV's histogram of gradients with the people's weights it comes with."""
    import cv2

    found = cv2.HOGDescriptor()
    found.setSVMDetector(cv2.HOGDescriptor.getDefaultPeopleDetector())

    def detect(frame: Frame) -> list[Box]:
        boxes, _ = found.detectMultiScale(frame, winStride=(8, 8), padding=(8, 8), scale=1.1)
        return [_corners(box) for box in boxes]

    return detect


def haar() -> Detect:
    """OpenCV's cascade for whole bodies."""
    import cv2

    cascade = cv2.CascadeClassifier(str(Path(cv2.data.haarcascades) / "haarcascade_fullbody.xml"))

    def detect(frame: Frame) -> list[Box]:
        return [_corners(box) for box in cascade.detectMultiScale(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), 1.1, 3)]

    return detect


def _corners(box: Any) -> Box:
    x, y, width, height = (float(one) for one in box)
    return [1.0, x, y, x + width, y + height]  # both only say yes or no


def ssdlite(path: str) -> Detect:
    """SSDLite on MobileNetV2 as an ONNX graph, on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def detect(frame: Frame) -> list[Box]:
        boxes, scores, classes = (one[0] for one in session.run(OUTPUTS, _fed(frame)))
        height, width = frame.shape[:2]
        kept = (classes == PERSON) & (scores >= LEAST)
        return [
            [float(score), *(float(one) for one in (left * width, top * height, right * width, bottom * height))]
            for score, (top, left, bottom, right) in zip(scores[kept], boxes[kept], strict=True)
        ]

    return detect


def _fed(frame: Frame) -> dict[str, Frame]:
    return {"image_tensor:0": np.ascontiguousarray(frame[None, :, :, ::-1])}


def quantized(path: str, calibration: list[Frame], target: Path) -> Path:
    """Convolutions to 8 bits, scales of weights by channel, of activations from the calibration frames.

    Weights use 7 of their 8 bits, as onnxruntime advises where a processor's sums of 8-bit products may overflow.
    """
    from onnxruntime import quantization

    feeds: Iterator[dict[str, Frame]] = map(_fed, calibration)

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, Frame] | None:
            return next(feeds, None)

    quantization.quantize_static(
        path, target, Reader(), op_types_to_quantize=["Conv"], per_channel=True, reduce_range=True
    )
    return target


def make(job: dict[str, Any], folder: Path) -> tuple[Detect, str]:
    """The detector a job names, and its version."""
    import cv2

    cv2.setNumThreads(1)
    lacking = [name for name in ("HOGDescriptor", "CascadeClassifier", "data") if not hasattr(cv2, name)]
    if lacking:
        raise ImportError(f"OpenCV {cv2.__version__} lacks {', '.join(lacking)}; the wheels of 4.x have all")
    if job["detector"] in ("hog", "haar"):
        return {"hog": hog, "haar": haar}[job["detector"]](), f"OpenCV {cv2.__version__}"
    import onnxruntime

    path, version = job["model"], f"onnxruntime {onnxruntime.__version__}"
    if job["detector"] == "ssdlite-int8":
        calibration = frames_of(job["video"], job["calibration"], offset=1)
        path = str(quantized(path, calibration, folder / "int8.onnx"))
    return ssdlite(path), version


def main(arguments: list[str]) -> int:
    """Do one job; -> the exit code."""
    job = json.loads(arguments[0])
    try:
        with tempfile.TemporaryDirectory() as folder:
            detect, version = make(job, Path(folder))
            frames = frames_of(job["video"], job["frames"])
            found = [[detect(darkened(frame, light)) for frame in frames] for light in job["brightness"]]
    except ImportError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return NOT_INSTALLED
    print(json.dumps({"version": version, "found": found}))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
