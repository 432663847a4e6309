"""Nothing of a request may stay behind: secrets and inputs in logs, temporary files, state of a warm instance.

Paper: arXiv 2207.13263 ("Software Engineering for Serverless Computing" names data security; the checks are ours).
Idea: look for what must not be there. Secrets have shapes; the words of an input are known; a canary, a word that
    occurs in one request alone, shows in a later answer or in the memory of the instance if anything was kept.
Symbols: nothing beyond the functions' arguments.
Simplified: texts only: a word inside a tensor of token ids is not recognised, nor one that was encoded or cut up.
Differs: the paper describes no mechanism.
Cost: one pass over the logs; one walk over what the handler and its module can reach.
Checked against: planted secrets of each shape and harmless neighbours of theirs; a planted global cache, and none.
"""

import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Final

SHAPES: Final = {
    "private key": re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"),
    "access key id": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "token": re.compile(r"\b(?:ghp|gho|ghs|github_pat|hf|sk)_[A-Za-z0-9_]{20,}\b"),
    "bearer header": re.compile(r"\b[Bb]earer\s+[A-Za-z0-9._~+/-]{20,}=*"),
    "password in an address": re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s/:@]+:[^\s/:@]+@"),
    "assignment": re.compile(r"(?i)\b(?:api[_-]?key|secret|passw(?:or)?d|token)\s*[=:]\s*['\"]?[^\s'\"]{12,}"),
}
WORDS: Final = 4
"""Words in a row of an input that count as a copy of it."""


@dataclass(frozen=True)
class Find:
    """What was found and where; never the secret itself."""

    what: str
    place: str
    line: int


def scan(text: str, place: str = "log", inputs: Iterable[str] = ()) -> list[Find]:
    """Secrets by their shape, and runs of WORDS words that come from an input."""
    runs = {run for one in inputs for run in _runs(one)}
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        found += [Find(name, place, number) for name, shape in SHAPES.items() if shape.search(line)]
        if runs.intersection(_runs(line)):
            found.append(Find("input text", place, number))
    return found


def _runs(text: str) -> Iterator[tuple[str, ...]]:
    words = re.findall(r"\w+", text.casefold())
    return (tuple(words[start : start + WORDS]) for start in range(len(words) - WORDS + 1))


def scan_folder(folder: Path, inputs: Iterable[str] = ()) -> list[Find]:
    """Every file below, read as text whatever it holds: artifacts carry strings too."""
    known = list(inputs)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return [
        find
        for path in files
        for find in scan(path.read_bytes().decode("utf-8", "replace"), str(path.relative_to(folder)), known)
    ]


@contextmanager
def nothing_left(folder: Path) -> Iterator[None]:
    """What is written under the folder in the block must be gone after it. Raises LeftBehindError with the names."""
    before = set(folder.rglob("*"))
    yield
    left = sorted(str(path.relative_to(folder)) for path in set(folder.rglob("*")) - before)
    if left:
        raise LeftBehindError(f"left in {folder}: {', '.join(left)}")


class LeftBehindError(Exception):
    """Files of an invocation outlived it."""


def holds(root: object, needle: str, limit: int = 200_000) -> bool:
    """Whether a text with the needle can be reached from here through containers, attributes and closures."""
    seen: set[int] = set()
    queue = [root]
    while queue and len(seen) < limit:
        one = queue.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, str):
            if needle in one:
                return True
        elif isinstance(one, bytes | bytearray):
            if needle.encode() in one:
                return True
        else:
            queue += _reachable(one)
    return False


def _reachable(one: object) -> list[Any]:
    if isinstance(one, Mapping):
        return [*one.keys(), *one.values()]
    if isinstance(one, list | tuple | set | frozenset):
        return list(one)
    if isinstance(one, ModuleType):
        return [value for value in vars(one).values() if not isinstance(value, ModuleType)]
    if isinstance(one, FunctionType):
        return [cell.cell_contents for cell in one.__closure__ or () if cell is not None] + list(one.__defaults__ or ())
    return [*vars(one).values()] if hasattr(one, "__dict__") else []


@dataclass(frozen=True)
class Leak:
    """What of one request was seen in the answer to a later one (`answers`) or in the instance (`memory`)."""

    answers: int
    memory: int
    rounds: int

    @property
    def found(self) -> bool:
        """Whether anything was."""
        return bool(self.answers or self.memory)


def canary_test(
    ask: Callable[[str], str],
    remembers: Callable[[str], bool] = lambda _canary: False,
    rounds: int = 3,
    neutral: str = "an ordinary request",
) -> Leak:
    """Ask a warm instance with a new canary, then without, and look for the canary.

    ask: text of a request -> text of the answer; remembers: canary -> whether the instance's memory holds it.
    """
    answers = memory = 0
    for _ in range(rounds):
        canary = f"canary{secrets.token_hex(8)}"
        ask(f"{neutral} {canary}")
        answers += canary in ask(neutral)
        memory += remembers(canary)
    return Leak(answers, memory, rounds)
