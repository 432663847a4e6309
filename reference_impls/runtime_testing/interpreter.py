"""A small interpreter of WebAssembly: the rig's answer to each call, and the subject of its mutation check.

Paper: arXiv 2301.12102 compares engines with each other; that an interpreter of one's own gives the answers is ours.
Idea: a stack of raw bits, one Python function an operation, and every rule that a fault could break in one record,
    `Semantics`, so that a fault is a record with one field exchanged.
Symbols: page = 65,536 bytes; fuel = instructions that a call may take before it counts as not ending.
Simplified: scalars, one memory, one table; no SIMD, no exceptions. A module is run as it was written, not decoded.
Differs: nothing to differ from.
Cost: about a microsecond an instruction.
Checked against: five engines on every case of this family, and numpy for the numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from reference_impls.runtime_testing import numeric
from reference_impls.runtime_testing.handlers import HANDLERS, PAGE
from reference_impls.runtime_testing.module import Function, FuncType, Import, Instruction, Module
from reference_impls.runtime_testing.numeric import Operation
from reference_impls.runtime_testing.outcome import Trap

Host = Callable[..., tuple[int, ...]]


class OutOfFuelError(Exception):
    """A call took more instructions than it may."""


class LinkError(Exception):
    """An import that the host does not have, or has with another type."""


@dataclass(frozen=True)
class Config:
    """How deep calls may nest, and how long one may take."""

    depth: int = 200
    fuel: int = 2_000_000

    def __post_init__(self) -> None:
        if self.depth < 1 or self.fuel < 1:
            raise ValueError(f"depth and fuel must be at least 1, got {self.depth} and {self.fuel}")


def in_bounds(address: int, width: int, size: int) -> bool:
    """An access is within the memory to its last byte."""
    return address + width <= size


@dataclass(frozen=True)
class Semantics:
    """Every rule that this family's faults break, as the specification has it."""

    operations: Mapping[str, Operation] = field(default_factory=numeric.operations)
    in_bounds: Callable[[int, int, int], bool] = in_bounds
    effective: Callable[[int, int], int] = lambda base, offset: base + offset
    bulk_in_bounds: Callable[[int, int, int], bool] = in_bounds
    grow: Callable[[int, int, int], int | None] = lambda now, more, most: now + more if now + more <= most else None
    copies_overlap: bool = True
    target: Callable[[int, int], int] = lambda index, last: min(index, last)
    checks_signature: bool = True
    checks_element: bool = True
    unwinds_after_trap: bool = True
    checks_segments: bool = True
    runs_start: bool = True
    host_value: Callable[[int, str], int] = lambda bits, _type: bits
    extends_sign: bool = True
    zeroes_locals: bool = True


REFERENCE = Semantics()


@dataclass
class Frame:
    """One call under way."""

    function: Function
    locals: list[int]
    jumps: Mapping[int, tuple[int, int]]
    stack: list[int] = field(default_factory=list)
    labels: list[tuple[int, int, int]] = field(default_factory=list)  # where to go on, values kept, height of the stack
    place: int = 0

    def pop(self, count: int) -> list[int]:
        """The last operands, in order."""
        found = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return found

    def branch(self, depth: int) -> None:
        """Leave that many blocks and one, with the values that the last one keeps."""
        target, kept, height = self.labels[-1 - depth]
        values = self.pop(kept)
        del self.stack[height:]
        self.stack += values
        del self.labels[len(self.labels) - 1 - depth :]
        self.place = target


