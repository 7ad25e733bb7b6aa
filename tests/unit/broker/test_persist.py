"""One timer for all waits: each ends in time, and by nobody else's deadline."""

import asyncio

import pytest

from jobqueue.broker.persist import Limit

SOON_S, LONG_S = 0.02, 60.0


async def test_a_wait_ends_when_its_time_is_up() -> None:
    limit = Limit()

    for _ in range(3):
        with pytest.raises(TimeoutError):
            await limit.wait(asyncio.Event().wait, SOON_S)

    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_the_timer_of_a_wait_that_is_over_ends_no_later_one() -> None:
    limit = Limit()
    await limit.wait(lambda: asyncio.sleep(0), SOON_S)

    assert await limit.wait(lambda: asyncio.sleep(3 * SOON_S, "slept"), LONG_S) == "slept"
    with pytest.raises(TimeoutError):
        await limit.wait(asyncio.Event().wait, SOON_S)
    limit.close()


async def test_who_is_cancelled_from_outside_is_cancelled() -> None:
    limit = Limit()
    waiting = asyncio.create_task(limit.wait(asyncio.Event().wait, LONG_S))
    await asyncio.sleep(0)

    waiting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await waiting
    limit.close()


async def test_a_timeout_around_it_is_told_apart() -> None:
    limit = Limit()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(SOON_S) as outer:
            await limit.wait(asyncio.Event().wait, LONG_S)

    assert outer.expired()
    limit.close()


async def test_what_fails_as_it_is_cancelled_leaves_no_cancellation_behind() -> None:
    async def fail() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            raise ValueError("broken off") from error

    with pytest.raises(ValueError, match="broken off"):
        await Limit().wait(fail, SOON_S)

    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
