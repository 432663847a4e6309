"""One function behind three doors: a command line, HTTP on this machine, and a batch of lines.

Paper: arXiv 2207.13263 ("Software Engineering for Serverless Computing" names migration between platforms; the adapters
    are ours).
Idea: all that differs between platforms is how an event comes in and an answer goes out. One function in the middle
    maps bytes to a status and bytes; an adapter only carries them.
Symbols: nothing beyond the functions' arguments.
Simplified: no streaming, no authentication; HTTP serves one request at a time, on the loopback address.
Differs: the paper describes no mechanism.
Cost: nothing worth naming beside the function.
Checked against: the same events through all three, good and bad: the same bytes and the same errors.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, Final, TextIO

from reference_impls.serverless import Event, EventError

Function = Callable[[Event], Any]
OK, REFUSED, FAILED = 200, 400, 500
EXIT_CODES: Final = {OK: 0, REFUSED: 2, FAILED: 1}
LARGEST: Final = 6 << 20
"""Bytes of an event; larger ones are refused, as platforms do."""


def respond(function: Function, body: bytes) -> tuple[int, bytes]:
    """The one place where an event is read, the function called and its answer or error written.

    A caller's mistake is told in full; of a mistake in the function only its type, for its message may hold anything.
    """
    try:
        answer = {"result": function(_event(body))}
        return OK, _json(answer)
    except EventError as error:
        return REFUSED, _json({"error": "EventError", "message": str(error)})
    except Exception as error:  # noqa: BLE001 no mistake of a function may end the instance
        return FAILED, _json({"error": type(error).__name__})


def _event(body: bytes) -> Event:
    if len(body) > LARGEST:
        raise EventError(f"an event has at most {LARGEST} bytes, this one {len(body)}")
    try:
        event = json.loads(body)
    except ValueError as error:
        raise EventError("the event is not JSON") from error
    if not isinstance(event, dict):
        raise EventError(f"expected a JSON object, got {type(event).__name__}")
    return event


def _json(answer: object) -> bytes:
    return json.dumps(answer, sort_keys=True, ensure_ascii=False).encode()


def command_line(function: Function, source: TextIO, target: TextIO) -> int:
    """One event from the input, its answer to the output. -> the exit code"""
    status, answer = respond(function, source.read().encode())
    target.write(answer.decode() + "\n")
    return EXIT_CODES[status]


def batch(function: Function, lines: Iterable[str]) -> Iterator[str]:
    """An answer for each line, in order; a bad line costs only its own answer."""
    return (respond(function, line.rstrip("\n").encode())[1].decode() + "\n" for line in lines)


def http_server(function: Function, port: int = 0) -> HTTPServer:
    """A server on 127.0.0.1 that answers POST; port 0 takes a free one. Call `serve_forever` and `shutdown`."""

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            if not length.isdecimal() or int(length) > LARGEST:
                self._answer(REFUSED, _json({"error": "EventError", "message": f"0 to {LARGEST} bytes, please"}))
                return
            self._answer(*respond(function, self.rfile.read(int(length))))

        def _answer(self, status: int, answer: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the base class names it
            """Says nothing: request lines carry inputs."""

    return HTTPServer(("127.0.0.1", port), Door)
