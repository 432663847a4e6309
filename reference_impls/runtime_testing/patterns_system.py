"""The system interface, preview 1: files, folders, streams, arguments, clocks, the way out of the folder (B1-B9)."""

from collections.abc import Iterator

from reference_impls.runtime_testing import Call, Case, System
from reference_impls.runtime_testing.outcome import reject, trap, values

MODULE = "wasi_snapshot_preview1"
SIGNATURES: dict[str, str] = {
    "args_get": "ii",
    "args_sizes_get": "ii",
    "clock_res_get": "ii",
    "clock_time_get": "iIi",
    "environ_get": "ii",
    "environ_sizes_get": "ii",
    "fd_advise": "iIIi",
    "fd_allocate": "iII",
    "fd_close": "i",
    "fd_datasync": "i",
    "fd_fdstat_get": "ii",
    "fd_fdstat_set_flags": "ii",
    "fd_filestat_get": "ii",
    "fd_filestat_set_size": "iI",
    "fd_filestat_set_times": "iIIi",
    "fd_pread": "iiiIi",
    "fd_prestat_dir_name": "iii",
    "fd_prestat_get": "ii",
    "fd_pwrite": "iiiIi",
    "fd_read": "iiii",
    "fd_readdir": "iiiIi",
    "fd_renumber": "ii",
    "fd_seek": "iIii",
    "fd_sync": "i",
    "fd_tell": "ii",
    "fd_write": "iiii",
    "path_create_directory": "iii",
    "path_filestat_get": "iiiii",
    "path_link": "iiiiiii",
    "path_open": "iiiiiIIii",
    "path_readlink": "iiiiii",
    "path_remove_directory": "iii",
    "path_rename": "iiiiii",
    "path_symlink": "iiiii",
    "path_unlink_file": "iii",
    "poll_oneoff": "iiii",
    "random_get": "ii",
    "sched_yield": "",
}
"""Functions that give an error number: i for an i32 parameter, I for an i64."""

BAD_FILE, NOT_PERMITTED, NOT_CAPABLE, EXISTS, INVALID, ABSENT = 8, 63, 76, 20, 28, 44
FOLDER = 3
PATHS = {
    "a.txt": 1024,
    "new": 1040,
    "none": 1056,
    "../out": 1072,
    "/etc/passwd": 1088,
    "b.txt": 1104,
    "sub/../a.txt": 1120,
}
DATA = "".join(f'(data (i32.const {place}) "{path}")' for path, place in PATHS.items())
SYSTEM = System(
    arguments=("program", "one", "zwei drei"),
    environment=(("KEY", "value"), ("Z", "")),
    stdin=b"hello, input",
    files=(("a.txt", b"abcdefghij"),),
)


def imports(*names: str) -> str:
    """Import clauses of these functions, each re-exported under its own name."""
    types = {"i": "i32", "I": "i64"}
    text = []
    for name in names:
        params = " ".join(types[one] for one in SIGNATURES[name])
        text.append(f'(import "{MODULE}" "{name}" (func ${name} (param {params}) (result i32)))')
    for name in names:
        params = " ".join(types[one] for one in SIGNATURES[name])
        given = " ".join(f"local.get {place}" for place in range(len(SIGNATURES[name])))
        text.append(f'(func (export "{name}") (param {params}) (result i32) {given} call ${name})')
    return " ".join(text)


HELPERS = """(memory (export "memory") 1)
(func (export "peek") (param i32) (result i32) local.get 0 i32.load)
(func (export "peek8") (param i32) (result i32) local.get 0 i32.load8_u)
(func (export "wide") (param i32) (result i64) local.get 0 i64.load)
(func (export "poke") (param i32 i32) local.get 0 local.get 1 i32.store)
"""


def call(name: str, *given: int, gives: int | tuple[int, ...] | None = 0) -> Call:
    """A call of an interface function (or helper) that gives an error number, one of several, or nothing."""
    types = SIGNATURES.get(name, {"poke": "ii"}.get(name, "i"))
    arguments = tuple((("i32" if type_ == "i" else "i64"), one) for type_, one in zip(types, given, strict=True))
    if gives is None:
        return Call(name, arguments, (), name, expected=(values(),))
    allowed = gives if isinstance(gives, tuple) else (gives,)
    results = ("i64",) if name == "wide" else ("i32",)
    return Call(name, arguments, results, name, expected=tuple(values(one) for one in allowed))


def asked(question: str, content: bytes | int) -> Call:
    """What the host sees afterwards."""
    found = (content,) if isinstance(content, int) else tuple(content)
    return Call(question, label=question.partition(":")[0], expected=(values(*found),))


