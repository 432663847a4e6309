"""What the build needs to know beside the catalogue: addresses from mkdocs.yml, commit and dates from git."""

import os
import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from scripts.catalogue.yaml_text import read

COMMIT_MARK = "\x01"


@dataclass(frozen=True)
class Settings:
    """Where the site and its source live, and what state of the source is built."""

    root: Path
    site_url: str
    repo_url: str
    commit: str | None
    generated_at: str
    added: dict[str, str] = field(default_factory=dict)
    """When each entry's file first appeared: file -> ISO date; empty outside git."""

    @property
    def docs(self) -> Path:
        """The generated Markdown, JSON and assets: what the site generator reads."""
        return self.root / "build" / "docs"

    @property
    def public(self) -> Path:
        """The finished site."""
        return self.root / "public"


def read_settings(root: Path) -> Settings:
    """Read mkdocs.yml and ask git. Without git the build still works; the dates are then those of the build."""
    config = read((root / "mkdocs.yml").read_text("utf-8")).data
    head = _git(root, "log", "-1", "--format=%H %cI").split()
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    built = datetime.fromtimestamp(int(epoch), UTC) if epoch else datetime.now(UTC)
    return Settings(
        root=root,
        site_url=config["site_url"],
        repo_url=config["repo_url"].rstrip("/"),
        commit=head[0] if head else None,
        generated_at=head[1] if head else built.isoformat(timespec="seconds"),
        added=_dates_added(root),
    )


def read_site_url(root: Path) -> str:
    """Where the site is served, with a "/" at the end."""
    url: str = read((root / "mkdocs.yml").read_text("utf-8")).data["site_url"]
    return url


def _dates_added(root: Path) -> dict[str, str]:
    """One pass over the history, newest commit first, so that the oldest date of a file is the one kept."""
    which = ("--name-only", "--diff-filter=A", "--no-renames", "--", "entries")
    log = _git(root, "log", f"--format={COMMIT_MARK}%cI", *which)
    added: dict[str, str] = {}
    when = ""
    for line in log.splitlines():
        if line.startswith(COMMIT_MARK):
            when = line[1:]
        elif line:
            added[line] = when
    return added


def _git(root: Path, *arguments: str) -> str:
    """Output of git, or nothing where there is no git, no repository, or the folder is not the repository's own."""
    if not (root / ".git").exists():
        return ""
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout if done.returncode == 0 else ""
