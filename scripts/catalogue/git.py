"""What the history of a checkout says; nothing where there is none, or only a part of it."""

import re
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Git:
    """The history of one checkout, asked through the `git` command."""

    root: Path

    def has_commit(self, commit: str) -> bool:
        """Whether the commit is one from which today's code came."""
        return bool(_COMMIT.fullmatch(commit)) and _is_ancestor(self.root, commit)

    def tree(self, commit: str, folder: str) -> str | None:
        """The hash of a folder's content at a commit; None where it is not there."""
        return _ask(self.root, "rev-parse", "--verify", "--quiet", f"{commit}:{folder}")


def open_git(root: Path) -> Git | None:
    """The history of a checkout, or None without git, outside a checkout, or in a shallow clone."""
    top = _ask(root, "rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != root.resolve():
        return None
    return Git(root) if _ask(root, "rev-parse", "--is-shallow-repository") == "false" else None


@cache
def _is_ancestor(root: Path, commit: str) -> bool:
    return _ask(root, "merge-base", "--is-ancestor", commit, "HEAD") is not None


def _ask(root: Path, *words: str) -> str | None:
    """What git answers; None where it fails or is not here."""
    try:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
