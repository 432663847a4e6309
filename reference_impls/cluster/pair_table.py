"""The pair table: for every service, best-effort job and share, how slow the one gets and how much the other gets done.

It comes from a model (contention.py) or from a recorded run of the bench (`read_run`); what uses it cannot tell which.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
PREFIX = "cluster/pair-table/"
SLOWDOWN, THROUGHPUT = "online_slowdown", "offline_throughput"


@dataclass(frozen=True)
class PairTable:
    """slowdown, throughput: (online, offline, shares). shares: percent, rising; source: where the numbers are from."""

    online: tuple[str, ...]
    offline: tuple[str, ...]
    shares: tuple[int, ...]
    slowdown: Array
    throughput: Array
    source: str

    def __post_init__(self) -> None:
        shape = (len(self.online), len(self.offline), len(self.shares))
        if self.slowdown.shape != shape or self.throughput.shape != shape:
            raise ValueError(f"expected tables of shape {shape}, got {self.slowdown.shape} and {self.throughput.shape}")
        if list(self.shares) != sorted(set(self.shares)):
            raise ValueError(f"shares must rise, got {self.shares}")

    def at(self, online: str, offline: str, share: float) -> tuple[float, float]:
        """Slowdown and throughput at a share in percent, read between the measured ones; nothing runs at no share."""
        row, column = self.online.index(online), self.offline.index(offline)
        shares = [0, *self.shares]
        slow = np.interp(share, shares, [1.0, *self.slowdown[row, column]])
        return float(slow), float(np.interp(share, shares, [0.0, *self.throughput[row, column]]))

    def largest_share(self, online: str, offline: str, bound: float) -> int:
        """The most of the tabulated shares up to which the slowdown stays within the bound; 0 where none does."""
        row, column = self.online.index(online), self.offline.index(offline)
        most = 0
        for share, slow in zip(self.shares, self.slowdown[row, column], strict=True):
            if slow > bound:
                break
            most = share
        return most


def read_run(path: Path) -> PairTable:
    """The table of a recorded run, results/<machine>/cluster.json: medians over its trials.

    Cases are cluster/pair-table/<online>+<offline>/<metric>, implementations share-<percent>.
    """
    run = json.loads(path.read_text("utf-8"))
    found: dict[tuple[str, str, int, str], float] = {}
    for one in run["measurements"]:
        if one["case"].startswith(PREFIX) and one["implementation"].startswith("share-"):
            pair, metric = one["case"].removeprefix(PREFIX).split("/")
            online, offline = pair.split("+")
            share = int(one["implementation"].removeprefix("share-"))
            found[online, offline, share, metric] = float(np.median(one["samples"]))
    if not found:
        raise ValueError(f"{path}: no measurements of {PREFIX}*; record them with python -m scripts.bench cluster")
    return _table(found, f"{run['machine']['name']}, {run['started']}")


def _table(found: dict[tuple[str, str, int, str], float], source: str) -> PairTable:
    online, offline = tuple(sorted({key[0] for key in found})), tuple(sorted({key[1] for key in found}))
    shares = sorted({key[2] for key in found})
    sides: dict[str, Any] = {}
    for metric in (SLOWDOWN, THROUGHPUT):
        missing = [(o, f, s) for o in online for f in offline for s in shares if (o, f, s, metric) not in found]
        if missing:
            raise ValueError(f"the table lacks {metric} of {missing[0]}")
        sides[metric] = np.array([[[found[o, f, s, metric] for s in shares] for f in offline] for o in online])
    return PairTable(
        online,
        offline,
        tuple(shares),
        sides[SLOWDOWN],
        sides[THROUGHPUT],
        source,
    )
