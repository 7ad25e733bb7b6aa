"""What an entry of the audit log may hold, whatever its writer was given: texts that any store and any reader can
hold, and no more of them than is of use."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from jobqueue.access.base import AuditEntry
from jobqueue.outcome import storable

_LONGEST_TEXT: Final = 300
_MOST_DETAIL: Final = 4096


def fit(entry: AuditEntry) -> AuditEntry:
    """*entry* as every store keeps it: without NUL and lone surrogates, its texts cut, its detail plain JSON."""
    return msgspec.structs.replace(
        entry,
        actor=text(entry.actor),
        action=text(entry.action),
        target=text(entry.target),
        detail=_detail(entry.detail),
        address=text(entry.address),
        request_id=text(entry.request_id),
    )


def text(given: str) -> str:
    """A text as it is kept; a filter has to be the same."""
    return storable(given[:_LONGEST_TEXT])


def _detail(given: Mapping[str, object]) -> Mapping[str, object]:
    plain = {storable(name): _plain(value) for name, value in given.items()}
    encoded = msgspec.json.encode(plain, enc_hook=str)
    if len(encoded) > _MOST_DETAIL:
        return {"cut": encoded[: _MOST_DETAIL // 2].decode("utf-8", "replace")}
    return msgspec.json.decode(encoded, type=dict[str, Any])


def _plain(value: object) -> object:
    match value:
        case str():
            return storable(value)
        case list() | tuple():
            return [_plain(each) for each in value]
        case dict():
            return {storable(str(name)): _plain(each) for name, each in value.items()}
        case _:
            return value
