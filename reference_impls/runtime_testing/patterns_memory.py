"""Memory to its last byte, growth to its limit, overlapping copies, and instances that must be given back (C4)."""

from collections.abc import Iterator

from reference_impls.runtime_testing import Call, Case
from reference_impls.runtime_testing.opcodes import MEMORY

END = 65_536
CHANGES = """
(func (export "fill") (param i32 i32 i32) local.get 0 local.get 1 local.get 2 memory.fill)
(func (export "copy") (param i32 i32 i32) local.get 0 local.get 1 local.get 2 memory.copy)
(func (export "init") (param i32 i32 i32) local.get 0 local.get 1 local.get 2 memory.init 0)
(func (export "drop") data.drop 0)
(func (export "read") (param i32) (result i64) local.get 0 i64.load)
"""


def generate() -> Iterator[Case]:
    """Every case of this module."""
    yield _accesses("load")
    yield _accesses("store")
    yield _growth("limited", "1 3", (1, 1, 1, 0, 2**32 - 1))
    yield _growth("to-its-own-size", "2 2", (0, 1, 0))
    yield _growth("none", "0", (0, 1, 0))
    yield _bulk()
    page = '(module (memory 256) (func (export "f") (result i32) i32.const 16777212 i32.load memory.size i32.add))'
    yield Case("memory/instances", "C4", page, (Call("f", (), ("i32",), "100 instances of 16 MiB"),), times=100)


def _accesses(which: str) -> Case:
    """Every load and store at the last place that fits, one beyond, and with offsets whose sum passes 32 bits."""
    functions: list[str] = []
    calls: list[Call] = []
    for name, (_, width) in MEMORY.items():
        if which not in name:
            continue
        type_ = name[:3]
        carrier = f"i{type_[1:]}"
        into = f"{carrier}.reinterpret_{type_}" if type_[0] == "f" else ""
        out = f"{type_}.reinterpret_{carrier}" if type_[0] == "f" else ""
        for offset in (0, 2**32 - 1):
            export = f"f{len(functions)}"
            places = (END - width - offset, END - width - offset + 1, END, 2**32 - 1, (-offset) % 2**32)
            if "store" in name:
                functions.append(
                    f'(func (export "{export}") (param i32 {carrier}) (result i64) local.get 0 local.get 1 {out} '
                    f"{name} offset={offset} i32.const {END - 8} i64.load)"
                )
                given: list[tuple[tuple[str, int] | None, tuple[str, ...]]] = [
                    ((carrier, 0x8182838485868788 % 2 ** int(carrier[1:])), ("i64",))
                ]
            else:
                functions.append(
                    f'(func (export "{export}") (param i32) (result {carrier}) local.get 0 {name} offset={offset} {into})'
                )
                given = [(None, (carrier,))]
            for place in places:
                if 0 <= place < 2**32:
                    for more, results in given:
                        arguments = (("i32", place), more) if more else (("i32", place),)
                        calls.append(Call(export, arguments, results, name))
    data = f'(memory 1) (data (i32.const {END - 8}) "\\91\\82\\f3\\84\\95\\86\\e7\\f8")'
    return Case(f"memory/{which}s", "C4", f"(module {data} {' '.join(functions)})", tuple(calls))


def _growth(name: str, limits: str, steps: tuple[int, ...]) -> Case:
    text = f"""(module (memory {limits})
      (func (export "grow") (param i32) (result i32) local.get 0 memory.grow)
      (func (export "size") (result i32) memory.size)
      (func (export "last") (result i32) memory.size i32.const 65536 i32.mul i32.const 4 i32.sub i32.load)
      (func (export "beyond") (result i32) memory.size i32.const 65536 i32.mul i32.load8_u))"""
    calls: list[Call] = []
    for step in steps:
        calls.append(Call("grow", (("i32", step),), ("i32",), "memory.grow"))
        calls += [Call(one, (), ("i32",), "memory.grow") for one in ("size", "last", "beyond")]
    if limits == "0":
        calls = [call for call in calls if call.export != "last" or calls.index(call) > 4]
    return Case(f"memory/growth-{name}", "C4", text, tuple(calls), keeps_instance=True)


def _bulk() -> Case:
    text = f'(module (memory 1) (data "\\01\\02\\03\\04\\05\\06\\07\\08\\09") {CHANGES})'
    steps = [
        *(("init", (0, 0, 9)), ("init", (0, 1, 9)), ("init", (END - 3, 0, 4)), ("init", (END, 9, 0))),
        *(("copy", (2, 0, 7)), ("copy", (0, 2, 7)), ("copy", (0, END - 2, 3)), ("copy", (END - 2, 0, 3))),
        *(("copy", (END, END, 0)), ("copy", (END + 1, 0, 0)), ("copy", (20, 1, 0))),
        *(("fill", (3, 0x1FF, 2)), ("fill", (END - 1, 1, 2)), ("fill", (END, 1, 0)), ("fill", (END + 1, 1, 0))),
        *(("drop", ()), ("init", (0, 0, 1)), ("init", (0, 0, 0)), ("drop", ())),
    ]
    calls: list[Call] = []
    for export, given in steps:
        arguments = tuple(("i32", one) for one in given)
        calls.append(Call(export, arguments, (), f"memory.{export}"))
        calls += [Call("read", (("i32", place),), ("i64",), f"memory.{export}") for place in (0, 8, END - 8)]
    return Case("memory/bulk", "C4", text, tuple(calls), keeps_instance=True)
