"""Each format in small, and every kind of broken line named by its number."""

import json
import time

import pytest

from reference_impls.serving import Request
from reference_impls.serving.trace_files import Config, TraceError, load_azure, load_burstgpt, load_sharegpt

AZURE = (
    "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:48.1805900,20,7\n"
)
BURST = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,ChatGPT,472,18,490,Conversation log\n"


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "trace"
        path.write_text(text, "utf-8")
        return path

    return write


def test_azure(written):
    found = load_azure(written(AZURE))
    assert [(one.prompt, one.output) for one in found] == [(374, 44), (20, 7)]
    assert [one.arrival_s for one in found] == pytest.approx([0.0, 1.5], abs=1e-6)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_azure_of_2024_has_a_zone_and_no_clock_of_ours_changes_a_time(written, zone, monkeypatch):
    """In Berlin clocks went from 2 to 3 on 31 March 2024."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        head = AZURE.partition("\n")[0]
        rows = [
            "2024-03-31 00:59:59.009930+00:00,374,44",
            "2024-03-31T01:00:00.509930Z,20,7",
            "2024-03-31 01:00:01,5,6",
        ]
        rows += ["2024-03-31 04:00:02+02:00,9,9"]
        found = load_azure(written("\n".join([head, *rows])))
        assert [one.arrival_s for one in found] == pytest.approx([0.0, 1.5, 1.99007, 3602.99007], abs=1e-5)
        gap = load_azure(written(f"{head}\n2024-03-31 01:59:59,1,1\n2024-03-31 03:00:00,1,1\n"))
        assert gap[1].arrival_s == 3601
    finally:
        monkeypatch.undo()
        time.tzset()


def test_burstgpt_leaves_out_failed_requests(written):
    found = load_burstgpt(
        written(BURST + "9,GPT-4,10,0,10,API log\n9,GPT-4,10,0.0,10,API log\n7.5,GPT-4,10,3,13,API log\n")
    )
    assert found == [Request(0, 0.0, 472, 18), Request(1, 2.5, 10, 3)]


def test_sharegpt_keeps_first_pairs_within_the_limits(written):
    talks = [["a b", "c", "d"], ["x " * 9, "y"], ["alone"], ["a", "b " * 30], ["p q r", "s t"]]
    text = json.dumps([{"conversations": [{"from": "human", "value": turn} for turn in talk]} for talk in talks])
    found = load_sharegpt(written(text), lambda words: len(words.split()), Config(max_prompt=8, max_total=20))
    assert [(one.prompt, one.output) for one in found] == [(2, 1), (3, 2)]
    assert 0 < found[0].arrival_s < found[1].arrival_s


@pytest.mark.parametrize(
    ("load", "text", "message"),
    [
        (load_azure, AZURE.replace("ContextTokens", "Context"), r":1: .*ContextTokens"),
        (load_azure, AZURE.replace("374", "many"), r":2: ContextTokens: expected a number, got 'many'"),
        (load_azure, AZURE.replace("20,7", "20,-7"), r":3: GeneratedTokens"),
        (load_azure, AZURE.replace("20,7", "2.5,7"), r":3: ContextTokens: expected a whole number"),
        (load_azure, AZURE.replace("2023-11-16 18:15:48", "yesterday"), r":3: TIMESTAMP"),
        (load_azure, AZURE.replace(",20,7", ""), r":3: the line has too few fields"),
        (load_azure, AZURE.partition("\n")[0] + "\n", "no requests"),
        (load_azure, AZURE.replace("46.6805900", "46.9e999"), r":2: TIMESTAMP"),
        (load_azure, AZURE.replace("46.6805900", "46.9e5"), r":2: TIMESTAMP"),
        (load_azure, AZURE.replace("2023-11-16", "2023-13-16"), r":2: TIMESTAMP"),
        (load_azure, AZURE.replace("374", "3" * 200_000), r":2: cannot be read as CSV: field larger"),
        (load_burstgpt, BURST.replace("472", "nan"), r":2: Request tokens"),
        (load_burstgpt, BURST.replace("5,Chat", "-5,Chat"), r":2: Timestamp: expected a number of 0 or more"),
    ],
)
def test_a_broken_line_is_named(written, load, text, message):
    with pytest.raises(TraceError, match=message):
        load(written(text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[\n{"conversations": [}]', ":2: not JSON"),
        ("{}", ":1: expected a list"),
        ("[1]", "conversation 0: expected a mapping"),
        ('[{"conversations": [{"value": 1}]}]', "conversation 0: each turn"),
        ("[" * 100_000, "cannot be read as JSON"),
        ("[" + "9" * 5000 + "]", "cannot be read as JSON"),
        ('\ufeff[{"conversations": [{"value": "alone"}]}]', "no requests"),
    ],
)
def test_broken_conversations_are_named(written, text, message):
    with pytest.raises(TraceError, match=message):
        load_sharegpt(written(text), len)


@pytest.mark.parametrize("load", [load_azure, load_burstgpt, lambda path: load_sharegpt(path, len)])
def test_what_is_not_text_is_named(tmp_path, load):
    path = tmp_path / "trace"
    path.write_bytes((AZURE.partition("\n")[0] + "\n").encode() + b"\xff\xfe\x00")
    with pytest.raises(TraceError, match="not UTF-8"):
        load(path)


@pytest.mark.parametrize("arrival_s", [float("nan"), float("inf"), -1.0])
def test_a_request_needs_a_time(arrival_s):
    with pytest.raises(ValueError, match="finite arrival"):
        Request(0, arrival_s, 4, 4)
