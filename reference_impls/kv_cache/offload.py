"""Older tokens of some layers on the host or on a disk, fetched when their layer runs, the next layer's ahead of time.

Paper: arXiv 2303.06865, section 3 (device, host and disk; loads overlap with computing); FlexGen.
Idea: a layer needs its keys and values only while it runs, so the others can lie where memory is cheap; what is loaded
    while another layer computes costs no time.
Symbols: nothing beyond the axes' names.
Simplified: a layer's segments lie in one place; the host is main memory, the disk a file a layer.
Differs: the paper splits every layer's cache by percentages; here whole layers go, spread evenly.
Cost: a pass reads segments * group * bytes_per_token of the offloaded layers over the link, once.
Checked against: the contiguous cache; the bytes counted against the formula; a slowed link, with and without `ahead`.
"""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import torch

from reference_impls.kv_cache.sealed import Codec, MemoryPlace, Parts, PlainCodec, SealedCache
from reference_impls.kv_cache.shape import CacheShape
from reference_impls.kv_cache.tiers import DiskPlace, HostPlace

Tier = Literal["device", "host", "disk"]


@dataclass(frozen=True)
class Config:
    """host_share, disk_share: of the layers, the rest stays; ahead: fetch the next layer, or the next pass's first,
    while one computes.

    bytes_per_s slows a fetch down to a stated rate, to stand for a slower link; None: as fast as it goes.
    page_cache: see `tiers.DiskPlace`; False reads the disk itself.
    """

    host_share: float = 1.0
    disk_share: float = 0.0
    group_size: int = 32
    recent_tokens: int = 0
    ahead: bool = True
    bytes_per_s: float | None = None
    page_cache: bool = True

    def __post_init__(self) -> None:
        if min(self.host_share, self.disk_share) < 0 or self.host_share + self.disk_share > 1:
            raise ValueError(f"shares must be 0 to 1 together, got {self.host_share} and {self.disk_share}")
        if self.group_size < 1 or self.recent_tokens < 0:
            raise ValueError(f"group_size must be 1 or more, recent_tokens 0 or more: {self}")
        if self.bytes_per_s is not None and self.bytes_per_s <= 0:
            raise ValueError(f"bytes_per_s must be above 0, got {self.bytes_per_s}")


IDENTITY = Config()
"""Offloading changes no value, so every setting is exact."""


@dataclass
class Log:
    """What moved so far; bytes_in: once it was asked for. wait_s: seconds in which computing had nothing to do."""

    bytes_in: int = 0
    bytes_out: int = 0
    wait_s: float = 0.0


def place_layers(layers: int, config: Config) -> list[Tier]:
    """Where each layer's segments lie: the shares, rounded, spread evenly so that loads alternate with computing."""
    away = {"host": round(layers * config.host_share), "disk": round(layers * config.disk_share)}
    away["disk"] = min(away["disk"], layers - away["host"])
    places: list[Tier] = ["device"] * layers
    free = list(range(layers))
    for tier in ("host", "disk"):
        count = away[tier]
        chosen = [free[int((place + 0.5) * len(free) / count)] for place in range(count)]
        for layer in chosen:
            places[layer] = "host" if tier == "host" else "disk"
        free = [layer for layer in free if layer not in chosen]
    return places


def bytes_per_pass(shape: CacheShape, config: Config, segments: int) -> int:
    """What a pass fetches, with the plain codec. segments: of group_size tokens, that each layer has sealed."""
    away = sum(tier != "device" for tier in place_layers(shape.layers, config))
    return shape.batch * segments * config.group_size * away * shape.bytes_per_token // shape.layers


class TieredPlace:
    """Segments of each layer on its tier."""

    def __init__(self, shape: CacheShape, config: Config) -> None:
        self.config, self.device, self.log = config, torch.device(shape.device), Log()
        self.tiers = place_layers(shape.layers, config)
        self._here, self._host = MemoryPlace(), HostPlace(self.device)
        self._disk = DiskPlace(self.device, page_cache=config.page_cache)
        self._away = [layer for layer, tier in enumerate(self.tiers) if tier != "device"]
        self._segments = [0] * shape.layers
        self._coming: dict[int, Future[Parts]] = {}
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="segments")
        self._free = 0.0
        """When the link is done with what was fetched so far, at its stated rate."""

    def put(self, layer: int, parts: Parts) -> None:
        """As `Place.put`; what was fetched ahead is no longer all."""
        self._of(layer).put(layer, parts)
        self._segments[layer] += len(parts[0])
        self._drop(layer)
        if self.tiers[layer] != "device":
            self.log.bytes_out += sum(part.nbytes for part in parts)

    def get(self, layer: int) -> Parts:
        """As `Place.get`, until the next call; lets the layer that is away next be fetched behind this one.

        Behind a pass's last layer comes the next pass's first, so that the link never has nothing to do.
        """
        if self.tiers[layer] == "device":
            return self._here.get(layer)
        coming = self._coming.pop(layer, None) or self._start(layer)
        if self.config.ahead:
            following = next((one for one in self._away if one > layer), self._away[0])
            if self._segments[following] and following not in self._coming:
                self._coming[following] = self._start(following)
        start = time.perf_counter()
        parts = coming.result()
        self.log.wait_s += time.perf_counter() - start
        self.log.bytes_in += sum(part.nbytes for part in parts)
        return parts

    def forget_ahead(self) -> None:
        """Let go of what was fetched before it was asked for: it is fetched anew."""
        for layer in [*self._coming]:
            self._drop(layer)

    def keep(self, layer: int, count: int) -> None:
        """As `Place.keep`."""
        self._of(layer).keep(layer, count)
        self._segments[layer] = count
        self._drop(layer)

    @property
    def nbytes(self) -> int:
        """Bytes on the device alone: what offloading is about."""
        return self._here.nbytes

    @property
    def nbytes_away(self) -> int:
        """Bytes on the host and the disk."""
        return self._host.nbytes + self._disk.nbytes

    def _of(self, layer: int) -> "MemoryPlace | HostPlace | DiskPlace":
        tier = self.tiers[layer]
        return self._disk if tier == "disk" else self._host if tier == "host" else self._here

    def _drop(self, layer: int) -> None:
        if stale := self._coming.pop(layer, None):
            stale.result()

    def _start(self, layer: int) -> "Future[Parts]":
        return self._reader.submit(self._fetch, layer, time.perf_counter())

    def _fetch(self, layer: int, asked: float) -> Parts:
        parts = self._of(layer).get(layer)
        if self.config.bytes_per_s is not None:
            # From when it could have begun: a thread that woke up late does not make the link slower.
            self._free = max(self._free, asked) + sum(part.nbytes for part in parts) / self.config.bytes_per_s
            time.sleep(max(0.0, self._free - time.perf_counter()))
        return parts


def new_cache(shape: CacheShape, config: Config = IDENTITY, codec: Codec | None = None) -> SealedCache:
    """A cache whose older tokens are away; a quantising codec makes what moves smaller."""
    return SealedCache(
        shape, codec or PlainCodec(), TieredPlace(shape, config), config.group_size, config.recent_tokens
    )
