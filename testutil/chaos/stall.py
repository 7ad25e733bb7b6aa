"""The machine itself as a cause: a moment in which the thread of the proxies stood still is written down as a fault.

On a crowded machine, what no nemesis did can still cost a lease. It is told apart by measuring, not by guessing.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Final

from testutil.chaos import history
from testutil.chaos.stage import Stage

KIND: Final = "machine.stall"

_LOOK_S: Final = 0.05
_LATE_S: Final = 0.5
_FIRST_NUMBER: Final = 100_000


@asynccontextmanager
async def watching(stage: Stage) -> AsyncIterator[None]:
    """Watch the loop of the proxies meanwhile."""
    home = stage.history.proxy.home
    assert home is not None
    watch = asyncio.run_coroutine_threadsafe(_watch(stage), home[0])
    try:
        yield
    finally:
        watch.cancel()


async def _watch(stage: Stage) -> None:
    writer = history.Writer(stage.folder / "faults.jsonl")
    numbers = count(_FIRST_NUMBER)
    while True:
        asleep = time.time()
        await asyncio.sleep(_LOOK_S)
        awake = time.time()
        if awake - asleep > _LOOK_S + _LATE_S:
            writer.write(
                history.Fault(n=next(numbers), kind=KIND, began=asleep + _LOOK_S, ended=awake, redis_away=True)
            )
