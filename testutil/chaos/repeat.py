"""Doing something again and again in the background."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from redis import RedisError


@asynccontextmanager
async def repeating(act: Callable[[], object], every_s: float) -> AsyncIterator[None]:
    """Call *act* in threads, first at once, then every *every_s*; failures after the first call do not matter."""
    await asyncio.to_thread(act)

    async def go_on() -> None:
        while True:
            await asyncio.sleep(every_s)
            with suppress(RedisError, OSError):
                await asyncio.to_thread(act)

    task = asyncio.create_task(go_on())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
