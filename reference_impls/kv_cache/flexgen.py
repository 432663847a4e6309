"""Throughput with weights, cache and activations on device, host and disk: a block's order, its cost and the policy.

Paper: arXiv 2303.06865, sections 4.2 and 4.3 (schedule, cost model, policy search); FlexGen.
Idea: with batches of sequences in a block, go through the layers once and through the batches inside: a layer's weights
    are loaded once a block instead of once a batch, and the block's size pays for the links.
Symbols: wg, wc, wd = shares of the weights on device, host and disk; cg, cc, cd those of the cache; hg, hc, hd those of
    the activations: `Config.weights`, `.cache` and `.activations`.
Simplified: decoding alone; attention is computed on the device wherever the cache lies; nothing is compressed.
Differs: buffers count whether or not anything passes through them; a linear programme's vertices are all tried; in turn
    what a transfer costs beside its bytes counts too. What the schedule loses of the bound: `flexgen_replay`.
Cost: a step of a block moves what `bytes_moved` says; the search solves some 20,000 systems of 7 equations a size.
Checked against: counting loads along the order; brute force over a grid of shares; SciPy's linear programmes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from itertools import combinations, product
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Order = Literal["rows", "zigzag"]
Direction = Literal["disk_to_host", "host_to_device", "device_to_host", "host_to_disk"]
DIRECTIONS: tuple[Direction, ...] = ("disk_to_host", "host_to_device", "device_to_host", "host_to_disk")
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Shares:
    """Where one kind of tensor lies, 1 together."""

    device: float
    host: float = 0.0
    disk: float = 0.0

    def __post_init__(self) -> None:
        if min(astuple(self)) < -1e-9 or abs(sum(astuple(self)) - 1) > 1e-9:
            raise ValueError(f"shares must be 0 to 1 and 1 together, got {astuple(self)}")


DEVICE, HOST, DISK = Shares(1.0), Shares(0.0, 1.0), Shares(0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Config:
    """batch: sequences at a time; batches: of a block; overlap: whether links and computing run at once."""

    batch: int = 8
    batches: int = 4
    weights: Shares = HOST
    cache: Shares = HOST
    activations: Shares = DEVICE
    order: Order = "zigzag"
    overlap: bool = True

    def __post_init__(self) -> None:
        if min(self.batch, self.batches) < 1:
            raise ValueError(f"batch and batches must be at least 1, got {self.batch} and {self.batches}")


@dataclass(frozen=True)
class Work:
    """A model and a text: bytes of one layer's weights, of one token of one sequence in one layer's cache, and of its
    state between two layers; FLOPs of one token of one sequence in one layer.

    chunks: transfers that a layer's weights are moved in; group: new tokens that leave a cache in one transfer.
    """

    layers: int
    layer_bytes: float
    token_bytes: float
    tokens: int
    layer_flops: float
    state_bytes: float = 0.0
    chunks: int = 1
    group: int = 1


@dataclass(frozen=True)
class Machine:
    """Bytes a second of each direction, FLOPs a second, and bytes of memory of device, host and disk.

    wake_s: seconds from when a transfer is done to when what waits for it goes on; least_s: seconds that the smallest
    transfer of each direction takes, that included.
    """

    disk_to_host: float
    host_to_device: float
    device_to_host: float
    host_to_disk: float
    flops: float
    memory: float
    host_memory: float = np.inf
    disk_memory: float = np.inf
    wake_s: float = 0.0
    least_s: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)

    def transfer_seconds(self, direction: Direction, nbytes: float) -> float:
        """Of one transfer, for what waits for it."""
        alone = nbytes / getattr(self, direction) + self.wake_s
        return float(max(alone, self.least_s[DIRECTIONS.index(direction)]))


def schedule(layers: int, batches: int, order: Order) -> Iterator[tuple[int, int]]:
    """(layer, batch) of one step of a block, in the order of computing."""
    if order == "rows":
        yield from ((layer, batch) for batch in range(batches) for layer in range(layers))
    else:
        yield from ((layer, batch) for layer in range(layers) for batch in range(batches))


def weight_loads(order: Sequence[tuple[int, int]]) -> int:
    """Loads of a layer's weights when one layer fits: every change of layer."""
    return sum(1 for place, (layer, _) in enumerate(order) if place == 0 or order[place - 1][0] != layer)


