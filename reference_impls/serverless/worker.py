"""An instance: takes its limits, imports, loads, answers; and tells how long each step took. A helper of `runner`.

Started as `python -m reference_impls.serverless.worker FD`, or forked by `fork_server`. It reads the clock because its
phases cannot be seen from outside.
"""

import resource
import socket
import sys
import time
from typing import Any

from reference_impls.serverless import EventError, Handler, load_handler
from reference_impls.serverless.channel import Channel, ClosedError


def limit_memory(memory_mb: int | None) -> None:
    """Address space, which counts mapped files and libraries too: stricter than what a container's limit counts."""
    if memory_mb is not None:
        resource.setrlimit(resource.RLIMIT_AS, (memory_mb << 20, memory_mb << 20))


def peak_memory_mb() -> float:
    """The most address space that was taken, from /proc; 0 where there is none."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:  # noqa: PTH123 before anything is imported
            return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmPeak"))
    except OSError:
        return 0.0


def serve(channel: Channel) -> None:
    """From the first message, which says what to run, until the channel closes."""
    channel.send({"phase": "started"})
    asked = channel.receive()
    try:
        limit_memory(asked["memory_mb"])
        handler = _prepare(channel, asked)
    except (Exception, MemoryError) as error:  # noqa: BLE001 whatever fails, the platform must hear of it
        channel.send({"phase": "failed", "error": type(error).__name__, "message": str(error)[:300]})
        return
    while True:
        try:
            message = channel.receive()
        except ClosedError:
            return
        channel.send(_probe(handler, message["probe"]) if "probe" in message else _answer(handler, message["event"]))


def _prepare(channel: Channel, asked: dict[str, Any]) -> Handler:
    start = time.perf_counter()
    handler = load_handler(asked["handler"])
    handler.imports()
    imported = time.perf_counter()
    handler.load(asked["model"], asked["options"])
    loaded = time.perf_counter()
    channel.send({"phase": "ready", "imports_s": imported - start, "load_s": loaded - imported})
    return handler


def _answer(handler: Handler, event: dict[str, Any]) -> dict[str, Any]:
    start = time.perf_counter()
    try:
        parts, first = [], start
        for part in handler.invoke(event):
            parts.append(part)
            first = time.perf_counter() if len(parts) == 1 else first
    except EventError as error:
        return {"error": "EventError", "message": str(error)}
    except (Exception, MemoryError) as error:  # noqa: BLE001 an instance outlives a mistake of its function
        return {"error": type(error).__name__}
    end = time.perf_counter()
    return {"result": parts, "first_s": first - start, "later_s": end - first, "peak_memory_mb": peak_memory_mb()}


def _probe(handler: Handler, needle: str) -> dict[str, Any]:
    from reference_impls.serverless.data_security import holds

    return {"holds": holds([handler, sys.modules[type(handler).__module__]], needle)}


if __name__ == "__main__":
    serve(Channel(socket.socket(fileno=int(sys.argv[1]))))
