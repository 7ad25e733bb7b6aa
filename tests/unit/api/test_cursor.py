"""Cursors belong to one list with one filter."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue.api.cursor import seal, unseal
from jobqueue.api.problem import Refusal


@given(st.text(max_size=100), st.text(max_size=100))
def test_a_cursor_comes_back_as_it_was(inner: str, of: str) -> None:
    assert unseal(seal(inner, of=of), of=of) == inner


def test_the_end_has_no_cursor() -> None:
    assert seal(None, of="/jobs {}") is None
    assert unseal(None, of="/jobs {}") is None


@pytest.mark.parametrize("shown", ["", "A", "AAAA", "not base64!", "=", seal("5-1", of="/dlq {}"), "é"])
def test_another_text_is_refused(shown: str) -> None:
    with pytest.raises(Refusal, match="next_cursor"):
        unseal(shown, of="/jobs {}")
