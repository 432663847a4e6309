"""A folder brought up to date: what holds the wanted text already is left alone, the rest is written or removed.

Most of a rebuild changes nothing. Reading a file costs a fifth of writing it, and deleting thousands of files only to
make them again is what file systems do worst.
"""

import os
import shutil
from collections.abc import Container
from contextlib import suppress
from pathlib import Path, PurePosixPath


class Output:
    """Files below one folder, by their paths from it: "papers/lora/index.html"."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: set[str] = set()
        """What has been written so far."""
        self._base = f"{folder}{os.sep}"
        self._old = set(_files_below(folder))
        self._folders: set[str] = set()

    def write(self, path: str, content: str | bytes) -> None:
        """Make the file hold the content."""
        data = content.encode() if isinstance(content, str) else content
        self.files.add(path)
        name = self._base + path  # a Path for each of 40,000 files would take longer than reading it
        if path in self._old:
            with open(name, "rb") as stream:  # noqa: PTH123
                if stream.read() == data:
                    return
        else:
            self._make_room(path)
        with open(name, "wb") as stream:  # noqa: PTH123
            stream.write(data)

    def copy(self, source: Path, path: str) -> None:
        """Make the file hold what another holds."""
        self.write(path, source.read_bytes())

    def copy_tree(self, source: Path, prefix: str = "", skip: Container[str] = ()) -> None:
        """Copy every file below a folder, but for those to skip and those that have been written."""
        for path in _files_below(source):
            if prefix + path not in self.files and path not in skip:
                self.copy(source / path, prefix + path)

    def prune(self) -> None:
        """Remove what was there before and has not been written, and the folders that this empties."""
        for path in self._old - self.files:
            (self.folder / path).unlink(missing_ok=True)
            with suppress(OSError):  # not empty
                for folder in PurePosixPath(path).parents[:-1]:
                    (self.folder / folder).rmdir()
        self._old = set(self.files)

    def _make_room(self, path: str) -> None:
        """Make the folder of a new file; an old file may stand where it must be, or a folder where the file must be."""
        parent = path.rpartition("/")[0]
        if parent not in self._folders:
            for above in [path[:at] for at, letter in enumerate(path) if letter == "/" and path[:at] in self._old]:
                (self.folder / above).unlink()
                self._old.discard(above)
            os.makedirs(self._base + parent, exist_ok=True)  # noqa: PTH103
            self._folders.add(parent)
        if self._old and (self.folder / path).is_dir():
            shutil.rmtree(self.folder / path)
            self._old -= {old for old in self._old if old.startswith(f"{path}/")}


def _files_below(folder: Path) -> list[str]:
    """Paths of all files below a folder from it, with "/", sorted."""
    start = len(str(folder)) + 1
    found = (os.path.join(at, name)[start:] for at, _, names in os.walk(folder) for name in names)  # noqa: PTH118
    return sorted(path.replace(os.sep, "/") for path in found)
