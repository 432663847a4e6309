"""Whether a recorded run still speaks of today's code: git is asked what changed since its commit."""

import subprocess
from functools import lru_cache
from pathlib import Path

from scripts.catalogue.model import Run

SHARED = ("models",)
"""Families whose code the others run."""


def stale(root: Path, run: Run) -> str | None:
    """What changed in the code since it was measured, in words; None where nothing did.

    The code measured is the family's folder and the models it runs, without `bench.py`, whose new cases change no old
    result. Without git, or without the commit (a shallow clone), the answer is that it is not known.
    """
    return _changed(root, run.suite, run.code.commit)


@lru_cache(maxsize=256)
def _changed(root: Path, suite: str, commit: str) -> str | None:
    folders = [f"reference_impls/{name}" for name in dict.fromkeys((suite, *SHARED))]
    excluded = [f":(exclude)reference_impls/{suite}/bench*.py", ":(exclude)*.md"]
    command = ["git", "diff", "--name-only", commit, "--", *folders, *excluded]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    except OSError:
        return "not known: git is not here to tell what changed"
    if done.returncode:
        return f"not known: commit {commit[:12]} is not in this copy"
    files = done.stdout.split()
    if not files:
        return None
    names = ", ".join(Path(file).stem for file in files[:4])
    more = f" and {len(files) - 4} more" if len(files) > 4 else ""
    return f"older than the code: {names}{more} changed since"
