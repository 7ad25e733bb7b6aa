"""What a job brings with it forges no log line and moves no terminal (S32)."""

import json
import logging
from collections.abc import Callable

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from jobqueue.cli.log import configure_logging, escaped
from jobqueue.config import LogSettings

FORGED = "fine\r\n2026-11-22 10:00:00 [info     ] job.completed job_id=1"
CORPUS = [
    FORGED,
    "a\nb",
    "\x1b[2J\x1b]0;title\x07",
    "\x1b[31mred",
    "\x9b2J",
    "\x08" * 80,
    "\u202etxt.exe",
    "\u2028line",
    "\x00",
    "\x7f",
]


def as_event(text: str) -> None:
    structlog.get_logger("t").warning(text)


def as_field(text: str) -> None:
    structlog.get_logger("t").warning("job.dead", error=text, job_id="1")


def in_a_list(text: str) -> None:
    structlog.get_logger("t").warning("job.dead", errors=[text], by={"name": text})


def as_a_handlers_own_record(text: str) -> None:
    logging.getLogger("shop").warning("got %s", text)


WAYS = [as_event, as_field, in_a_list, as_a_handlers_own_record]


@pytest.mark.parametrize("text", CORPUS, ids=ascii)
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("form", ["console", "json"])
def test_a_text_stays_in_its_line_and_harmless(
    capsys: pytest.CaptureFixture[str], form: str, way: Callable[[str], None], text: str
) -> None:
    configure_logging(LogSettings(level="debug", format=form))

    way(text)

    said = capsys.readouterr().err
    assert said.endswith("\n")
    assert said[:-1].isprintable(), ascii(said)
    assert form == "console" or json.loads(said)["level"] == "warning"


@pytest.mark.parametrize("form", ["console", "json"])
@pytest.mark.parametrize("text", CORPUS, ids=ascii)
def test_a_traceback_has_more_lines_and_nothing_that_a_terminal_obeys(
    capsys: pytest.CaptureFixture[str], form: str, text: str
) -> None:
    configure_logging(LogSettings(level="debug", format=form))

    try:
        raise ValueError(text)
    except ValueError:
        structlog.get_logger("t").exception("worker.failed")

    said = capsys.readouterr().err
    assert "ValueError" in said
    assert all(line.isprintable() for line in said.split("\n")), ascii(said)


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_traceback_that_is_a_text_already_keeps_its_lines(capsys: pytest.CaptureFixture[str], form: str) -> None:
    configure_logging(LogSettings(level="debug", format=form))

    structlog.get_logger("t").error("api.failed", exception="Traceback:\n  \x1b[2J\nValueError: x")

    said = capsys.readouterr().err
    assert said.count("\n") == (4 if form == "console" else 1)
    assert "\x1b[2J" not in said


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_password_is_masked_wherever_it_stands_in_a_line(capsys: pytest.CaptureFixture[str], form: str) -> None:
    """S33: in an event, in a field, in a handler's own record, in a traceback."""
    configure_logging(LogSettings(level="debug", format=form))
    text = "cannot reach redis://app:hunter2@redis"

    for way in (as_event, as_field, as_a_handlers_own_record):
        way(text)
    try:
        raise ConnectionError(text)
    except ConnectionError:
        structlog.get_logger("t").exception("worker.failed")
        logging.getLogger("shop").exception("failed")

    said = capsys.readouterr().err
    assert said.count("redis://app:***@redis") == 5
    assert "hunter2" not in said


def test_what_is_printable_is_left_as_it_is() -> None:
    assert escaped("Grüße, 你好 😀") == "Grüße, 你好 😀"
    assert escaped("a\r\n\x1b[0m\u202e") == "a\\r\\n\\x1b[0m\\u202e"


@given(st.text(alphabet=st.characters(exclude_categories=[])))
def test_any_text_is_printable_once_escaped(text: str) -> None:
    assert escaped(text).isprintable()