class _Sizes(NamedTuple):
    """Bytes that a step of a block reads and writes and that are held, of weights, cache and activations; buffers.

    reads, writes: transfers of each, in which the bytes move.
    """

    read: Array
    written: Array
    reads: Array
    writes: Array
    held: Array
    buffers: float


def _sizes(work: Work, batch: int, batches: int, order: Order) -> _Sizes:
    loads = work.layers * (batches if order == "rows" and work.layers > 1 else 1)
    rows = batch * batches
    new = work.layers * rows * work.token_bytes
    between = (work.layers - 1) * rows * work.state_bytes
    return _Sizes(
        np.array([loads * work.layer_bytes, new * work.tokens, between]),
        np.array([0.0, new, between]),
        np.array([loads * work.chunks, work.layers * batches, (work.layers - 1) * batches]),
        np.array([0.0, work.layers * batches / work.group, (work.layers - 1) * batches]),
        np.array([work.layers * work.layer_bytes, new * (work.tokens + 1), rows * work.state_bytes]),
        2 * (work.layer_bytes + batch * (work.tokens * work.token_bytes + work.state_bytes)),
    )


def _shares(config: Config) -> Array:
    """-> (kinds, tiers)"""
    return np.array([astuple(one) for one in (config.weights, config.cache, config.activations)])


def bytes_moved(work: Work, config: Config) -> dict[Direction, float]:
    """Of a step of a block, in each direction; what the disk sends or takes goes by way of the host."""
    sizes = _sizes(work, config.batch, config.batches, config.order)
    _, host, disk = _shares(config).T
    found = disk @ sizes.read, (host + disk) @ sizes.read, (host + disk) @ sizes.written, disk @ sizes.written
    return dict(zip(DIRECTIONS, map(float, found), strict=True))


def memory_needed(work: Work, config: Config) -> tuple[float, float, float]:
    """On device, host and disk: what lies there, and on the first two 2 layers and batches for what passes through."""
    sizes = _sizes(work, config.batch, config.batches, config.order)
    device, host, disk = map(float, _shares(config).T @ sizes.held)
    return device + sizes.buffers, host + sizes.buffers, disk


def compute_seconds(work: Work, config: Config, machine: Machine) -> float:
    """Of a step of a block."""
    return float(work.layers * config.batch * config.batches * work.layer_flops / machine.flops)


def _link_seconds(work: Work, config: Config, machine: Machine) -> Array:
    """Of each direction if all of each kind passed it. In turn every transfer is waited for. -> (directions, kinds)"""
    sizes = _sizes(work, config.batch, config.batches, config.order)
    found = []
    for one, up in zip(DIRECTIONS, (True, True, False, False), strict=True):
        moved, transfers = (sizes.read, sizes.reads) if up else (sizes.written, sizes.writes)
        if config.overlap:
            found.append(moved / getattr(machine, one))
        else:
            pairs = zip(moved, transfers, strict=True)
            found.append(np.array([n and n * machine.transfer_seconds(one, total / n) for total, n in pairs]))
    return np.stack(found)


def part_seconds(work: Work, config: Config, machine: Machine) -> list[float]:
    """Of computing, and of the links in their four directions."""
    _, host, disk = _shares(config).T
    passing = np.stack([disk, host + disk, host + disk, disk])
    return [compute_seconds(work, config, machine), *(_link_seconds(work, config, machine) * passing).sum(1).tolist()]


def step_seconds(work: Work, config: Config, machine: Machine) -> float:
    """The slowest of the four directions and computing (the paper's T_gen, of all layers), or their sum in turn."""
    parts = part_seconds(work, config, machine)
    return float(max(parts) if config.overlap else sum(parts))


def throughput(work: Work, config: Config, machine: Machine) -> float:
    """Tokens a second."""
    return config.batch * config.batches / step_seconds(work, config, machine)