class Instance:
    """A module in use. Values in and out are raw bits."""

    def __init__(
        self,
        module: Module,
        host: Mapping[str, tuple[FuncType, Host]] | None = None,
        semantics: Semantics = REFERENCE,
        config: Config | None = None,
    ) -> None:
        self.module, self.semantics, self.config = module, semantics, config or Config()
        self.host = [_linked(one, host or {}) for one in module.imports]
        self.memory = bytearray(PAGE * module.memory.least if module.memory else 0)
        self.table: list[int | None] = [None] * (module.table.least if module.table else 0)
        self.globals = [one.value for one in module.globals]
        self.dropped: set[int] = set()
        self.depth = self.fuel = 0
        self.jumps = {id(one): _jumps(one.body) for one in module.functions}
        self._initialise()

    def _initialise(self) -> None:
        """Table, then memory, segment by segment: what came before the one that does not fit stays written."""
        for segment in self.module.elements:
            if self._fits(segment.offset or 0, len(segment.content), len(self.table), "out of bounds table"):
                for place, one in enumerate(segment.content, segment.offset or 0):
                    self.table[place] = one
        for number, segment in enumerate(self.module.data):
            length, offset = len(segment.content), segment.offset
            if offset is not None and self._fits(offset, length, len(self.memory), "out of bounds memory"):
                self.memory[offset : offset + length] = bytes(segment.content)
                self.dropped.add(number)
        if self.module.start is not None and self.semantics.runs_start:
            self._guarded(self.module.start, [])

    def _fits(self, offset: int, length: int, size: int, kind: str) -> bool:
        """Raises Trap where it does not; False only under a fault."""
        if in_bounds(offset, length, size):
            return True
        if self.semantics.checks_segments:
            raise Trap(kind)
        return False

    def call(self, export: str, arguments: Sequence[int]) -> tuple[int, ...]:
        """Call an exported function. Raises Trap, or OutOfFuelError."""
        return self._guarded(self.module.export(export).index, [*arguments])

    def _guarded(self, function: int, arguments: list[int]) -> tuple[int, ...]:
        self.fuel = self.config.fuel
        try:
            return tuple(self.invoke(function, arguments))
        finally:
            if self.semantics.unwinds_after_trap:
                self.depth = 0

    def invoke(self, index: int, arguments: list[int]) -> list[int]:
        """Call a function by its index, from the host or from another one."""
        imported = len(self.host)
        if index < imported:
            types = self.module.type_of(index).params
            passed = [self.semantics.host_value(one, type_) for one, type_ in zip(arguments, types, strict=True)]
            return [*self.host[index](*passed)]
        function = self.module.functions[index - imported]
        self.depth += 1
        if self.depth > self.config.depth:
            raise Trap("stack exhausted")
        fill = 0 if self.semantics.zeroes_locals else 1
        results = len(function.type.results)
        frame = Frame(function, arguments + [fill] * len(function.locals), self.jumps[id(function)])
        frame.labels.append((len(function.body), results, 0))
        self._run(frame)
        self.depth -= 1
        return frame.pop(results)

    def _run(self, frame: Frame) -> None:
        body, operations = frame.function.body, self.semantics.operations
        while frame.place < len(body):
            self.fuel -= 1
            if self.fuel < 0:
                raise OutOfFuelError
            one = body[frame.place]
            frame.place += 1
            operation = operations.get(one[0])
            if operation is not None:
                frame.stack.append(operation(*frame.pop(ARITY[one[0]])))
            else:
                HANDLERS[one[0]](self, frame, one)

    def address(self, base: int, offset: int, width: int) -> int:
        """Where an access lies. Raises Trap outside the memory."""
        found = self.semantics.effective(base, offset)
        if not self.semantics.in_bounds(found, width, len(self.memory)):
            raise Trap("out of bounds memory")
        return found


def _linked(one: Import, host: Mapping[str, tuple[FuncType, Host]]) -> Host:
    if one.name not in host or host[one.name][0] != one.type:
        raise LinkError(f"no {one.kind} {one.module}.{one.name} of this type")
    return host[one.name][1]


def _jumps(body: Sequence[Instruction]) -> dict[int, tuple[int, int]]:
    """Place of each block, loop, if and else: its else (or end), and its end."""
    found: dict[int, tuple[int, int]] = {}
    opened: list[int] = []
    otherwise: dict[int, int] = {}
    for place, one in enumerate(body):
        if one[0] in ("block", "loop", "if"):
            opened.append(place)
        elif one[0] == "else":
            otherwise[opened[-1]] = place
        elif one[0] == "end" and opened:
            start = opened.pop()
            found[start] = (otherwise.get(start, place), place)
            if start in otherwise:
                found[otherwise[start]] = (place, place)
    return found


ARITY = {name: len(numeric.signature(name)[0]) for name in numeric.operations()}
