"""Faults of Postgres and of the way there."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

import asyncpg

from testutil.chaos.nemesis import Fault
from testutil.chaos.repeat import repeating
from testutil.chaos.stage import Stage
from testutil.chaos.wire import Condition

Strike = Callable[[Stage, Fault], AbstractAsyncContextManager[str]]

_LIMIT_S: Final = 5.0
_LOCK: Final = (
    "LOCK TABLE jobqueue.executions, jobqueue.dead_letters, jobqueue.shipping_cursors IN ACCESS EXCLUSIVE MODE"
)
_TERMINATE: Final = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
)


def _on_the_way(choose: Callable[[Fault], Condition]) -> Strike:
    @asynccontextmanager
    async def strike(stage: Stage, fault: Fault) -> AsyncIterator[str]:
        with stage.history.under(choose(fault)):
            yield "postgres"

    return strike


@asynccontextmanager
async def _reset(stage: Stage, fault: Fault) -> AsyncIterator[str]:
    async with repeating(stage.history.proxy.reset, fault.value):
        yield "postgres"


@asynccontextmanager
async def _terminate(stage: Stage, fault: Fault) -> AsyncIterator[str]:
    """Every backend but ours, every *value* seconds."""
    async with _connected(stage) as connection:
        task = asyncio.create_task(_keep_terminating(connection, fault.value))
        try:
            yield "postgres"
        finally:
            task.cancel()
            await asyncio.wait([task])


async def _keep_terminating(connection: "asyncpg.Connection[asyncpg.Record]", every_s: float) -> None:
    while True:
        await connection.execute(_TERMINATE)
        await asyncio.sleep(every_s)


@asynccontextmanager
async def _lock(stage: Stage, fault: Fault) -> AsyncIterator[str]:
    async with _connected(stage) as connection, connection.transaction():
        await connection.execute(_LOCK)
        yield "postgres"


@asynccontextmanager
async def _connected(stage: Stage) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """Past the proxy."""
    connection = await asyncpg.connect(stage.postgres.url, timeout=_LIMIT_S)
    try:
        yield connection
    finally:
        connection.terminate()


@asynccontextmanager
async def _kill(stage: Stage, _fault: Fault) -> AsyncIterator[str]:
    await asyncio.to_thread(stage.postgres.kill)
    try:
        yield "postgres"
    finally:
        await asyncio.to_thread(stage.postgres.restart)


@asynccontextmanager
async def _restart(stage: Stage, _fault: Fault) -> AsyncIterator[str]:
    await asyncio.to_thread(stage.postgres.restart)
    yield "postgres"


@asynccontextmanager
async def _stop(stage: Stage, _fault: Fault) -> AsyncIterator[str]:
    stage.postgres.pause()
    try:
        yield "postgres"
    finally:
        stage.postgres.resume()


HISTORY_FAULTS: Final[dict[str, Strike]] = {
    "history.latency": _on_the_way(lambda fault: lambda proxy: proxy.latency(fault.value, fault.value / 2)),
    "history.stall": _on_the_way(lambda _: lambda proxy: proxy.stall()),
    "history.half_open": _on_the_way(lambda _: lambda proxy: proxy.half_open()),
    "history.mute_replies": _on_the_way(lambda _: lambda proxy: proxy.mute("replies")),
    "history.refuse": _on_the_way(lambda _: lambda proxy: proxy.refuse()),
    "history.cut_replies": _on_the_way(lambda fault: lambda proxy: proxy.cut_replies_after(int(fault.value), times=3)),
    "history.reset": _reset,
    "history.terminate": _terminate,
    "history.lock": _lock,
    "history.kill": _kill,
    "history.restart": _restart,
    "history.stop": _stop,
}
