"""Cursors as callers see them: the list's own cursor, bound to the address and the filter that it was given for."""

import base64
import binascii
import hashlib
from typing import Final

from jobqueue.api.problem import Refusal

_SEAL_BYTES: Final = 9
RULE: Final = "must be the `next_cursor` of the page before, with the same filter"


def seal(inner: str | None, *, of: str) -> str | None:
    """The cursor to be shown for the list *of* this address and filter."""
    if inner is None:
        return None
    return base64.urlsafe_b64encode(_seal(inner, of) + inner.encode()).decode().rstrip("=")


def unseal(shown: str | None, *, of: str) -> str | None:
    """The list's own cursor.

    Raises:
        Refusal: it is none of this list.
    """
    if shown is None:
        return None
    try:
        raw = base64.b64decode(shown + "=" * (-len(shown) % 4), altchars=b"-_", validate=True)
        mark, inner = raw[:_SEAL_BYTES], raw[_SEAL_BYTES:].decode()
    except (binascii.Error, ValueError) as error:
        raise _refused() from error
    if mark != _seal(inner, of):
        raise _refused()
    return inner


def _seal(inner: str, of: str) -> bytes:
    # Against mistakes. Who forges one gains nothing: what a caller may see is looked at anew on every page.
    return hashlib.sha256(f"{of}\n{inner}".encode()).digest()[:_SEAL_BYTES]


def _refused() -> Refusal:
    return Refusal("invalid-request", f"query.cursor: {RULE}", errors=[{"loc": ["query", "cursor"], "msg": RULE}])
