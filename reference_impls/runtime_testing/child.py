"""A program in a process of its own that answers line by line, so that its hang or crash is nobody else's."""

import os
import selectors
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Limits:
    """What one answer may take, and how much memory the process may write to (ulimit -d)."""

    seconds: float = 20.0
    memory_mib: int = 1536

    def __post_init__(self) -> None:
        if self.seconds <= 0 or self.memory_mib < 1:
            raise ValueError(f"limits must be above 0, got {self.seconds} s and {self.memory_mib} MiB")


class EndedError(Exception):
    """No answer: the process crashed, or its time was up."""

    def __init__(self, how: Literal["crash", "timeout"], code: int | None = None) -> None:
        super().__init__(how)
        self.how: Literal["crash", "timeout"] = how
        self.code = code


class Child:
    """Started when it is first asked, and again after it ended."""

    def __init__(self, command: Sequence[str], limits: Limits, environment: Mapping[str, str] | None = None) -> None:
        self.command, self.limits, self.environment = tuple(command), limits, environment or {}
        self.process: subprocess.Popen[bytes] | None = None
        self.waiting = b""

    def ask(self, line: str, seconds: float | None = None) -> str:
        """-> the answer, a line. Raises EndedError; the next question starts a new process."""
        if self.process is None:
            self._start()
        process = self.process
        assert process and process.stdin
        try:
            process.stdin.write(line.encode() + b"\n")
            process.stdin.flush()
            return self._read(time.monotonic() + (seconds or self.limits.seconds))
        except BrokenPipeError:
            raise EndedError("crash", self.close()) from None

    def _start(self) -> None:
        limited = f'ulimit -d {self.limits.memory_mib * 1024}; ulimit -c 0; exec "$@"'
        self.process = subprocess.Popen(
            ["sh", "-c", limited, "sh", *self.command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **self.environment},
        )
        self.waiting = b""

    def _read(self, deadline: float) -> str:
        process = self.process
        assert process and process.stdout
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while b"\n" not in self.waiting:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    self.close()
                    raise EndedError("timeout")
                read = os.read(process.stdout.fileno(), 1 << 16)
                if not read:
                    raise EndedError("crash", self.close())
                self.waiting += read
        line, _, self.waiting = self.waiting.partition(b"\n")
        return line.decode()

    def close(self) -> int | None:
        """End the process, whatever it is doing. -> its exit code"""
        if self.process is None:
            return None
        process, self.process = self.process, None
        if process.poll() is None:
            try:
                process.wait(0.05)
            except subprocess.TimeoutExpired:
                process.kill()
        code = process.wait()
        for stream in (process.stdin, process.stdout):
            if stream and not stream.closed:
                try:
                    stream.close()
                except BrokenPipeError:
                    continue
        return code
