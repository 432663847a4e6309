"""A fork server: one process that has imported everything, and forks an instance whenever one is wanted.

Paper: arXiv 2207.13263 (cold starts as a direction; the fork server is known from Android's zygote).
Idea: imports are the same for every instance, so do them once; a fork shares their memory until somebody writes to it.
Symbols: nothing beyond the functions' arguments.
Simplified: one zygote for one handler, without weights: those are mapped by each instance, and shared as pages too.
Differs: nothing to differ from; the memory that the zygote holds while nobody asks belongs to the account of its user.
Cost: the memory of the imports, once; a fork copies page tables only.
Checked against: the same answers as a new interpreter's; imports that happen once; the end of every child.
"""

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

from reference_impls.serverless import load_handler
from reference_impls.serverless.channel import Channel
from reference_impls.serverless.runner import GRACE_S, ROOT, Kill
from reference_impls.serverless.worker import serve


class ForkServer:
    """Used in a `with`; `launch` is what `runner.Instance` takes."""

    def __init__(self, handler: str) -> None:
        ours, theirs = socket.socketpair()
        self.end = ours
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        command = [sys.executable, "-m", "reference_impls.serverless.fork_server", str(theirs.fileno()), handler]
        self.process = subprocess.Popen(command, env=environment, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        theirs.close()
        if self.end.recv(1) != b"+":
            raise RuntimeError(f"the fork server for {handler} did not start")

    def launch(self, theirs: socket.socket) -> tuple[Callable[[], object], Kill]:
        """Hand the instance's end of the channel to the zygote, which forks; a pipe tells when the child is gone."""
        read, write = os.pipe()
        socket.send_fds(self.end, [b"f"], [theirs.fileno(), write])
        os.close(write)
        pid = int.from_bytes(self.end.recv(8), "little")

        def kill() -> None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

        def wait() -> None:
            _wait_for_end(read, kill)

        return wait, Kill(kill, pid)

    def __enter__(self) -> "ForkServer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end.close()
        self.process.wait(GRACE_S)


def _wait_for_end(pipe: int, kill: Callable[[], None]) -> None:
    """The pipe closes with the last process that holds its other end."""
    if not select.select([pipe], [], [], GRACE_S)[0]:
        kill()
        select.select([pipe], [], [], GRACE_S)
    os.close(pipe)


def zygote(end: socket.socket, handler: str) -> None:
    """Import, say so, and fork at every request until the platform closes."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries children
    load_handler(handler).imports()
    end.sendall(b"+")
    while True:
        message, fds, _, _ = socket.recv_fds(end, 1, 2)
        if not message:
            return
        pid = os.fork()
        if pid == 0:
            end.close()
            serve(Channel(socket.socket(fileno=fds[0])))
            os._exit(0)
        for fd in fds:
            os.close(fd)
        end.sendall(pid.to_bytes(8, "little"))


if __name__ == "__main__":
    zygote(socket.socket(fileno=int(sys.argv[1])), sys.argv[2])
