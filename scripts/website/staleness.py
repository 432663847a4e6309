"""Whether a recorded run still speaks of today's code: git is asked what changed since its commit."""

import subprocess
from functools import lru_cache
from pathlib import Path

from scripts.catalogue.model import Run

SHARED = ("models",)
"""Families whose code the others run."""

NAMED = 3


def stale(root: Path, run: Run) -> str | None:
    """What changed in the code since it was measured, in words; None where nothing did.

    The code measured is the family's folder and the models it runs, without `bench.py`, whose new cases change no old
    result, and without new files, which only a changed one can call. Without git, or without the commit (a shallow
    clone), the answer is that it is not known.
    """
    return _changed(root, run.suite, run.code.commit)


def forget() -> None:
    """Ask git anew: for a build after another one in the same process."""
    _changed.cache_clear()


@lru_cache(maxsize=256)
def _changed(root: Path, suite: str, commit: str) -> str | None:
    folders = [f"reference_impls/{name}" for name in dict.fromkeys((suite, *SHARED))]
    excluded = [f":(exclude)reference_impls/{suite}/bench*.py", ":(exclude)*.md"]
    # Renames off: a renamed file is one deleted and one added.
    command = ["git", "diff", "--name-only", "--no-renames", "--diff-filter=a", commit, "--", *folders, *excluded]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    except OSError:
        return "not known: git is not here to tell what changed"
    if done.returncode:
        return f"not known: commit {commit[:12]} is not in this copy"
    files = done.stdout.split()
    if not files:
        return None
    names = ", ".join(file.removeprefix("reference_impls/") for file in files[:NAMED])
    more = f" and {len(files) - NAMED} more" if len(files) > NAMED else ""
    return f"older than the code: {names}{more} changed since"
