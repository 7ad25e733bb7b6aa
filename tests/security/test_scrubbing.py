"""Errors are stored and shown: passwords and keys in them are not (S33)."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue.access.key import KEY_REGEX
from jobqueue.outcome import MAX_MESSAGE_CHARS, Failure, scrubbed

SECRET = "hunter2hunter2hunter2"
KEY = "jq_live_a1B2c3D4_" + "x" * 43 + "abcdef"

HIDDEN = {
    "redis URL": (f"cannot reach redis://app:{SECRET}@redis:6379/0", "cannot reach redis://app:***@redis:6379/0"),
    "no user": (f"redis://:{SECRET}@redis", "redis://:***@redis"),
    "at sign in it": (f"postgresql://u:p@{SECRET}@db/shop", "postgresql://u:***@db/shop"),
    "query": (f"https://x.example/a?b=1&token={SECRET}&c=2", "https://x.example/a?b=1&token=***&c=2"),
    "header": (f"Authorization: Bearer {SECRET}", "Authorization: ***"),
    "header in a dict": (
        f"{{'Authorization': 'Basic {SECRET}', 'Accept': '*'}}",
        "{'Authorization': '***', 'Accept': '*'}",
    ),
    "header in JSON": (f'{{"x-api-key":"{SECRET}"}}', '{"x-api-key":"***"}'),
    "bytes": (f"[(b'authorization', b'Bearer {SECRET}')]", "[(b'authorization', b'Bearer ***')]"),
    "bearer": (f"refused: bearer {SECRET}", "refused: bearer ***"),
    "our key": (f"key {KEY} is revoked", "key jq_live_a1B2c3D4_*** is revoked"),
}
PLAIN = [
    "no such address: ada@example.org",
    "http://host:80/path?email=ada@example.org",
    "redis://localhost:6379: connection refused",
    "redis://app@redis:6379",
    "a basic idea",
    "the bearer of news",
    "authorization failed",
    "jq_live is no key",
    "ratio 3:4 @ noon",
]


@pytest.mark.parametrize(("text", "shown"), HIDDEN.values(), ids=HIDDEN)
def test_a_password_or_key_is_hidden(text: str, shown: str) -> None:
    assert scrubbed(text) == shown


def test_a_key_of_ours_is_hidden_as_soon_as_it_is_one() -> None:
    assert re.fullmatch(KEY_REGEX, KEY)


@pytest.mark.parametrize("text", PLAIN)
def test_other_text_is_left_alone(text: str) -> None:
    assert scrubbed(text) == text


@pytest.mark.parametrize("text", [text for text, _ in HIDDEN.values()], ids=HIDDEN)
def test_a_failure_hides_it_in_message_and_traceback(text: str) -> None:
    try:
        try:
            raise ConnectionError(text)
        except ConnectionError as error:
            raise ValueError(f"x {text}") from error
    except ValueError as error:
        failure = Failure.of(error)

    for part in (failure.message, failure.traceback):
        assert SECRET not in part
        assert KEY not in part
    assert "ConnectionError" in failure.traceback


@pytest.mark.parametrize("before", range(MAX_MESSAGE_CHARS - 40, MAX_MESSAGE_CHARS, 3))
def test_a_cut_leaves_no_half_of_a_password(before: int) -> None:
    failure = Failure.of(ValueError("x" * before + f" redis://app:{SECRET}@redis" + "y" * 10_000))

    assert "hun" not in failure.message
    assert len(failure.message) <= MAX_MESSAGE_CHARS


@pytest.mark.parametrize(
    "piece", ["://a:", "?token=", "authorization: ", "bearer ", "jq_a_aaaaaaaa_", "://" + "a" * 200]
)
def test_a_long_text_of_beginnings_is_read_step_by_step(piece: str) -> None:
    """Each pattern is bounded: no text makes it look again at all that follows."""
    text = piece * (200_000 // len(piece))

    assert len(scrubbed(text)) <= 2 * len(text)


@given(st.text(alphabet="ab:/@?&=#' \njq_", max_size=200))
def test_any_text_is_scrubbed_to_text_that_stays_as_it_is(text: str) -> None:
    once = scrubbed(text)

    assert scrubbed(once) == once
