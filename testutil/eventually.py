"""Waiting for something that must come true, with a bound: never a fixed sleep."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

_Value = TypeVar("_Value")
_POLL_S = 0.01


async def eventually(
    look: Callable[[], Awaitable[_Value] | _Value], *, within_s: float = 30.0, poll_s: float = _POLL_S
) -> _Value:
    """Call *look* until its answer is true, and return that; an AssertionError in it counts as "not yet".

    Raises:
        AssertionError: it did not come true in time; *look*'s own, where it raised one.
    """
    deadline = time.monotonic() + within_s
    while True:
        failure: AssertionError | None = None
        try:
            answer = look()
            value: _Value = await answer if inspect.isawaitable(answer) else answer  # type: ignore[assignment]
            if value:
                return value
        except AssertionError as error:
            failure = error
        if time.monotonic() > deadline:
            raise failure or AssertionError(f"not true within {within_s:g} s")
        await asyncio.sleep(poll_s)
