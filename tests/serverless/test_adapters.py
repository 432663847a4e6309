"""The same events through three doors give the same bytes and the same errors."""

import io
import json
import threading
import urllib.error
import urllib.request

import pytest

from reference_impls.serverless import EventError
from reference_impls.serverless.adapters import EXIT_CODES, LARGEST, batch, command_line, http_server, respond

EVENTS = [
    '{"text": "two words"}',
    '{"text": "ünïcode ✓"}',
    "{}",
    "not json",
    "[1, 2]",
    '{"text": "fail"}',
]


def function(event):
    if "text" not in event:
        raise EventError("text is missing")
    if event["text"] == "fail":
        raise RuntimeError("with a secret in it")
    return event["text"].upper().split()


@pytest.fixture(scope="module")
def address():
    server = http_server(function)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


def by_http(address, body):
    try:
        with urllib.request.urlopen(urllib.request.Request(address, body.encode(), method="POST")) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@pytest.mark.parametrize("body", EVENTS)
def test_every_door_gives_the_same(body, address):
    status, answer = respond(function, body.encode())
    out = io.StringIO()
    assert command_line(function, io.StringIO(body), out) == EXIT_CODES[status]
    assert out.getvalue().encode() == answer + b"\n"
    assert by_http(address, body) == (status, answer)
    assert [*batch(function, [body + "\n"])] == [answer.decode() + "\n"]


def test_a_bad_line_costs_only_its_own_answer():
    answers = [json.loads(line) for line in batch(function, EVENTS)]
    assert ["result" in one for one in answers] == [True, True, False, False, False, False]


def test_statuses_tell_whose_mistake_it_was():
    assert [respond(function, body.encode())[0] for body in EVENTS] == [200, 200, 400, 400, 400, 500]


def test_messages_of_the_functions_own_mistakes_stay_inside():
    assert b"secret" not in respond(function, b'{"text": "fail"}')[1]


def test_events_that_are_too_large_are_refused():
    status, answer = respond(function, b" " * (LARGEST + 1))
    assert status == 400
    assert b"at most" in answer
