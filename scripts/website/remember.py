"""What earlier builds worked out, kept in build/cache/: values of pure functions, by the hash of their argument.

A memory is valid for the code that made it, and holds what the last build asked for. One that is lost, damaged or of
other code costs time and nothing else: everything in it is made anew.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from scripts.catalogue.files import write_atomically

DIGEST = 16
"""Bytes of a hash."""


class Memory:
    """Values that JSON can hold, by hash. sources: the code they depend on; settings: what else they all do."""

    def __init__(self, name: str, sources: Iterable[Path], settings: str = "") -> None:
        self.name, self.sources, self.settings = name, tuple(sources), settings
        self.known: dict[str, Any] = {}
        """What an earlier build made."""
        self.asked: dict[str, Any] = {}
        """What this process asked for."""

    def get(self, argument: bytes, make: Callable[[], Any]) -> Any:
        """The value for an argument; made where no build has made it before. Nobody may change it."""
        key = _hash(argument)
        if key not in self.asked:
            self.asked[key] = self.known[key] if key in self.known else make()
        return self.asked[key]

    @cached_property
    def _code(self) -> str:
        """Read once: a process that builds again and again goes on with the code it began with."""
        code = "".join(_hash(path.read_bytes()) for path in self.sources)
        return _hash(f"{code} {self.settings} {sys.version}".encode())

    @contextmanager
    def kept_in(self, folder: Path) -> Iterator[None]:
        """Begin with what an earlier build made by the same code, and leave what this one asked for to the next."""
        file = folder / f"{self.name}.json"
        self.known = {}
        with suppress(OSError, ValueError):  # none yet, or not readable
            first, _, rest = file.read_bytes().partition(b"\n")
            if first.decode() == f"{self._code} {_hash(rest)}":
                self.known = json.loads(rest)
        yield
        if self.asked.keys() != self.known.keys():
            content = json.dumps(self.asked, separators=(",", ":")).encode()
            with suppress(OSError):  # a checkout that cannot be written to makes them each time
                write_atomically(file, f"{self._code} {_hash(content)}\n".encode() + content)


@contextmanager
def remembering(folder: Path, *memories: Memory) -> Iterator[None]:
    """Keep several memories in one folder."""
    with ExitStack() as stack:
        for memory in memories:
            stack.enter_context(memory.kept_in(folder))
        yield


def _hash(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=DIGEST).hexdigest()
