"""Opaque cursors: the last row of a page as text; the next page begins after it."""

import base64
import binascii
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

import msgspec

from jobqueue.errors import ConfigError
from jobqueue.outcome import storable

_MICROSECOND: Final = timedelta(microseconds=1)
_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
_Facts = TypeVar("_Facts")


def write_place(at: datetime, *facts: object) -> str:
    """The place of a row that is sorted by an instant, and then by *facts*."""
    place = ((at - _BEGINNING) // _MICROSECOND, facts)
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def read_place(cursor: str, facts: type[_Facts]) -> tuple[datetime, _Facts]:
    """What `write_place` wrote, its *facts* of these types.

    Raises:
        ConfigError: it did not write this.
    """
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        kind: Any = tuple[int, facts]  # type: ignore[valid-type]
        at_us, read = msgspec.json.decode(text, type=kind)
        return _BEGINNING + at_us * _MICROSECOND, read
    except (binascii.Error, msgspec.MsgspecError, ValueError, OverflowError) as error:
        raise ConfigError(
            f"cursor must be one that the page before returned, got {storable(cursor)[:64]!r}; "
            f"leave it out to begin at the newest"
        ) from error
