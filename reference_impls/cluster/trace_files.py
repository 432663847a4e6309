"""Public traces read into jobs: Philly (JSON), Helios and Alibaba PAI (CSV), as their owners publish them.

Paper: "Analysis of Large-Scale Multi-Tenant GPU Clusters for DNN Training Workloads", USENIX ATC 2019 (Philly);
    arXiv 2109.01313 (Helios); "MLaaS in the Wild: Workload Analysis and Scheduling in Large-Scale Heterogeneous GPU
    Clusters", NSDI 2022 (PAI).
Idea: a trace says when a job came, how many GPUs it had and for how long; the kind of job it does not say.
Symbols: nothing beyond the names.
Simplified: jobs without a GPU or a run are left out; GPU counts are rounded up to a power of two; the kind is drawn by
    a hash of the job's name, and its iterations are those of its duration at full clock.
Differs: nothing.
Cost: one pass over the file.
Checked against: small files written by hand, and broken ones.

Where they are: github.com/msr-fiddle/philly-traces (cluster_job_log), github.com/S-Lab-System-Group/HeliosData
(cluster_log.csv), github.com/alibaba/clusterdata (cluster-trace-gpu-v2020, pai_task_table.csv with its header).
"""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil, isfinite
from pathlib import Path
from typing import Any
from zlib import crc32

from reference_impls.cluster import Job, Table


class TraceError(ValueError):
    """A file that is not such a trace; the message names the file and the line or record."""


@dataclass(frozen=True)
class Row:
    """What all three have."""

    name: str
    submitted_s: float
    seconds: float
    gpus: float


def read_philly(path: Path) -> list[Row]:
    """cluster_job_log: a list of jobs with `submitted_time` and `attempts`, each with its times and GPUs."""
    try:
        records = json.loads(path.read_text("utf-8"))
    except json.JSONDecodeError as error:
        raise TraceError(f"{path}:{error.lineno}: not JSON: {error.msg}") from error
    if not isinstance(records, list):
        raise TraceError(f"{path}:1: expected a list of jobs, got {type(records).__name__}")
    return list(_rows(path, enumerate(records, 1), _philly_row, "job"))


def _philly_row(record: Mapping[str, object]) -> Row | None:
    attempts = record["attempts"]
    if not isinstance(attempts, list):
        raise TypeError(f"attempts: expected a list, got {type(attempts).__name__}")
    seconds, gpus = 0.0, 0
    for attempt in attempts:
        if attempt.get("start_time") and attempt.get("end_time"):
            seconds += _clock(attempt["end_time"]) - _clock(attempt["start_time"])
            gpus = max(gpus, sum(len(machine["gpus"]) for machine in attempt["detail"]))
    return Row(str(record["jobid"]), _clock(str(record["submitted_time"])), seconds, gpus)


def read_helios(path: Path) -> list[Row]:
    """cluster_log.csv: job_id, gpu_num, submit_time and duration among its columns."""
    return _read_csv(path, ("job_id", "gpu_num", "submit_time", "duration"), _helios_row)


def _helios_row(record: Mapping[str, str]) -> Row | None:
    return Row(record["job_id"], _clock(record["submit_time"]), float(record["duration"]), float(record["gpu_num"]))


def read_pai(path: Path) -> list[Row]:
    """pai_task_table.csv: job_name, inst_num, start_time, end_time, plan_gpu (percent of a GPU an instance)."""
    return _read_csv(path, ("job_name", "inst_num", "start_time", "end_time", "plan_gpu"), _pai_row)


def _pai_row(record: Mapping[str, str]) -> Row | None:
    if not record["start_time"] or not record["end_time"] or not record["plan_gpu"]:
        return None  # never ran, or asked for no GPU
    start, end = float(record["start_time"]), float(record["end_time"])
    gpus = float(record["plan_gpu"]) / 100 * float(record["inst_num"] or 1)
    return Row(record["job_name"], start, end - start, gpus)


def _read_csv(path: Path, needed: Iterable[str], make: Callable[[Mapping[str, str]], Row | None]) -> list[Row]:
    with path.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream, strict=True)
        missing = [name for name in needed if name not in (reader.fieldnames or ())]
        if missing:
            raise TraceError(f"{path}:1: the header lacks {', '.join(missing)}")
        return list(_rows(path, ((reader.line_num, record) for record in reader), make, "line"))


def _rows(
    path: Path, records: Iterable[tuple[int, Any]], make: Callable[[Any], Row | None], word: str
) -> Iterator[Row]:
    """Rows of jobs that ran on GPUs; what cannot be read is an error with its place."""
    number = 1
    try:
        for at, record in records:
            number = at
            row = make(record)
            if row is None:
                continue
            if not all(map(isfinite, (row.submitted_s, row.seconds, row.gpus))):
                raise ValueError("numbers must be finite")
            if row.seconds < 0 or row.gpus < 0:
                raise ValueError(f"seconds and GPUs must not be negative, got {row.seconds:g} and {row.gpus:g}")
            if row.seconds > 0 and row.gpus > 0:
                yield row
    except (KeyError, TypeError, ValueError, AttributeError, csv.Error) as error:
        place = f"{path}:{number}" if word == "line" else f"{path}: {word} {number}"
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise TraceError(f"{place}: {what}") from error


def _clock(text: str) -> float:
    """Seconds of a time as these traces write it, or of a plain number."""
    try:
        return datetime.fromisoformat(text.strip()).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return float(text)


def to_jobs(rows: Iterable[Row], tables: Mapping[str, Table], most_gpus: int) -> list[Job]:
    """Rows as jobs, in order of arrival from time 0; those that ask for more GPUs than there are get most_gpus."""
    ordered = sorted(rows, key=lambda row: row.submitted_s)
    kinds = sorted(tables)
    jobs = []
    for number, row in enumerate(ordered):
        gpus = min(most_gpus, 1 << (ceil(row.gpus) - 1).bit_length())
        kind = kinds[crc32(row.name.encode()) % len(kinds)]
        rate = tables[kind].rate[gpus.bit_length() - 1][-1]
        jobs.append(Job(number, row.submitted_s - ordered[0].submitted_s, row.seconds * rate, kind, gpus))
    return jobs
