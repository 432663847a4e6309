"""A module as data: what the assembler reads, what it encodes, and what the interpreter runs."""

from dataclasses import dataclass

Immediate = int | str | tuple[int, ...]
Instruction = tuple[str, *tuple[Immediate, ...]]
"""Name and immediates. A constant holds the raw bits; a memory access offset and log2 of alignment; a block its
result type or ""; a call_indirect its type."""


@dataclass(frozen=True)
class FuncType:
    """Types of parameters and results."""

    params: tuple[str, ...] = ()
    results: tuple[str, ...] = ()


@dataclass(frozen=True)
class Limits:
    """Size of a memory in pages of 64 KiB, or of a table in entries."""

    least: int
    most: int | None = None
    shared: bool = False


@dataclass(frozen=True)
class Import:
    """A function, a memory or a global of the host."""

    module: str
    name: str
    kind: str  # func, memory or global
    type: FuncType | Limits | str


@dataclass(frozen=True)
class Function:
    """Locals do not count the parameters; the last instruction is `end`."""

    type: FuncType
    locals: tuple[str, ...]
    body: tuple[Instruction, ...]


@dataclass(frozen=True)
class Global:
    """Raw bits of its first value."""

    type: str
    mutable: bool
    value: int


@dataclass(frozen=True)
class Export:
    """Kind: func, table, memory or global."""

    name: str
    kind: str
    index: int


@dataclass(frozen=True)
class Segment:
    """Bytes for the memory, or function indices for the table; no offset: passive."""

    offset: int | None
    content: bytes | tuple[int, ...]


@dataclass(frozen=True)
class Module:
    """Function indices count the imported ones first."""

    types: tuple[FuncType, ...] = ()
    imports: tuple[Import, ...] = ()
    functions: tuple[Function, ...] = ()
    table: Limits | None = None
    memory: Limits | None = None
    globals: tuple[Global, ...] = ()
    exports: tuple[Export, ...] = ()
    start: int | None = None
    elements: tuple[Segment, ...] = ()
    data: tuple[Segment, ...] = ()

    @property
    def imported_functions(self) -> tuple[Import, ...]:
        """Those that come before the module's own."""
        return tuple(one for one in self.imports if one.kind == "func")

    def type_of(self, function: int) -> FuncType:
        """Type of a function by its index."""
        imported = self.imported_functions
        if function < len(imported):
            found = imported[function].type
            assert isinstance(found, FuncType)
            return found
        return self.functions[function - len(imported)].type

    def export(self, name: str) -> Export:
        """The first export of that name."""
        return next(one for one in self.exports if one.name == name)
