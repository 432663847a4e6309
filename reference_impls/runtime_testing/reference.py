"""What a case should give: its own expectations, and the interpreter's answers where it has none."""

from collections.abc import Callable, Sequence
from functools import cache

from reference_impls.runtime_testing import Case
from reference_impls.runtime_testing.interpreter import REFERENCE, Host, Instance, LinkError, OutOfFuelError, Semantics
from reference_impls.runtime_testing.module import FuncType, Module
from reference_impls.runtime_testing.outcome import LOADED, Outcome, Trap, reject, trap, values
from reference_impls.runtime_testing.wat import parse

Allowed = tuple[Outcome, ...]


def _fail() -> tuple[int, ...]:
    raise Trap("host")


def _same(value: int) -> tuple[int, ...]:
    return (value,)


HOST: dict[str, tuple[FuncType, Host]] = {
    **{f"same_{type_}": (FuncType((type_,), (type_,)), _same) for type_ in ("i32", "i64", "f32", "f64")},
    "pair": (FuncType((), ("i64", "i32")), lambda: (2**64 - 1, 7)),
    "fail": (FuncType(), _fail),
}
"""What every driver offers under the module name `host`."""


@cache
def _parsed(text: str) -> Module:
    return parse(text)


def interpret(case: Case, semantics: Semantics = REFERENCE) -> list[Outcome]:
    """Outcome of loading, then of each call, by the interpreter; a module in bytes, or of the system, is not run."""
    if isinstance(case.module, bytes) or case.system:
        return [Outcome("unsupported")] * (1 + len(case.calls))
    module = _parsed(case.module) if isinstance(case.module, str) else case.module
    if any(one.module != "host" for one in module.imports):
        return [reject("link")] * (1 + len(case.calls))
    instances: list[Instance] = []

    def start() -> Outcome:
        instances[:] = [Instance(module, HOST, semantics)]
        return LOADED

    loaded = _attempt(start)
    if loaded != LOADED:
        return [loaded] * (1 + len(case.calls))
    found = [loaded]
    for call in case.calls:
        found.append(_attempt(lambda call=call: values(*instances[0].call(call.export, _bits(call.arguments)))))  # type: ignore[misc]
        if found[-1].kind != "values" and not case.keeps_instance:
            start()
    return found


def _bits(arguments: Sequence[tuple[str, int]]) -> list[int]:
    return [bits for _, bits in arguments]


def _attempt(action: Callable[[], Outcome]) -> Outcome:
    try:
        return action()
    except Trap as error:
        return trap(error.kind)
    except LinkError:
        return reject("link")
    except OutOfFuelError:
        return Outcome("timeout")
    except (KeyError, IndexError, TypeError, RecursionError) as error:  # an instruction it does not know, or a fault
        return Outcome("unsupported" if isinstance(error, KeyError) else "crash")


@cache
def expected(case: Case) -> list[Allowed]:
    """What loading and each call may end in."""
    answers: list[Outcome] = [] if all(call.expected for call in case.calls) else interpret(case)
    calls = [call.expected or (answers[place],) for place, call in enumerate(case.calls, 1)]
    return [case.loads, *calls]
