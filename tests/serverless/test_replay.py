"""Recordings repeat byte by byte; faults find functions that are not idempotent, and spare those that are."""

import json

import numpy as np
import pytest

from reference_impls.serverless.replay import (
    KINDS,
    Fault,
    Recorded,
    Store,
    check_idempotence,
    dump,
    parse,
    replay,
)


def recording(count=100):
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.exponential(2.0, count)).round(3)
    return [Recorded(f"e{n}", float(at), {"amount": int(rng.integers(1, 9))}) for n, at in enumerate(times)]


def read_total(store):
    return json.loads(store.read("total") or b"0")


def careless(event, context):
    """Adds at every delivery, and writes in place."""
    total = read_total(context.store) + event["amount"]
    context.clock.sleep(0.25)
    context.store.write("total", json.dumps(total).encode())
    return {"total": total, "at": context.clock.now_s}


def careful(event, context):
    """Adds once for each id, in one write that is all or nothing."""
    book = json.loads(context.store.read("book") or b"{}")
    book.setdefault(context.id, event["amount"])
    context.store.replace("book", json.dumps(book, sort_keys=True).encode())
    return {"amount": book[context.id]}


def test_a_hundred_events_replay_byte_by_byte():
    events = parse(dump(recording()))
    assert dump(events) == dump(recording())
    faults = [Fault(7, "timeout"), Fault(30, "duplicate"), Fault(55, "out-of-memory")]
    first, second = (replay(careless, events, faults).encode() for _ in range(2))
    assert first == second
    assert len(first.splitlines()) == 103  # each fault costs one delivery more
    assert first != replay(careless, events).encode()


@pytest.mark.parametrize("kind", KINDS)
def test_an_idempotent_function_survives_every_fault(kind):
    verdict = check_idempotence(careful, recording(20), [Fault(3, kind), Fault(11, kind)])
    assert verdict.idempotent, verdict.differs


@pytest.mark.parametrize("kind", ["timeout", "duplicate"])
def test_a_function_that_adds_at_every_delivery_is_found_out(kind):
    verdict = check_idempotence(careless, recording(20), [Fault(3, kind)])
    assert not verdict.idempotent
    assert "store total" in verdict.differs


def test_a_write_that_is_cut_leaves_half_and_a_replace_leaves_the_old():
    store = Store({"name": b"old!"}, cut=True)
    with pytest.raises(Exception, match="name"):
        store.replace("name", b"new bytes")
    assert store.read("name") == b"old!"
    store.cut = True
    with pytest.raises(Exception, match="name"):
        store.write("name", b"new bytes!")
    assert store.read("name") == b"new b"


def test_faults_are_in_the_log_and_the_clock_shows_them():
    [late, again] = [json.loads(one) for one in replay(careful, recording(1), [Fault(0, "timeout")], 5.0).splitlines()]
    assert late["error"] == "TimedOutError"
    assert again["response"]
    assert again["at_s"] >= late["at_s"] >= 10


def test_what_always_fails_is_given_up():
    def broken(event, context):
        raise RuntimeError("always")

    assert replay(broken, recording(1)).count("RuntimeError") == 3
