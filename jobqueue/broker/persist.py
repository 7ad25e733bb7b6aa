"""Repeating what is safe to repeat, until it is answered or its time is up."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from jobqueue.broker.connection import NoReply
from jobqueue.errors import BrokerError, BrokerUnavailable

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.02, 1.0
_GRACE_S = 0.25
_Reply = TypeVar("_Reply")


class Limit:
    """What `asyncio.timeout` does, for one wait after the other.

    Its one timer is not set anew for each, only when it runs out under a later one. Of an enqueue awaited
    alone, `asyncio.timeout` was a fifth.
    """

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer_at = self._until = 0.0
        self._task: asyncio.Task[Any] | None = None
        self._expired = False

    async def wait(self, attempt: Callable[[], Awaitable[_Reply]], seconds: float) -> _Reply:
        """Await *attempt*, and cancel it after so many seconds.

        Raises:
            TimeoutError: it was cancelled by this, and by nobody else.
        """
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        cancelling = task.cancelling()
        self._task, self._expired = task, False
        self._until = loop.time() + seconds
        if self._timer is None or self._until < self._timer_at or loop is not self._loop:
            self._set_timer(loop)
        try:
            return await attempt()
        except asyncio.CancelledError as error:
            if self._expired and task.cancelling() == cancelling + 1:
                raise TimeoutError from error
            raise
        finally:
            self._task = None
            if self._expired:
                task.uncancel()

    def close(self) -> None:
        """No more waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        self.close()
        self._loop, self._timer_at = loop, self._until
        self._timer = loop.call_at(self._until, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if self._task is None:
            return
        if loop.time() < self._until:
            self._set_timer(loop)
        else:
            self._expired = True
            self._task.cancel()


async def persist(attempt: Callable[[], Awaitable[_Reply]], *, deadline_s: float, limit: Limit) -> _Reply:
    """Repeat an idempotent exchange until it is answered or the deadline (monotonic, s) has passed.

    Raises:
        NoReply: it may have been carried out; also when a later try was refused.
        BrokerUnavailable, or what refused it: it was not carried out.
    """
    pause = _FIRST_PAUSE_S
    unanswered: NoReply | None = None
    while True:
        try:
            return await limit.wait(attempt, max(0.0, deadline_s - time.monotonic()) + _GRACE_S)
        except TimeoutError as error:
            raise (unanswered or NoReply("Redis did not answer in time")) from error
        except BrokerUnavailable as error:
            if isinstance(error, NoReply):
                unanswered = error if error.carried_out or unanswered is None else unanswered
            if time.monotonic() + pause >= deadline_s:
                raise (unanswered or error) from error
        except BrokerError as error:
            raise (unanswered or error) from error
        await asyncio.sleep(pause * random.uniform(0.5, 1.5))
        pause = min(pause * 2, _LONGEST_PAUSE_S)
