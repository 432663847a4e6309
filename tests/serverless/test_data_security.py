"""Planted secrets, inputs, files and caches are found; their harmless neighbours are not."""

import pytest

from reference_impls.serverless.data_security import (
    LeftBehindError,
    canary_test,
    holds,
    nothing_left,
    scan,
    scan_folder,
)

PLANTED = {
    "private key": "-----BEGIN RSA PRIVATE " + "KEY-----",
    "access key id": "found AKIA" + "ABCDEFGHIJKLMNOP in the log",
    "token": "use ghp_" + "a1B2c3D4e5" * 3,
    "bearer header": "Authorization: Bearer " + "abcdef.ghijkl-0123456789",
    "password in an address": "postgres://user:" + "hunter2@localhost/db",
    "assignment": "api_key = '" + "0123456789abcdef'",
}
HARMLESS = [
    "-----BEGIN PUBLIC KEY-----",
    "AKIA is a prefix",
    "sk_learn is a library",
    "the bearer of good news",
    "https://localhost:8080/path@here",
    "token: 17",
    "tokens per second: 123.45678901234",
]
INPUT = "My grandmother lives at the end of Willow Lane"


@pytest.mark.parametrize("what", PLANTED)
def test_a_planted_secret_is_found_with_its_line_and_not_repeated(what):
    [found] = scan(f"started\n{PLANTED[what]}\n")
    assert (found.what, found.line) == (what, 2)
    assert PLANTED[what] not in repr(found)


@pytest.mark.parametrize("line", HARMLESS)
def test_harmless_neighbours_are_left_alone(line):
    assert scan(line) == []


def test_words_of_an_input_are_found_and_ordinary_words_are_not():
    assert [one.what for one in scan("prompt was: my GRANDMOTHER lives, at ...", inputs=[INPUT])] == ["input text"]
    assert scan("the end of a day", inputs=[INPUT]) == []
    assert scan("served 12 tokens", inputs=[INPUT]) == []


def test_artifacts_are_searched_as_bytes(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "weights.bin").write_bytes(b"\x00\xff" + PLANTED["token"].encode() + b"\xfe")
    assert [one.place for one in scan_folder(tmp_path)] == ["deep/weights.bin"]


def test_a_file_that_outlives_its_invocation_is_named(tmp_path):
    with nothing_left(tmp_path):
        (tmp_path / "scratch").write_text("x")
        (tmp_path / "scratch").unlink()
    with pytest.raises(LeftBehindError, match="scratch"), nothing_left(tmp_path):
        (tmp_path / "scratch").write_text("x")


def test_a_planted_global_cache_is_caught_in_answers():
    cache = []

    def leaky(text):
        answer = " ".join(cache)
        cache.append(text)
        return answer

    assert canary_test(leaky).answers == 3
    assert not canary_test(lambda text: text.upper()).found


def test_a_cache_that_is_never_answered_from_is_caught_in_memory():
    kept = {"deep": [{"er": ()}]}

    def silent(text):
        kept["deep"][0]["er"] += (text,)
        return "done"

    leak = canary_test(silent, lambda canary: holds(kept, canary))
    assert (leak.answers, leak.memory) == (0, 3)


def test_the_walk_reaches_closures_attributes_and_bytes_and_ends_on_rings():
    class Thing:
        pass

    thing, ring = Thing(), []
    ring.append(ring)
    thing.data = [ring, bytearray(b"..needle..")]
    assert holds(lambda: thing, "needle")
    assert not holds(ring, "needle")
    assert not holds(thing, "absent")
