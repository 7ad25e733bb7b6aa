"""What is refused of a schedule, in the words of HTTP: its names of fields, and which of them is at fault. Pure."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal

from jobqueue.api.problem import Refusal
from jobqueue.errors import InvalidSchedule

_FIELDS: Final = {
    "when seconds=True is given": "when `seconds` is true",
    "with seconds=True": "when `seconds` is true",
    "with timezone=": "in `timezone`",
    "with jitter=": "with `jitter`",
    "until must be after since": "`to` must be after `from`",
    "until must": "`to` must",
}
_BEGINNINGS: Final = {
    "cron expression ": "expression",
    "a cron expression ": "expression",
    "no time zone ": "timezone",
    "timezone ": "timezone",
    "max_catchup ": "max_catchup",
    "grace ": "grace",
    "jitter ": "jitter",
    "until ": "to",
    "limit ": "limit",
}


@contextmanager
def in_fields(where: Literal["body", "query"]) -> Iterator[None]:
    """Let errors name the fields of a request's body or query, not the parameters of Python.

    Raises:
        Refusal: in place of `InvalidSchedule`; where one field is at fault, `errors` names it.
    """
    try:
        yield
    except InvalidSchedule as error:
        words = text = str(error)
        for parameter, name in _FIELDS.items():
            words = words.replace(parameter, name)
        field = next((field for beginning, field in _BEGINNINGS.items() if text.startswith(beginning)), None)
        rule = words.removeprefix(f"{field} ").removeprefix(f"`{field}` ")  # loc says which
        errors = [{"loc": [where, field], "msg": rule}] if field else None
        raise Refusal("invalid-schedule", words, errors=errors) from error
