"""A share of one core for a process, by stopping and continuing it.

Paper: arXiv 2207.13263 (the setting; the quota that grows with memory is what public platforms document).
Idea: in each period the process runs for share * period and is stopped for the rest, as a kernel's quota does it.
Symbols: share = allowed part of one core, 0 to 1.
Simplified: SIGSTOP and SIGCONT from a thread of the platform, since control groups need rights that tests have not;
    time is that of the wall, so a process that waits for something else loses its turn.
Differs: kernels count the processor time of all threads; this bounds one thread, and several by as many times as much.
Cost: two signals a period.
Checked against: processor time over wall time of a process that never waits.
"""

import os
import signal
import threading
import time
from types import TracebackType

PERIOD_S = 0.02
"""Short against an invocation, long against the time that a signal takes."""


class DutyCycle:
    """While entered, the process has its share; afterwards it runs freely. `set` changes the share."""

    def __init__(self, pid: int, share: float, period_s: float = PERIOD_S) -> None:
        self.pid, self.period_s = pid, period_s
        self.set(share)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def set(self, share: float) -> None:
        """From the next period on."""
        if not 0 < share <= 1:
            raise ValueError(f"share must be above 0 and at most 1, got {share}")
        self.share = share

    def _run(self) -> None:
        while not self._over.is_set():
            share, started = self.share, time.perf_counter()
            self._over.wait(share * self.period_s)
            if share < 1 and not self._over.is_set():
                self._signal(signal.SIGSTOP)
                ran = time.perf_counter() - started  # a timer that woke late let it run longer: it rests longer
                self._over.wait(ran * (1 - share) / share)
                self._signal(signal.SIGCONT)

    def _signal(self, which: signal.Signals) -> None:
        try:
            os.kill(self.pid, which)
        except ProcessLookupError:
            self._over.set()

    def __enter__(self) -> "DutyCycle":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self._signal(signal.SIGCONT)