def open_file(path: str, flags: int = 0, gives: int | tuple[int, ...] = 0, rights: int = 0x600066) -> Call:
    """path_open below the folder; the new descriptor is put at 100. flags: 1 create, 4 only if it is new, 8 empty it"""
    return call("path_open", FOLDER, 1, PATHS[path], len(path), flags, rights, 0, 0, 100, gives=gives)


def vector_at(place: int, buffer: int, length: int) -> list[Call]:
    """One buffer for fd_read or fd_write."""
    return [call("poke", place, buffer, gives=None), call("poke", place + 4, length, gives=None)]


def _case(name: str, leaf: str, functions: tuple[str, ...], calls: list[Call]) -> Case:
    text = f"(module {imports(*functions)} {HELPERS} {DATA})"
    return Case(
        f"system/{name}",
        leaf,
        text,
        tuple(calls),
        label=name,
        keeps_instance=True,
        system=SYSTEM,
        needs=frozenset({"system"}),
    )


def generate() -> Iterator[Case]:
    """Every case of this module."""
    yield from _files()
    yield from _linking()
    yield _streams()
    yield _arguments()
    yield from _clocks()
    yield from _others()


def _files() -> Iterator[Case]:
    used = ("path_open", "fd_read", "fd_write", "fd_seek", "fd_tell", "fd_close", "fd_pread", "fd_filestat_set_size")
    reading = [
        open_file("a.txt"),
        call("peek", 100, gives=4),
        *vector_at(200, 300, 4),
        call("fd_read", 4, 200, 1, 208),
        call("peek", 208, gives=4),
        call("peek", 300, gives=int.from_bytes(b"abcd", "little")),
        call("fd_tell", 4, 216),
        call("wide", 216, gives=4),
        call("fd_seek", 4, 2**64 - 2, 2, 216),
        call("wide", 216, gives=8),
        call("fd_read", 4, 200, 1, 208),
        call("peek", 208, gives=2),
        call("fd_read", 4, 200, 1, 208),
        call("peek", 208, gives=0),
        call("fd_pread", 4, 200, 1, 1, 208),
        call("peek", 300, gives=int.from_bytes(b"bcde", "little")),
        call("fd_seek", 4, 2**64 - 1, 0, 216, gives=INVALID),
        call("fd_close", 4),
        call("fd_close", 4, gives=BAD_FILE),
        call("fd_read", 4, 200, 1, 208, gives=BAD_FILE),
    ]
    yield _case("read a file", "B1", used, reading)
    writing = [
        open_file("new", 1),
        *vector_at(200, PATHS["a.txt"], 5),
        call("fd_write", 4, 200, 1, 208),
        call("fd_write", 4, 200, 1, 208),
        call("fd_close", 4),
        asked("@file:new", b"a.txta.txt"),
        open_file("new", 1 | 4, EXISTS),
        open_file("none", 0, ABSENT),
        open_file("a.txt", 8),
        call("fd_close", 4),
        asked("@file:a.txt", b""),
    ]
    yield _case("write a file", "B1", used, writing)
    changing = (
        "path_rename",
        "path_unlink_file",
        "path_create_directory",
        "path_remove_directory",
        "path_filestat_get",
    )
    a, new, none, b = PATHS["a.txt"], PATHS["new"], PATHS["none"], PATHS["b.txt"]
    yield _case(
        "rename and remove",
        "B1",
        changing,
        [
            call("path_rename", FOLDER, a, 5, FOLDER, b, 5),
            asked("@exists:a.txt", 0),
            asked("@file:b.txt", b"abcdefghij"),
            call("path_rename", FOLDER, none, 4, FOLDER, a, 5, gives=ABSENT),
            call("path_filestat_get", FOLDER, 0, b, 5, 400),
            call("wide", 432, gives=10),
            call("path_create_directory", FOLDER, new, 3),
            call("path_create_directory", FOLDER, new, 3, gives=EXISTS),
            call("path_remove_directory", FOLDER, new, 3),
            call("path_unlink_file", FOLDER, b, 5),
            call("path_unlink_file", FOLDER, b, 5, gives=ABSENT),
        ],
    )
    out, absolute = PATHS["../out"], PATHS["/etc/passwd"]
    refused = (NOT_PERMITTED, NOT_CAPABLE, ABSENT)
    yield _case(
        "leave the folder",
        "B1",
        ("path_open", "path_create_directory", "path_rename", "path_filestat_get"),
        [
            open_file("../out", 1, refused),
            asked("@exists:../out", 0),
            open_file("/etc/passwd", 0, refused),
            call("path_create_directory", FOLDER, out, 6, gives=refused),
            call("path_rename", FOLDER, a, 5, FOLDER, out, 6, gives=refused),
            call("path_filestat_get", FOLDER, 0, absolute, 11, 400, gives=refused),
            asked("@exists:../out", 0),
            asked("@exists:a.txt", 1),
        ],
    )


