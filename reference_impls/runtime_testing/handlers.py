"""What the instructions that are not plain arithmetic do to a frame and its instance."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from reference_impls.runtime_testing import opcodes
from reference_impls.runtime_testing.numeric import to_signed
from reference_impls.runtime_testing.outcome import Trap

if TYPE_CHECKING:
    from reference_impls.runtime_testing.interpreter import Frame, Instance

PAGE = 65_536
MOST_PAGES = 65_536
Handler = Callable[["Instance", "Frame", Any], None]
"""Any: an instruction's immediates are as its name says."""


def _unreachable(_instance: Instance, _frame: Frame, _one: Any) -> None:
    raise Trap("unreachable")


def _nothing(_instance: Instance, _frame: Frame, _one: Any) -> None:
    """nop"""


def _block(_instance: Instance, frame: Frame, one: Any) -> None:
    end = frame.jumps[frame.place - 1][1]
    frame.labels.append((end + 1, int(bool(one[1])), len(frame.stack)))


def _loop(_instance: Instance, frame: Frame, _one: Any) -> None:
    frame.labels.append((frame.place - 1, 0, len(frame.stack)))


def _if(_instance: Instance, frame: Frame, one: Any) -> None:
    otherwise, end = frame.jumps[frame.place - 1]
    (taken,) = frame.pop(1)
    if not taken and otherwise == end:
        frame.place = end + 1
        return
    frame.labels.append((end + 1, int(bool(one[1])), len(frame.stack)))
    if not taken:
        frame.place = otherwise + 1


def _else(_instance: Instance, frame: Frame, _one: Any) -> None:
    frame.labels.pop()
    frame.place = frame.jumps[frame.place - 1][1] + 1


def _end(_instance: Instance, frame: Frame, _one: Any) -> None:
    frame.labels.pop()


def _br(_instance: Instance, frame: Frame, one: Any) -> None:
    frame.branch(one[1])


def _br_if(_instance: Instance, frame: Frame, one: Any) -> None:
    if frame.pop(1)[0]:
        frame.branch(one[1])


def _br_table(instance: Instance, frame: Frame, one: Any) -> None:
    targets = one[1]
    (index,) = frame.pop(1)
    frame.branch(targets[instance.semantics.target(index, len(targets) - 1)])


def _return(_instance: Instance, frame: Frame, _one: Any) -> None:
    frame.branch(len(frame.labels) - 1)


def _call(instance: Instance, frame: Frame, one: Any) -> None:
    arguments = frame.pop(len(instance.module.type_of(one[1]).params))
    frame.stack += instance.invoke(one[1], arguments)


def _call_indirect(instance: Instance, frame: Frame, one: Any) -> None:
    wanted = instance.module.types[one[1]]
    (place,) = frame.pop(1)
    if place >= len(instance.table):
        raise Trap("out of bounds table")
    function = instance.table[place]
    if function is None:
        if instance.semantics.checks_element:
            raise Trap("uninitialized element")
        function = 0
    if instance.semantics.checks_signature and instance.module.type_of(function) != wanted:
        raise Trap("indirect call mismatch")
    results = instance.invoke(function, frame.pop(len(wanted.params)))
    frame.stack += results[: len(wanted.results)] or [0] * len(wanted.results)


def _drop(_instance: Instance, frame: Frame, _one: Any) -> None:
    frame.pop(1)


def _select(_instance: Instance, frame: Frame, _one: Any) -> None:
    first, second, chosen = frame.pop(3)
    frame.stack.append(first if chosen else second)


def _constant(_instance: Instance, frame: Frame, one: Any) -> None:
    frame.stack.append(one[1])


def _local_get(_instance: Instance, frame: Frame, one: Any) -> None:
    frame.stack.append(frame.locals[one[1]])


def _local_set(_instance: Instance, frame: Frame, one: Any) -> None:
    (frame.locals[one[1]],) = frame.pop(1)


def _local_tee(_instance: Instance, frame: Frame, one: Any) -> None:
    frame.locals[one[1]] = frame.stack[-1]


def _global_get(instance: Instance, frame: Frame, one: Any) -> None:
    frame.stack.append(instance.globals[one[1]])


def _global_set(instance: Instance, frame: Frame, one: Any) -> None:
    (instance.globals[one[1]],) = frame.pop(1)


