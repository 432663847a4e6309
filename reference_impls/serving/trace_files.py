"""Public traces as requests: ShareGPT conversations, Azure's inference traces, BurstGPT.

Paper: arXiv 2311.18677 (Splitwise, which published Azure's traces); 2401.17644 (BurstGPT).
Idea: three formats, one result; a line that cannot be used is an error that names it.
Symbols: nothing.
Simplified: only arrival times and token counts are kept; ShareGPT has no arrival times, so they are drawn.
Differs: FastServe's preparation of ShareGPT is followed: the first two turns, at most 1,024 tokens in and 2,048 in all.
Cost: the file is read once.
Checked against: small files of each format; every kind of broken line.

Where users get them: Azure's files `AzureLLMInferenceTrace_*.csv` (columns TIMESTAMP, ContextTokens, GeneratedTokens)
are in the repository Azure/AzurePublicDataset; BurstGPT's `BurstGPT_*.csv` (Timestamp, Model, Request tokens, Response
tokens, Total tokens, Log Type) in HPMLL/BurstGPT; ShareGPT's `ShareGPT_V3_unfiltered_cleaned_split.json` is on the hub
of Hugging Face in the dataset anon8231489123/ShareGPT_Vicuna_unfiltered. None is shipped here.
"""

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from reference_impls.serving import Request
from reference_impls.serving.traces import poisson

MOMENT = re.compile(r"(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)?")
"""As in 2023-11-16 18:15:46.6805900 (Azure's trace of 2023) or 2024-05-10 00:00:00.009930+00:00 (that of 2024)."""


class TraceError(ValueError):
    """A trace that cannot be read; the message names file, line and rule."""


@dataclass(frozen=True)
class Config:
    """What is kept of ShareGPT, and the rate at which its requests are made to arrive."""

    max_prompt: int = 1024
    max_total: int = 2048
    rate_per_s: float = 1.0
    seed: int = 0


def load_azure(path: Path) -> list[Request]:
    """Azure LLM inference trace. Times begin at 0 with the first request."""
    wanted = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
    return _from_zero(
        path, [(_moment(row, where), *_counts(row, wanted[1:], where)) for row, where in _rows(path, wanted)]
    )


def load_burstgpt(path: Path) -> list[Request]:
    """BurstGPT: seconds since the trace began. Failed requests, which have no response, are left out."""
    wanted = ("Timestamp", "Request tokens", "Response tokens")
    rows = []
    for row, where in _rows(path, wanted):
        if _number(row["Response tokens"], where, "Response tokens") == 0:
            continue
        rows.append((_number(row["Timestamp"], where, "Timestamp"), *_counts(row, wanted[1:], where)))
    return _from_zero(path, rows)


def load_sharegpt(path: Path, count_tokens: Callable[[str], int], config: Config = Config()) -> list[Request]:
    """ShareGPT: the first question of each conversation and its answer, arriving as a Poisson process.

    count_tokens: of a text, by the tokenizer of the model that will serve it
    """
    found = _conversations(path)
    if not isinstance(found, list):
        raise TraceError(f"{path}:1: expected a list of conversations, got {type(found).__name__}")
    pairs = [pair for number, one in enumerate(found) if (pair := _first_pair(one, f"{path}: conversation {number}"))]
    lengths = [(count_tokens(question), count_tokens(answer)) for question, answer in pairs]
    kept = [(a, b) for a, b in lengths if 1 <= a <= config.max_prompt and b >= 1 and a + b <= config.max_total]
    if not kept:
        raise TraceError(f"{path}: no requests: no conversation has a question and an answer within the limits")
    times = poisson(np.random.default_rng(config.seed), len(kept), config.rate_per_s)
    return [Request(n, float(at), a, b) for n, (at, (a, b)) in enumerate(zip(times, kept, strict=True))]


def _conversations(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8-sig"))
    except json.JSONDecodeError as error:
        raise TraceError(f"{path}:{error.lineno}: not JSON: {error.msg}") from error
    except UnicodeDecodeError as error:
        raise TraceError(f"{path}: not UTF-8: byte {error.start} is {error.object[error.start]:#x}") from error
    except (RecursionError, ValueError) as error:  # nested beyond sense; a number of thousands of digits
        raise TraceError(f"{path}: cannot be read as JSON: {error}") from error


def _first_pair(one: Any, where: str) -> tuple[str, str] | None:
    turns = one.get("conversations") if isinstance(one, Mapping) else None
    if not isinstance(turns, list):
        raise TraceError(f'{where}: expected a mapping with a list "conversations"')
    texts = [turn.get("value") if isinstance(turn, Mapping) else None for turn in turns[:2]]
    words = [text for text in texts if isinstance(text, str)]
    if len(words) < len(texts):
        raise TraceError(f'{where}: each turn needs a text "value"')
    return (words[0], words[1]) if len(words) == 2 else None


def _rows(path: Path, wanted: tuple[str, ...]) -> Iterator[tuple[dict[str, str], str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        try:
            missing = [name for name in wanted if name not in (reader.fieldnames or ())]
            if missing:
                raise TraceError(
                    f"{path}:1: expected the columns {', '.join(wanted)}; there is no {', '.join(missing)}"
                )
            for row in reader:
                where = f"{path}:{reader.line_num}"
                if any(row[name] is None for name in wanted):
                    raise TraceError(f"{where}: the line has too few fields")
                yield row, where
        except UnicodeDecodeError as error:
            raise TraceError(f"{path}:{reader.line_num + 1} or below: not UTF-8: {error.reason}") from error
        except csv.Error as error:
            raise TraceError(f"{path}:{reader.line_num + 1}: cannot be read as CSV: {error}") from error


def _moment(row: Mapping[str, str], where: str) -> float:
    """Seconds since 1970; without a zone they are taken as UTC, so that no hour is lost or doubled in spring."""
    text = row["TIMESTAMP"].strip()
    found = MOMENT.fullmatch(text)
    try:
        whole, fraction, zone = found.groups() if found else ("", "", "")
        moment = datetime.fromisoformat(whole + (zone or "").replace("Z", "+00:00"))
    except ValueError as error:
        raise TraceError(f"{where}: TIMESTAMP: expected a date and time, got {text!r}") from error
    return (moment if zone else moment.replace(tzinfo=UTC)).timestamp() + float(f"0.{fraction or 0}")


def _counts(row: Mapping[str, str], names: tuple[str, ...], where: str) -> tuple[int, int]:
    values = [_number(row[name], where, name) for name in names]
    for name, value in zip(names, values, strict=True):
        if value < 1 or value != int(value):
            raise TraceError(f"{where}: {name}: expected a whole number of at least 1, got {row[name]!r}")
    return int(values[0]), int(values[1])


def _number(text: str, where: str, name: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise TraceError(f"{where}: {name}: expected a number, got {text!r}") from error
    if not 0 <= value < float("inf"):
        raise TraceError(f"{where}: {name}: expected a number of 0 or more, got {text!r}")
    return value


def _from_zero(path: Path, rows: list[tuple[float, int, int]]) -> list[Request]:
    if not rows:
        raise TraceError(f"{path}: no requests")
    ordered = sorted(rows, key=lambda row: row[0])
    first = ordered[0][0]
    return [Request(n, at - first, prompt, output) for n, (at, prompt, output) in enumerate(ordered)]
