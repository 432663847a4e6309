"""What the history of a checkout says; nothing where there is none, or only a part of it."""

import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

_HASH = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Git:
    """The history of one checkout, asked through the `git` command: once for all commits, once for all folders."""

    root: Path

    def has_commit(self, commit: str) -> bool:
        """Whether the commit is one from which today's code came."""
        return commit in self._commits

    @cached_property
    def _commits(self) -> frozenset[str]:
        return frozenset((_ask(self.root, "rev-list", "HEAD") or "").split())

    def trees(self, places: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """The hashes of folders' content at commits, by (commit, folder); those that are not there are left out."""
        wanted = [(commit, folder) for commit, folder in places if _HASH.fullmatch(commit) and "\n" not in folder]
        asked = "".join(f"{commit}:{folder}\n" for commit, folder in wanted)
        answer = _ask(self.root, "cat-file", "--batch-check=%(objectname)", told=asked) if wanted else None
        found = zip(wanted, (answer or "").split("\n"), strict=False)
        return {place: line for place, line in found if _HASH.fullmatch(line)}


def open_git(root: Path) -> Git | None:
    """The history of a checkout, or None without git, outside a checkout, or in a shallow clone."""
    top, _, shallow = (_ask(root, "rev-parse", "--show-toplevel", "--is-shallow-repository") or "").rpartition("\n")
    return Git(root) if shallow == "false" and Path(top).resolve() == root.resolve() else None


def _ask(root: Path, *words: str, told: str = "") -> str | None:
    """What git answers; None where it fails or is not here."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *words], input=told, capture_output=True, encoding="utf-8", check=False
        )
    except (OSError, UnicodeError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
