"""Tensors of one kind on device, host and disk, and the links over which they come and go.

Each direction has a thread of its own and moves one thing after another. What comes from a disk goes by way of the
host: while one thing is copied to the device, the next is read, and a third is computed with.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch

from reference_impls.kv_cache.offload import Tier
from reference_impls.kv_cache.sealed import MemoryPlace, Parts
from reference_impls.kv_cache.tiers import Buffers, DiskPlace, HostPlace

CPU = torch.device("cpu")


class Transfer:
    """Something on its way. due: when the link is done with it at its rate, known at the end."""

    future: "Future[Parts]"
    due = 0.0

    def result(self) -> Parts:
        """What arrived; waits for it."""
        return self.future.result()


class Link:
    """One direction. bytes_per_s slows it down to a stated rate; None: as fast as it goes. moved: bytes so far."""

    def __init__(self, bytes_per_s: float | None = None) -> None:
        if bytes_per_s is not None and bytes_per_s <= 0:
            raise ValueError(f"bytes_per_s must be above 0, got {bytes_per_s}")
        self.bytes_per_s, self.moved, self._free = bytes_per_s, 0, 0.0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="link")

    def submit(self, nbytes: int, work: Callable[[], Parts], needs: Iterable[Transfer | None] = ()) -> Transfer:
        """Do this behind all that was submitted before, and when what it needs is done."""
        transfer, asked = Transfer(), time.perf_counter()
        known = [one for one in needs if one is not None]
        transfer.future = self._thread.submit(self._run, transfer, asked, nbytes, work, known)
        return transfer

    def _run(self, own: Transfer, asked: float, nbytes: int, work: Callable[[], Parts], needs: list[Transfer]) -> Parts:
        for one in needs:
            one.result()
        done = work()
        self.moved += nbytes
        if self.bytes_per_s is None:
            own.due = time.perf_counter()
            return done
        # From when it could have begun: a thread that woke up late does not make the link slower.
        start = max([self._free, asked, *(one.due for one in needs)])
        own.due = self._free = start + nbytes / self.bytes_per_s
        time.sleep(max(0.0, own.due - time.perf_counter()))
        return done


class Links:
    """The four directions. rates: bytes a second by name, for those that are slowed down."""

    def __init__(self, **rates: float | None) -> None:
        names = ("disk_to_host", "host_to_device", "device_to_host", "host_to_disk")
        if unknown := set(rates) - set(names):
            raise ValueError(f"directions are {', '.join(names)}, got {', '.join(sorted(unknown))}")
        self.by_name = {name: Link(rates.get(name)) for name in names}
        self.disk_to_host, self.host_to_device, self.device_to_host, self.host_to_disk = self.by_name.values()

    @property
    def moved(self) -> dict[str, int]:
        """Bytes of each direction so far."""
        return {name: link.moved for name, link in self.by_name.items()}


class Tiered:
    """Parts by number, each number on its tier. Fetched parts stay as they are until `sets` more were fetched."""

    def __init__(
        self, tiers: Sequence[Tier], links: Links, device: torch.device, sets: int = 2, page_cache: bool = True
    ) -> None:
        self.tiers, self.links = tiers, links
        self.here, self.host = MemoryPlace(), HostPlace(device)
        self.disk = DiskPlace(CPU, page_cache=page_cache, sets=sets + 1)  # one more: still being copied
        self._buffers = Buffers(device, sets)
        self._bytes = [0] * len(tiers)
        self._written: dict[int, Transfer] = {}
        self._read: dict[int, Transfer] = {}
        self._coming: dict[int, Transfer] = {}

    def put(self, number: int, parts: Parts, *, over: bool = False) -> None:
        """Add segments, or write over those there. parts: (segments, ...) each, not changed by the caller later."""
        tier, nbytes = self.tiers[number], sum(part.nbytes for part in parts)
        self._bytes[number] = nbytes + (0 if over else self._bytes[number])
        place: Any = {"device": self.here, "host": self.host, "disk": self.disk}[tier]

        def write(found: Callable[[], Parts]) -> Parts:
            if over:
                place.keep(number, 0)
            place.put(number, found())
            return ()

        if tier == "device":
            write(lambda: parts)
            return
        needs = [self._written.get(number)]
        if tier == "host":
            down = self.links.device_to_host
            self._written[number] = down.submit(nbytes, lambda: write(lambda: _copied(parts)), needs)
            return
        copied = self.links.device_to_host.submit(nbytes, lambda: _copied(parts), needs)
        self._written[number] = self.links.host_to_disk.submit(nbytes, lambda: write(copied.result), [copied])

    def read(self, number: int) -> None:
        """Start to read it from its disk, if it lies there and is not on its way."""
        if self.tiers[number] == "disk" and self._bytes[number] and number not in {*self._read, *self._coming}:
            written = self._written.get(number)
            self._read[number] = self.links.disk_to_host.submit(
                self._bytes[number], lambda: self.disk.get(number), [written]
            )

    def bring(self, number: int) -> None:
        """Start to copy it to the device, if it lies elsewhere and is not on its way."""
        if self.tiers[number] == "device" or not self._bytes[number] or number in self._coming:
            return
        self.read(number)
        read = self._read.pop(number, None)

        def copy() -> Parts:
            parts = self.host.held[number] if read is None else read.result()
            return tuple(to.copy_(part) for to, part in zip(self._buffers.take(parts), parts, strict=True))

        needs = [read, self._written.get(number)]
        self._coming[number] = self.links.host_to_device.submit(self._bytes[number], copy, needs)

    def get(self, number: int) -> Parts:
        """On the device; waits where it is not there yet."""
        if self.tiers[number] == "device":
            return self.here.get(number)
        self.bring(number)
        return self._coming.pop(number).result()

    def keep(self, number: int, count: int) -> None:
        """Keep the first `count` segments. Nothing of it may be on its way to the device."""
        self.wait(number)
        before = self.count(number)
        place: Any = {"device": self.here, "host": self.host, "disk": self.disk}[self.tiers[number]]
        place.keep(number, count)
        self._bytes[number] = self._bytes[number] * min(count, before) // max(1, before)

    def count(self, number: int) -> int:
        """Segments that are written."""
        if self.tiers[number] == "disk":
            return self.disk.count(number)
        held = (self.here if self.tiers[number] == "device" else self.host).held.get(number)
        return len(held[0]) if held else 0

    def wait(self, *numbers: int) -> None:
        """Until these, or all, are written."""
        for number in numbers or [*self._written]:
            if written := self._written.pop(number, None):
                written.result()


def _copied(parts: Parts) -> Parts:
    return tuple(part.to("cpu", copy=True) for part in parts)