def fits(work: Work, config: Config, machine: Machine) -> bool:
    """Whether every tier has room, to a millionth."""
    room = machine.memory, machine.host_memory, machine.disk_memory
    return all(need <= 1.000001 * has for need, has in zip(memory_needed(work, config), room, strict=True))


def best_policy(work: Work, machine: Machine, sizes: Sequence[int] = (1, 2, 4, 8, 16, 32)) -> Config:
    """The fastest setting that fits: of all pairs of sizes, each with its best shares. ValueError where none fits."""
    found = [best_shares(work, machine, Config(*pair)) for pair in product(sizes, sizes)]
    fitting = [config for config in found if config is not None]
    if not fitting:
        raise ValueError(f"nothing fits into {machine.memory:,.0f} bytes: two layers are needed at a time")
    return max(fitting, key=lambda config: throughput(work, config, machine))


def best_shares(work: Work, machine: Machine, config: Config) -> Config | None:
    """The fastest shares for its sizes, order and overlap, or None where nothing fits."""
    point = _least(*programme(work, machine, config))
    if point is None:
        return None
    pairs = point.clip(0, 1).reshape(3, 2)
    pairs /= np.maximum(1.0, pairs.sum(1, keepdims=True))  # what rounding left above 1
    weights, cache, activations = (Shares(device, host, max(0.0, 1 - device - host)) for device, host in pairs.tolist())
    return replace(config, weights=weights, cache=cache, activations=activations)


def programme(work: Work, machine: Machine, config: Config) -> tuple[Array, Array]:
    """A linear programme: least t with rows @ (wg, wc, cg, cc, hg, hc, t) <= bounds. -> rows (n, 7), bounds (n,)

    t counts in seconds of moving everything by way of all links and of computing; shares on disks are what is left.
    """
    sizes = _sizes(work, config.batch, config.batches, config.order)
    device, host = np.eye(6)[::2], np.eye(6)[1::2]  # of each kind, by unknown
    away, disk = -device, -device - host  # and 1 each
    links = _link_seconds(work, config, machine)
    times = np.stack([*(own @ lying for own, lying in zip(links, (disk, away, away, disk), strict=True)), np.zeros(6)])
    fixed = np.append(links.sum(1), compute_seconds(work, config, machine))
    if not config.overlap:
        times, fixed = times.sum(0, keepdims=True), fixed.sum(keepdims=True)
    room = np.array([machine.memory - sizes.buffers, machine.host_memory - sizes.buffers])
    room = np.append(room, machine.disk_memory - sizes.held.sum())
    lying = np.stack([sizes.held @ device, sizes.held @ host, sizes.held @ disk])[np.isfinite(room)]
    rows = np.vstack([-device, -host, -disk, lying, times])
    bounds = np.concatenate([np.zeros(6), np.ones(3), room[np.isfinite(room)], -fixed])
    unit = np.concatenate([np.ones(9), np.full(len(lying), sizes.held.sum()), np.full(len(times), fixed.sum())])
    column = np.append(np.zeros(len(rows) - len(times)), -np.ones(len(times)))
    return np.column_stack([rows / unit[:, None], column]), bounds / unit


def _least(rows: Array, bounds: Array) -> Array | None:
    """The vertex with the least last unknown, less that unknown; None where no point satisfies all rows.

    Of several, that with the most on the device, and then on the host.
    """
    chosen = np.array([*combinations(range(len(rows)), rows.shape[1])])
    corners, sides = rows[chosen], bounds[chosen]
    sound = np.abs(np.linalg.det(corners)) > 1e-15
    points: Any = np.linalg.solve(corners[sound], sides[sound][..., None])[..., 0]
    inside = points[(points @ rows.T <= bounds + 1e-9).all(1)]
    if not len(inside):
        return None
    best = inside[inside[:, -1] <= inside[:, -1].min() + 1e-9, :-1]
    found: Array = best[(best @ np.tile([2.0, 1.0], 3)).argmax()]
    return found


def without_offload(config: Config) -> Config:
    """The same sizes with everything on the device."""
    return replace(config, weights=DEVICE, cache=DEVICE, activations=DEVICE)
