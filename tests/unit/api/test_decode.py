"""JSON is read in one way only."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue.api.decode import NotJson, read_json

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(_VALUES)
def test_whatever_json_can_say_is_read_as_it_was_meant(value: object) -> None:
    assert read_json(json.dumps(value).encode()) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with suppress(NotJson):
        read_json(body)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"a": 1, "a": 2}', "one name twice"),
        (b'[{"a": {"b": 1, "b": 1}}]', "one name twice"),
        (b"NaN", "NaN"),
        (b"[-Infinity]", "-Infinity"),
        (b"1e400", "double"),
        (b"9" * 10_000, "digits"),
        (b'"\\udc00"', "surrogate"),
        (b'{"\\ud800": 1}', "surrogate"),
        (b"[" * 65 + b"]" * 65, "64 levels"),
        (b'{"a":' * 100_000, "64 levels"),
        (b"{", "line 1, column 2"),
        (b"", "column 1"),
        (b"\xef\xbb\xbf{}", "column 1"),
        (b"\xff", "UTF-8"),
        (b"'a'", "Expecting value"),
    ],
)
def test_other_texts_are_refused_with_the_reason(body: bytes, why: str) -> None:
    with pytest.raises(NotJson, match=why):
        read_json(body)


def test_64_levels_and_pairs_of_surrogates_are_good() -> None:
    assert read_json(b"[" * 64 + b"]" * 64)
    assert read_json(b'["[[[[", "\\ud83d\\ude00"]') == ["[[[[", "\U0001f600"]
    assert read_json(b'"' + b"[" * 100 + b'"') == "[" * 100


def test_a_refusal_does_not_tell_the_text() -> None:
    with pytest.raises(NotJson) as caught:
        read_json(b'{"password": "hunter2", "password": "hunter2"}')

    assert "hunter2" not in str(caught.value)
