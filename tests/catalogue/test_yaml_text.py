"""YAML as the entries use it: the right data, the right spots, and the same answer as other readers where both read."""

from datetime import date

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from scripts.catalogue import yaml_text
from scripts.catalogue.yaml_text import YamlError, decode, read

TYPED = [
    ("", None), ("~", None), ("null", None), ("true", True), ("false", False),
    ("0", 0), ("-12", -12), ("+7", 7), ("1000000000000000000000", 10**21),
    ("2.50", 2.5), (".5", 0.5), ("-1.5e-3", -0.0015), ("1e6", 1e6), ("0.00012345678901234567", 0.00012345678901234567),
    ("2024-02-29", date(2024, 2, 29)),
]  # fmt: skip
PLAIN = [
    "no", "yes", "on", "off", "NULL", "True", "0x1F", "0o17", "012", "1_000", "1:30", "2024-02-30", "2024-1-1", ".inf",
    ".nan", "2401.08092v1", "1/5.1", "=", "1.2.3", "+", ".", "1e", "2O24",
]  # fmt: skip
ARABIC_INDIC = "٢٠٢٤"


@pytest.mark.parametrize(("raw", "value"), TYPED)
def test_a_plain_scalar_has_the_type_it_looks_like(raw, value):
    data = read(f"a: {raw}").data["a"]
    assert data == value and type(data) is type(value)


@pytest.mark.parametrize("raw", [*PLAIN, ARABIC_INDIC])
def test_a_plain_scalar_that_is_no_number_date_or_constant_is_text(raw):
    assert read(f"a: {raw}").data["a"] == raw


@pytest.mark.parametrize("raw", [raw for raw, _ in TYPED])
@pytest.mark.parametrize("quote", ["'", '"'])
def test_quotes_make_text_of_anything(raw, quote):
    assert read(f"a: {quote}{raw}{quote}").data["a"] == raw


def test_keys_are_text_whatever_they_look_like():
    assert read("1: a\ntrue: b\nnull: c\n2024-01-01: d").data == {"1": "a", "true": "b", "null": "c", "2024-01-01": "d"}


def test_spots_of_a_worked_example():
    spots = read("# a comment\na: 1.50\nb:\n  - {c: 'x', d: [y]}\n  - z\n", with_spots=True).spots
    told = {path: (spot.line, spot.column, spot.raw) for path, spot in spots.items()}
    assert told == {
        (): (2, 1, None),
        ("a",): (2, 4, "1.50"),
        ("b",): (4, 3, None),
        ("b", 0): (4, 5, None),
        ("b", 0, "c"): (4, 9, "x"),
        ("b", 0, "d"): (4, 17, None),
        ("b", 0, "d", 0): (4, 18, "y"),
        ("b", 1): (5, 5, "z"),
    }


# A float whose text YAML 1.1 does not take for one (1e3) is where the readers differ on purpose; so are .inf and .nan.
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**25), 10**25),
    st.floats(1e-9, 1e15),
    st.dates(),
    st.text(
        st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters="\ufeff"),
        max_size=20,
    ),
)
KEYS = st.from_regex(r"[a-z]{3,8}", fullmatch=True).filter(
    lambda word: word not in ("yes", "off", "null", "true", "false")
)
DATA = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)


def _depth(data: object) -> int:
    children = data.values() if isinstance(data, dict) else data if isinstance(data, list) else []
    return 1 + max(map(_depth, children), default=0)


def _texts(data: object) -> list[str]:
    children = data.values() if isinstance(data, dict) else data if isinstance(data, list) else []
    return [data] if isinstance(data, str) else [text for child in children for text in _texts(child)]


@given(DATA, st.booleans())
def test_what_pyyaml_writes_is_read_as_pyyaml_reads_it(data, flow):
    assume(_depth(data) <= yaml_text.MAX_DEPTH)
    assume(not any(yaml_text._scalar(text) != text for text in _texts(data) if text))
    text = yaml.safe_dump(data, allow_unicode=True, default_flow_style=flow)
    assert read(text).data == yaml.safe_load(text)


@given(DATA)
def test_every_spot_is_where_its_scalar_begins(data):
    assume(_depth(data) <= yaml_text.MAX_DEPTH)
    text = yaml.safe_dump(data, allow_unicode=True, width=10_000)
    lines = text.split("\n")
    for path, spot in read(text, with_spots=True).spots.items():
        value = data
        for part in path:
            value = value[part]
        written = lines[spot.line - 1][spot.column - 1 :]
        if spot.raw and "\n" not in spot.raw:
            assert written.lstrip("'\"").startswith(spot.raw[:1].strip("'\"")) or written[:1] == '"'
        elif isinstance(value, list | dict) and not value:
            assert written[:2] in ("[]", "{}")


@given(st.text(max_size=200) | st.text(st.sampled_from(list("ab:-#[]{},'\"\n &*!|>%@?<~")), max_size=60))
def test_any_text_is_read_or_refused_with_a_place_inside_it(text):
    try:
        read(text, with_spots=True)
    except YamlError as error:
        assert 1 <= error.line <= len(text.splitlines()) + 2 and error.column >= 1
        assert error.message and error.hint


@given(st.binary(max_size=100))
def test_any_bytes_are_text_or_refused(content):
    try:
        assert decode(content).encode() in (content, content.removeprefix(b"\xef\xbb\xbf"))
    except YamlError as error:
        assert error.hint


@given(DATA)
def test_the_pure_parser_reads_the_same(data):
    text = yaml.safe_dump(data, allow_unicode=True)
    assume(_depth(data) <= yaml_text.MAX_DEPTH)
    fast = read(text, with_spots=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yaml_text, "LOADER", yaml.SafeLoader)
        slow = read(text, with_spots=True)
    assert (slow.data, slow.spots) == (fast.data, fast.spots)


def test_the_limit_of_depth_is_exact():
    def nested(depth):
        return "[" * depth + "]" * depth

    assert read(nested(yaml_text.MAX_DEPTH + 1)).data
    with pytest.raises(YamlError, match="nests deeper"):
        read(nested(yaml_text.MAX_DEPTH + 2))


def test_the_limits_of_size_are_exact():
    assert len(read("[" + "a," * (yaml_text.MAX_NODES - 1) + "]").data) == yaml_text.MAX_NODES - 1
    with pytest.raises(YamlError, match="holds more"):
        read("[" + "a," * yaml_text.MAX_NODES + "]")
    assert decode(b"a" * yaml_text.MAX_BYTES)
    with pytest.raises(YamlError, match="at most"):
        decode(b"a" * (yaml_text.MAX_BYTES + 1))
    assert decode(b"a" * (yaml_text.MAX_BYTES + 1), limit=None)
