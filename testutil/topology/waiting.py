"""Waiting in threads, with a bound."""

import time
from collections.abc import Callable
from typing import TypeVar

from redis import RedisError

_POLL_S = 0.02
_Value = TypeVar("_Value")


def wait_until(look: Callable[[], _Value | None], what: str, within_s: float) -> _Value:
    """Call *look* until its answer is true, and return that; a RedisError in it counts as "not yet".

    Raises:
        TimeoutError: it did not come true; names *what*, and the last RedisError.
    """
    deadline = time.monotonic() + within_s
    while True:
        failure: RedisError | None = None
        try:
            if answer := look():
                return answer
        except RedisError as error:
            failure = error
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {within_s:g} s") from failure
        time.sleep(_POLL_S)
