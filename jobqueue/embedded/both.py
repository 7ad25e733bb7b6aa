"""Both servers, started at the same time."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from jobqueue.embedded.postgres import PostgresServer, start_postgres
from jobqueue.embedded.redis import RedisBinary, RedisServer, start_redis


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """A running Redis and Postgres; a context manager that stops both at its end."""

    redis: RedisServer
    postgres: PostgresServer

    def stop(self) -> None:
        """Stop both; see `RedisServer.stop`."""
        try:
            self.redis.stop()
        finally:
            self.postgres.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


@asynccontextmanager
async def embedded_servers(
    *,
    data_dir: Path | None = None,
    redis_binary: RedisBinary = "valkey",
    appendonly: bool = True,
    redis_args: Sequence[str] = (),
    postgres_args: Sequence[str] = (),
) -> AsyncIterator[Servers]:
    """`start_servers` for `async with`: starts and stops them without blocking the event loop.

    Cancelled while they start, it waits until they did and stops them.
    """
    starting = asyncio.ensure_future(
        asyncio.to_thread(
            start_servers,
            data_dir=data_dir,
            redis_binary=redis_binary,
            appendonly=appendonly,
            redis_args=redis_args,
            postgres_args=postgres_args,
        )
    )
    try:
        servers = await asyncio.shield(starting)
    except asyncio.CancelledError:
        await asyncio.wait([starting])
        if starting.exception() is None:
            await asyncio.to_thread(starting.result().stop)
        raise
    try:
        yield servers
    finally:
        await asyncio.to_thread(servers.stop)


def start_servers(
    *,
    data_dir: Path | None = None,
    redis_binary: RedisBinary = "valkey",
    appendonly: bool = True,
    redis_args: Sequence[str] = (),
    postgres_args: Sequence[str] = (),
) -> Servers:
    """Start a private Redis and Postgres at the same time; takes about as long as Postgres alone, 0.7 s.

    With *data_dir* they keep their data in its folders `redis` and `postgres`, otherwise it is temporary.

    Raises:
        as `start_redis` and `start_postgres`; when one fails, the other is stopped.
    """
    with ThreadPoolExecutor(2, thread_name_prefix="embedded") as pool:
        redis = pool.submit(
            start_redis,
            binary=redis_binary,
            data_dir=data_dir and data_dir / "redis",
            appendonly=appendonly,
            extra_args=redis_args,
        )
        postgres = pool.submit(start_postgres, data_dir=data_dir and data_dir / "postgres", extra_args=postgres_args)
    try:
        return Servers(redis=redis.result(), postgres=postgres.result())
    except BaseException:
        _stop_started(redis, postgres)
        raise


def _stop_started(*starts: "Future[RedisServer] | Future[PostgresServer]") -> None:
    for start in starts:
        if start.exception() is None:
            start.result().stop()