def _memory_size(instance: Instance, frame: Frame, _one: Any) -> None:
    frame.stack.append(len(instance.memory) // PAGE)


def _memory_grow(instance: Instance, frame: Frame, _one: Any) -> None:
    (more,) = frame.pop(1)
    now = len(instance.memory) // PAGE
    limits = instance.module.memory
    assert limits is not None
    grown = instance.semantics.grow(now, more, MOST_PAGES if limits.most is None else limits.most)
    if grown is None:
        frame.stack.append(2**32 - 1)
        return
    instance.memory.extend(bytes((grown - now) * PAGE))
    frame.stack.append(now)


def _load(instance: Instance, frame: Frame, one: Any) -> None:
    name, offset, _ = one
    width = opcodes.width_of(name) or 0
    (base,) = frame.pop(1)
    place = instance.address(base, offset, width)
    value = int.from_bytes(instance.memory[place : place + width].ljust(width, b"\0"), "little")
    if name.endswith("_s") and instance.semantics.extends_sign:
        value = to_signed(value, 8 * width) % 2 ** int(name[1:3])
    frame.stack.append(value)


def _store(instance: Instance, frame: Frame, one: Any) -> None:
    name, offset, _ = one
    width = opcodes.width_of(name) or 0
    base, value = frame.pop(2)
    place = instance.address(base, offset, width)
    instance.memory[place : place + width] = (value % 2 ** (8 * width)).to_bytes(width, "little")


def _aligned(base: int, offset: int, width: int) -> None:
    if (base + offset) % width:
        raise Trap("unaligned atomic")


def _atomic_load(instance: Instance, frame: Frame, one: Any) -> None:
    _aligned(frame.stack[-1], one[1], 4)
    _load(instance, frame, one)


def _atomic_store(instance: Instance, frame: Frame, one: Any) -> None:
    _aligned(frame.stack[-2], one[1], 4)
    _store(instance, frame, one)


def _atomic_change(instance: Instance, frame: Frame, one: Any) -> None:
    """rmw.add and cmpxchg: the old value is the result."""
    name, offset, _ = one
    operands = frame.pop(2 if name.endswith("add") else 3)
    _aligned(operands[0], offset, 4)
    place = instance.address(operands[0], offset, 4)
    old = int.from_bytes(instance.memory[place : place + 4], "little")
    new = (old + operands[1]) % 2**32 if len(operands) == 2 else operands[2] if old == operands[1] else old
    instance.memory[place : place + 4] = new.to_bytes(4, "little")
    frame.stack.append(old)


def _fill(instance: Instance, frame: Frame, _one: Any) -> None:
    place, value, length = frame.pop(3)
    _bulk(instance, place, length, len(instance.memory))
    instance.memory[place : place + length] = bytes([value % 256]) * length


def _copy(instance: Instance, frame: Frame, _one: Any) -> None:
    to, of, length = frame.pop(3)
    _bulk(instance, to, length, len(instance.memory))
    _bulk(instance, of, length, len(instance.memory))
    if instance.semantics.copies_overlap:
        instance.memory[to : to + length] = instance.memory[of : of + length]
        return
    for step in range(length):  # a fault: byte by byte, whichever way the two lie
        instance.memory[to + step] = instance.memory[of + step]


def _init(instance: Instance, frame: Frame, one: Any) -> None:
    to, of, length = frame.pop(3)
    content = b"" if one[1] in instance.dropped else bytes(instance.module.data[one[1]].content)
    _bulk(instance, of, length, len(content))
    _bulk(instance, to, length, len(instance.memory))
    instance.memory[to : to + length] = content[of : of + length]


def _bulk(instance: Instance, place: int, length: int, size: int) -> None:
    if not instance.semantics.bulk_in_bounds(place, length, size):
        raise Trap("out of bounds memory")


def _data_drop(instance: Instance, _frame: Frame, one: Any) -> None:
    instance.dropped.add(one[1])


HANDLERS: dict[str, Handler] = {
    "unreachable": _unreachable,
    "nop": _nothing,
    "block": _block,
    "loop": _loop,
    "if": _if,
    "else": _else,
    "end": _end,
    "br": _br,
    "br_if": _br_if,
    "br_table": _br_table,
    "return": _return,
    "call": _call,
    "call_indirect": _call_indirect,
    "drop": _drop,
    "select": _select,
    "local.get": _local_get,
    "local.set": _local_set,
    "local.tee": _local_tee,
    "global.get": _global_get,
    "global.set": _global_set,
    "memory.size": _memory_size,
    "memory.grow": _memory_grow,
    "memory.init": _init,
    "memory.copy": _copy,
    "memory.fill": _fill,
    "data.drop": _data_drop,
    "i32.atomic.load": _atomic_load,
    "i32.atomic.store": _atomic_store,
    "i32.atomic.rmw.add": _atomic_change,
    "i32.atomic.rmw.cmpxchg": _atomic_change,
    **{f"{type_}.const": _constant for type_ in ("i32", "i64", "f32", "f64")},
    **{name: _store if ".store" in name else _load for name in opcodes.MEMORY},
}
