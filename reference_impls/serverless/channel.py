"""Lines of JSON over a socket pair between a platform and its instances; a helper of `runner` and `worker`."""

import json
import socket
from typing import Any


class ClosedError(Exception):
    """The other side is gone."""


class Channel:
    """One end of the pair."""

    def __init__(self, end: socket.socket) -> None:
        self.end, self.buffer = end, b""

    def send(self, message: dict[str, Any]) -> None:
        """One line."""
        try:
            self.end.sendall(json.dumps(message).encode() + b"\n")
        except OSError as error:
            raise ClosedError(str(error)) from error

    def receive(self, timeout_s: float | None = None) -> dict[str, Any]:
        """The next line. Raises TimeoutError, or ClosedError where none will come."""
        self.end.settimeout(timeout_s)
        while b"\n" not in self.buffer:
            try:
                part = self.end.recv(1 << 16)
            except TimeoutError:
                raise
            except OSError as error:
                raise ClosedError(str(error)) from error
            if not part:
                raise ClosedError("the other side has closed")
            self.buffer += part
        line, self.buffer = self.buffer.split(b"\n", 1)
        message: dict[str, Any] = json.loads(line)
        return message

    def close(self) -> None:
        """Tell the other side that nothing more will come."""
        self.end.close()