def _linking() -> Iterator[Case]:
    yield _case("all functions", "B3", tuple(SIGNATURES), [])
    system = frozenset({"system", "signatures"})
    for label, clause in (
        ("function that is none", '"no_such_function" (func)'),
        ("other signature", '"fd_close" (func (param i64) (result i32))'),
    ):
        text = f'(module (import "{MODULE}" {clause}) {HELPERS})'
        yield Case(f"system/{label}", "B2", text, (), (reject("link"),), label, system=SYSTEM, needs=system)


def _streams() -> Case:
    calls = [
        *vector_at(200, PATHS["a.txt"], 5),  # one buffer: of several, a write may take the first only
        call("fd_write", 1, 200, 1, 220),
        call("peek", 220, gives=5),
        asked("@stdout", b"a.txt"),
        *vector_at(200, 300, 5),
        call("fd_read", 0, 200, 1, 220),
        call("peek", 220, gives=5),
        call("peek8", 300, gives=ord("h")),
        call("fd_write", 0x7FFFFFFF, 200, 1, 220, gives=BAD_FILE),
        call("fd_write", 1, 200, 0, 220),
        call("peek", 220, gives=0),
    ]
    return _case("streams", "B4", ("fd_write", "fd_read"), calls)


def _arguments() -> Case:
    """What the guest is told of its arguments and environment, and what it then finds, are counterparts."""
    calls = [
        call("args_sizes_get", 100, 104),
        call("peek", 100, gives=3),
        call("peek", 104, gives=len(b"program\0one\0zwei drei\0")),
        call("args_get", 200, 300),
        call("peek", 200, gives=300),
        call("peek", 208, gives=312),
        call("peek", 312, gives=int.from_bytes(b"zwei", "little")),
        call("environ_sizes_get", 100, 104),
        call("peek", 100, gives=2),
        call("peek", 104, gives=len(b"KEY=value\0Z=\0")),
        call("environ_get", 400, 500),
        call("peek", 400, gives=500),
        call("peek", 500, gives=int.from_bytes(b"KEY=", "little")),
    ]
    return _case("arguments", "B7", ("args_sizes_get", "args_get", "environ_sizes_get", "environ_get"), calls)


def _clocks() -> Iterator[Case]:
    """Two readings of a clock that may not go back are compared inside, so that the answer is the same for all."""
    text = f"""(module {imports("clock_time_get", "clock_res_get")} {HELPERS}
      (func (export "forward") (result i32) i32.const 1 i64.const 1 i32.const 104 call $clock_time_get drop
        i32.const 1 i64.const 1 i32.const 112 call $clock_time_get drop
        i32.const 104 i64.load i32.const 112 i64.load i64.le_u)
      (func (export "since-1970") (result i32) i32.const 0 i64.const 1 i32.const 104 call $clock_time_get drop
        i32.const 104 i64.load i64.const 1500000000000000000 i64.gt_u))"""
    one = (values(1),)
    calls = (
        Call("forward", (), ("i32",), "monotonic clock", expected=one),
        Call("since-1970", (), ("i32",), "clock of the day", expected=one),
        call("clock_res_get", 1, 104),
        call("clock_time_get", 99, 1, 104, gives=INVALID),
        call("clock_res_get", 99, 104, gives=INVALID),
    )
    yield Case("system/clocks", "B8", text, calls, label="clocks", system=SYSTEM, needs=frozenset({"system"}))


def _others() -> Iterator[Case]:
    calls = [
        call("random_get", 100, 0),
        call("random_get", 100, 64),
        call("sched_yield"),
        call("fd_prestat_get", FOLDER, 100),
        call("peek", 104, gives=1),
        call("fd_prestat_get", 50, 100, gives=BAD_FILE),
        call("fd_prestat_dir_name", FOLDER, 200, 1),
        call("peek8", 200, gives=ord("/")),
        call("poll_oneoff", 100, 200, 0, 300, gives=INVALID),
        call("fd_close", 99, gives=BAD_FILE),
    ]
    used = ("random_get", "sched_yield", "fd_prestat_get", "fd_prestat_dir_name", "poll_oneoff", "fd_close")
    yield _case("others", "B9", used, calls)
    text = f"""(module (import "{MODULE}" "proc_exit" (func $exit (param i32))) {HELPERS}
      (func (export "leave") i32.const 3 call $exit unreachable))"""
    leave = (Call("leave", label="proc_exit", expected=(trap("exit"),)),)
    yield Case("system/exit", "B9", text, leave, label="proc_exit", system=SYSTEM, needs=frozenset({"system"}))
