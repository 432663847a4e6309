"""Read the text format: the flat part of it that this family's cases and kernels are written in.

Folded instructions, names of types in `block`, and modules linked to each other are left out; wat2wasm reads all that
this reads, to the same bytes.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from reference_impls.runtime_testing import opcodes
from reference_impls.runtime_testing.module import (
    Export,
    Function,
    FuncType,
    Global,
    Immediate,
    Import,
    Instruction,
    Limits,
    Module,
    Segment,
)
from reference_impls.runtime_testing.wat_tokens import (
    Names,
    Tree,
    WatError,
    constant,
    constant_bits,
    string,
    trees,
    vector_bits,
)


@dataclass
class _Reader:
    """What has been read so far, and the names that functions refer to."""

    types: list[FuncType] = field(default_factory=list)
    type_names: Names = field(default_factory=Names)
    functions: Names = field(default_factory=Names)
    globals: Names = field(default_factory=Names)
    imports: list[Import] = field(default_factory=list)
    exports: list[Export] = field(default_factory=list)
    global_values: list[Global] = field(default_factory=list)
    table: Limits | None = None
    memory: Limits | None = None

    def use(self, type_: FuncType) -> int:
        """Index of a type, which is added where it is new."""
        if type_ not in self.types:
            self.types.append(type_)
            self.type_names.add(None)
        return self.types.index(type_)


def parse(text: str) -> Module:
    """Text of a module to the module."""
    (tree,) = trees(text)
    if not isinstance(tree, list) or tree[:1] != ["module"]:
        raise WatError("expected (module …)")
    fields = [one for one in tree[1:] if isinstance(one, list)]
    reader = _Reader()
    for one in fields:
        if one[0] == "type":
            _declare_type(one, reader)
    bodies = [(one, *_head(one, reader)) for one in fields if one[0] == "func"] if _declare(fields, reader) else []
    functions = tuple(
        Function(type_, locals_, tuple(_instructions(rest, names, reader))) for _, type_, locals_, names, rest in bodies
    )
    start = [reader.functions.index(one[1]) for one in fields if one[0] == "start"]
    return Module(
        types=tuple(reader.types),
        imports=tuple(reader.imports),
        functions=functions,
        table=reader.table,
        memory=reader.memory,
        globals=tuple(reader.global_values),
        exports=tuple(reader.exports),
        start=start[0] if start else None,
        elements=tuple(_element(one, reader) for one in fields if one[0] == "elem"),
        data=tuple(_data(one) for one in fields if one[0] == "data"),
    )


def _signature(items: Sequence[Tree], names: Names, reader: _Reader) -> tuple[FuncType, int]:
    """Leading (type), (param) and (result) clauses. -> the type, and how many clauses there were"""
    params: list[str] = []
    results: list[str] = []
    clauses = [*takewhile(lambda one: isinstance(one, list) and one[0] in ("type", "param", "result"), items)]
    for item in clauses:
        words = [word for word in item[1:] if isinstance(word, str)]
        if item[0] == "type":
            found = reader.types[reader.type_names.index(words[0])]
            params, results = [*found.params], [*found.results]
            for _ in params:
                names.add(None)
        elif item[0] == "param":
            named = words[0] if words and words[0].startswith("$") else None
            for word in words[1:] if named else words:
                params.append(word)
                names.add(named)
        else:
            results += words
    return FuncType(tuple(params), tuple(results)), len(clauses)


def _declare_type(one: list[Tree], reader: _Reader) -> None:
    name = one[1] if isinstance(one[1], str) else None
    inner = one[-1]
    assert isinstance(inner, list)
    reader.types.append(_signature(inner[1:], Names(), reader)[0])
    reader.type_names.add(name)


def _split_name(one: list[Tree]) -> tuple[str | None, list[Tree]]:
    rest = one[1:]
    if rest and isinstance(rest[0], str) and rest[0].startswith("$"):
        return rest[0], rest[1:]
    return None, rest


def _inline_exports(rest: list[Tree], kind: str, index: int, reader: _Reader) -> list[Tree]:
    while rest and isinstance(rest[0], list) and rest[0][0] == "export":
        reader.exports.append(Export(string(rest[0][1]).decode(), kind, index))
        rest = rest[1:]
    return rest


def _declare(fields: list[list[Tree]], reader: _Reader) -> bool:
    """Imports, then the names of everything, so that bodies may refer to what comes later."""
    for one in fields:
        if one[0] == "import":
            _import(one, reader)
    for one in fields:
        kind = one[0]
        name, rest = _split_name(one)
        if kind == "func":
            _inline_exports(rest, "func", reader.functions.add(name), reader)
        elif kind == "memory":
            reader.memory = _limits(_inline_exports(rest, "memory", 0, reader))
        elif kind == "table":
            reader.table = _limits(_inline_exports(rest, "table", 0, reader))
        elif kind == "global":
            _global(name, rest, reader)
    for one in fields:
        if one[0] == "export":
            what = one[2]
            assert isinstance(what, list)
            names = {"func": reader.functions, "global": reader.globals}.get(str(what[0]), Names())
            reader.exports.append(Export(string(one[1]).decode(), str(what[0]), names.index(what[1])))
    return True


def _import(one: list[Tree], reader: _Reader) -> None:
    what = one[3]
    assert isinstance(what, list)
    name, rest = _split_name(what)
    found: FuncType | Limits | str
    if what[0] == "func":
        found = _signature(rest, Names(), reader)[0]
        reader.use(found)
        reader.functions.add(name)
    elif what[0] == "memory":
        found = _limits(rest)
    else:
        found = str(rest[0])
        reader.globals.add(name)
    reader.imports.append(Import(string(one[1]).decode(), string(one[2]).decode(), str(what[0]), found))


def _limits(rest: Sequence[Tree]) -> Limits:
    numbers = [int(word, 0) for word in rest if isinstance(word, str) and word[0].isdigit()]
    return Limits(numbers[0], numbers[1] if len(numbers) > 1 else None, "shared" in rest)


def _global(name: str | None, rest: list[Tree], reader: _Reader) -> None:
    rest = _inline_exports(rest, "global", reader.globals.count, reader)
    type_ = rest[0]
    mutable = isinstance(type_, list)
    word = str(type_[1]) if isinstance(type_, list) else type_
    reader.globals.add(name)
    reader.global_values.append(Global(word, mutable, constant(rest[1])))


def _element(one: list[Tree], reader: _Reader) -> Segment:
    words = [word for word in one[2:] if word != "func"]
    return Segment(constant(one[1]), tuple(reader.functions.index(word) for word in words))


def _data(one: list[Tree]) -> Segment:
    active = isinstance(one[1], list)
    content = b"".join(string(word) for word in one[2 if active else 1 :])
    return Segment(constant(one[1]) if active else None, content)


def _head(one: list[Tree], reader: _Reader) -> tuple[FuncType, tuple[str, ...], Names, list[Tree]]:
    """Type, locals, their names, and the instructions that follow."""
    _, rest = _split_name(one)
    while rest and isinstance(rest[0], list) and rest[0][0] == "export":
        rest = rest[1:]
    names = Names()
    type_, clauses = _signature(rest, names, reader)
    reader.use(type_)
    rest = rest[clauses:]
    locals_: list[str] = []
    while rest and isinstance(rest[0], list) and rest[0][0] == "local":
        words = [str(word) for word in rest[0][1:]]
        named = words.pop(0) if words and words[0].startswith("$") else None
        for word in words:
            locals_.append(word)
            names.add(named)
        rest = rest[1:]
    return type_, tuple(locals_), names, rest


def _instructions(rest: list[Tree], names: Names, reader: _Reader) -> Iterator[Instruction]:
    """Flat instructions of a body, and the `end` that closes it."""
    words = list(rest)
    labels: list[str | None] = []
    while words:
        name = words.pop(0)
        if not isinstance(name, str):
            raise WatError(f"expected an instruction, got {name}: folded ones are not read")
        yield name, *_immediates(name, words, names, labels, reader)
    yield ("end",)


def _immediates(
    name: str, words: list[Tree], names: Names, labels: list[str | None], reader: _Reader
) -> tuple[Immediate, ...]:
    if name in ("block", "loop", "if"):
        labels.append(str(words.pop(0)) if _is_name(words) else None)
        result = words.pop(0)[1] if words and isinstance(words[0], list) else ""
        return (str(result),)
    if name in ("end", "else"):
        if name == "end":
            labels.pop()
        return ()
    if name in ("br", "br_if"):
        return (_depth(words.pop(0), labels),)
    if name == "br_table":
        return (tuple(_depth(word, labels) for word in _take(words, lambda w: w.isdigit() or w.startswith("$"))),)
    if name == "call":
        return (reader.functions.index(words.pop(0)),)
    if name == "call_indirect":
        clauses: list[Tree] = []
        while words and isinstance(words[0], list):
            clauses.append(words.pop(0))
        return (reader.use(_signature(clauses, Names(), reader)[0]),)
    if name.startswith("local."):
        return (names.index(words.pop(0)),)
    if name.startswith("global."):
        return (reader.globals.index(words.pop(0)),)
    if name == "v128.const":
        return (vector_bits(words),)
    if name.endswith(".const"):
        return (constant_bits(name[:3], str(words.pop(0))),)
    width = opcodes.width_of(name)
    if width is not None:
        given = dict(word.split("=") for word in _take(words, lambda w: w.startswith(("offset=", "align="))))
        return int(given.get("offset", "0"), 0), int(given.get("align", str(width)), 0).bit_length() - 1
    if name in ("memory.init", "data.drop") or name.endswith("_lane"):
        return (int(str(words.pop(0))),)
    return ()


def _is_name(words: list[Tree]) -> bool:
    return bool(words) and isinstance(words[0], str) and words[0].startswith("$")


def _take(words: list[Tree], fits: Callable[[str], bool]) -> list[str]:
    found = []
    while words and isinstance(words[0], str) and fits(words[0]):
        found.append(str(words.pop(0)))
    return found


def _depth(word: Tree, labels: list[str | None]) -> int:
    if isinstance(word, str) and word.startswith("$"):
        return next(depth for depth, label in enumerate(reversed(labels)) if label == word)
    return int(str(word))
