"""How fast the site builds and how large it gets, beside plain mkdocs-material on the same entries in the same run.

Processor seconds (user and system, of the command and its children), medians of rounds in which everything that is
compared takes its turn, so that another load on the machine meets all alike. The checkouts lie in memory where there
is room: what a disk takes for a file varies tenfold with what was deleted on it before.
"""

import gzip
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import log
from pathlib import Path
from statistics import median

from scripts.catalogue.load import load_catalogue
from scripts.website.generated import copy_checkout, make_checkout
from scripts.website.plain import write_plain_site

REAL = "real"
"""In the list of sizes: the checkout itself, copied."""

MEMORY = Path("/dev/shm")  # noqa: S108 a folder of our own is made in it
ROOM = 4_000_000_000
PLAIN_LIMIT = 3_000
"""Above this plain Material takes minutes; `full` measures it all the same."""

Say = Callable[[str], None]


@dataclass
class Size:
    """What was measured on a site of so many entries; `samples` are one value a round, by name of the measure."""

    label: str
    entries: int
    samples: dict[str, list[float]] = field(default_factory=dict)
    facts: dict[str, float] = field(default_factory=dict)

    def add(self, values: Mapping[str, float]) -> None:
        """The values of one more round."""
        for name, value in values.items():
            self.samples.setdefault(name, []).append(value)

    @property
    def values(self) -> dict[str, float]:
        """Medians of the rounds, and what every round finds the same."""
        return {name: median(samples) for name, samples in self.samples.items()} | self.facts


def measure(root: Path, sizes: list[str], rounds: int, *, plain: bool, full: bool, say: Say) -> list[Size]:
    """Measure sites of several sizes: numbers of generated entries, or "real"."""
    with _scratch() as folder:
        found, checkouts, configurations = [], {}, {}
        for label in sizes:
            say(f"making {label} entries")
            checkout = checkouts[label] = folder / label
            keys = copy_checkout(root, checkout) if label == REAL else make_checkout(root, checkout, int(label))
            found.append(Size(label, len(keys)))
            if plain and (full or len(keys) <= PLAIN_LIMIT):
                configurations[label] = write_plain_site(load_catalogue(checkout), folder / f"plain-{label}")
        for number in range(rounds):
            for size in found:
                say(f"round {number + 1} of {rounds}: {size.entries:,} entries")
                size.add(_measure_ours(checkouts[size.label], size))
                size.add(_measure_plain(configurations.get(size.label, {})))
        return found


def exponent(small: Size, large: Size, name: str) -> float:
    """How a measure grows with the entries: 1 is in proportion."""
    return log(large.values[name] / small.values[name]) / log(large.entries / small.entries)


@contextmanager
def _scratch() -> Iterator[Path]:
    roomy = MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM
    with tempfile.TemporaryDirectory(prefix="site-speed-", dir=MEMORY if roomy else None) as folder:
        yield Path(folder)


def _measure_ours(checkout: Path, size: Size) -> dict[str, float]:
    """One round: cold, then with one entry edited, without and with the search index; then the check alone."""
    for name in ("build", "public"):
        shutil.rmtree(checkout / name, ignore_errors=True)
    cold, wall, steps = timed_build(checkout, "--no-search")
    size.facts |= measure_pages(checkout / "public")
    _edit_one_entry(checkout)
    edited, _, _ = timed_build(checkout, "--no-search")
    _edit_one_entry(checkout)
    edited_searchable, _, searchable = timed_build(checkout)
    return {
        "cold_s": cold,
        "cold_wall_s": wall,
        "page_ms": 1000 * steps["stamp the papers"] / size.entries,
        "search_ms": 1000 * searchable["index for the search"] / size.entries,
        "edited_s": edited,
        "edited_with_search_s": edited_searchable,
        "check_cold_s": _run(checkout, "-m", "scripts", "check", "--no-cache", "--root", str(checkout))[0],
        "check_warm_s": _run(checkout, "-m", "scripts", "check", "--root", str(checkout))[0],
    }


def measure_pages(public: Path) -> dict[str, float]:
    """Bytes of the whole site, and of the largest and the median entry page, raw and compressed."""
    pages = [path.read_bytes() for path in public.glob("papers/*/index.html")]
    raw = [len(page) for page in pages]
    compressed = [len(gzip.compress(page)) for page in pages]
    return {
        "bytes": sum(path.stat().st_size for path in public.rglob("*") if path.is_file()),
        "page_bytes_median": median(raw),
        "page_bytes_max": max(raw),
        "page_gzip_median": median(compressed),
        "page_gzip_max": max(compressed),
    }


def _measure_plain(configurations: dict[str, Path]) -> dict[str, float]:
    costs = {}
    for name, file in configurations.items():
        shutil.rmtree(file.parent / f"site-{name}", ignore_errors=True)
        costs[f"material_{name}_s"] = _run(file.parent, "-m", "mkdocs", "build", "--quiet", "-f", str(file))[0]
    return costs


def timed_build(checkout: Path, *options: str) -> tuple[float, float, dict[str, float]]:
    """Build; -> processor seconds, wall seconds, processor seconds by step."""
    cpu, wall, output = _run(checkout, "-m", "scripts", "build", "--json", "--root", str(checkout), *options)
    return cpu, wall, json.loads(output)["cpu_seconds"]


def _edit_one_entry(checkout: Path) -> None:
    """Put a note into the first entry that has none, or take it out again."""
    note = "\nnote: Edited to see what that costs.\n"
    for file in sorted((checkout / "entries").glob("*/*.yaml")):
        text = file.read_text("utf-8")
        if note in text:
            file.write_text(text.replace(note, "\n", 1), "utf-8")
            return
        if "\nnote:" not in text:
            file.write_text(text.replace("\nyear:", f"{note}year:", 1), "utf-8")
            return


def _run(folder: Path, *arguments: str) -> tuple[float, float, str]:
    """Run Python in a process of its own; -> processor seconds with its children's, wall seconds, output."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    here = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(here)},
        capture_output=True,
        text=True,
        check=False,
    )
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall, done.stdout
