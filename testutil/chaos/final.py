"""What the servers hold when a run is over, read without the product's code: Postgres, and Redis node by node."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from testutil.chaos.crew import NAMESPACE
from testutil.chaos.editions import Edition, read_editions

Client = Any
"""A connection to one node. redis-py types every answer as bytes or str."""

_CONSUMERS_SETTLE_S = 15.0
_TICKS = """
    SELECT name, queue, version, decision, reason, ticks AS count, coalesce(job_id::text, '') AS job_id,
           round(extract(epoch FROM tick_at) * 1000)::bigint AS tick_ms,
           round(extract(epoch FROM first_at) * 1000)::bigint AS first_ms,
           round(extract(epoch FROM decided_at) * 1000)::bigint AS at_ms
    FROM jobqueue.schedule_ticks WHERE namespace = $1 ORDER BY decided_at, record_id
"""
_GONE = -2  # what PTTL says of a key that has expired meanwhile


@dataclass(slots=True, frozen=True, kw_only=True)
class Executed:
    """A row of `executions`; times are wall times in seconds."""

    id: str
    queue: str
    generation: int
    attempt: int
    outcome: str
    worker: str
    type: str = ""
    queued: float = 0.0
    started: float = 0.0
    finished: float = 0.0
    error: str = ""


@dataclass(slots=True, frozen=True, kw_only=True)
class Letter:
    """A row of `dead_letters`."""

    id: str
    queue: str
    generation: int
    epoch: str
    entry_id: str
    state: str
    reason: str


@dataclass(slots=True, frozen=True, kw_only=True)
class Tick:
    """A row of `schedule_ticks`: what was decided about a tick, or a run of ticks; `_ms` by the clock of Redis."""

    name: str
    queue: str
    version: int
    decision: str
    reason: str
    tick_ms: int
    first_ms: int
    count: int | None
    job_id: str
    at_ms: int


@dataclass(slots=True, kw_only=True)
class FinalState:
    """Filled by `read_final` before the crew is shut down, completed by `read_connections` after it.

    *counters*: queue -> the counters of its meta hash. *live*: (queue, id) of what the index still holds.
    *keys*: the namespace's keys in Redis, name -> elements (bytes for strings). *ttls*: those with a time to live.
    *read_at*: wall time at which the reading began, 0: unknown; what it does to a loaded machine is not judged.
    *leaked_consumers*: consumers of a group without a lease ahead, some time after the drain.
    """

    executions: list[Executed] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)
    ticks: list[Tick] = field(default_factory=list)
    editions: list[Edition] = field(default_factory=list)
    counters: dict[str, dict[str, int]] = field(default_factory=dict)
    live: list[tuple[str, str]] = field(default_factory=list)
    keys: dict[str, int] = field(default_factory=dict)
    ttls: dict[str, int] = field(default_factory=dict)
    leaked_consumers: list[str] = field(default_factory=list)
    memory_bytes: int = 0
    drained: bool = True
    read_at: float = 0.0
    connections: int = 0


async def read_final(
    database_url: str, nodes: Sequence[str], *, namespace: str = NAMESPACE, drained: bool = True
) -> FinalState:
    """Read Postgres and every Redis primary. *nodes*: plain `redis://` URLs of the primaries, past the proxies."""
    final = FinalState(drained=drained, read_at=time.time())
    await _read_postgres(final, database_url, namespace)
    for url in nodes:
        async with _node(url) as redis:
            await _read_node(final, redis, namespace)
    deadline = time.monotonic() + _CONSUMERS_SETTLE_S
    while time.monotonic() < deadline:
        final.leaked_consumers = []
        for url in nodes:
            async with _node(url) as redis:
                final.leaked_consumers += await _consumers_without_lease(redis, namespace)
        if not final.leaked_consumers:
            break
        await asyncio.sleep(0.5)
    return final


async def read_connections(final: FinalState, nodes: Sequence[str]) -> None:
    """Count the connections of jobqueue that are left; call it after `Crew.shut_down`."""
    final.connections = 0
    for url in nodes:
        async with _node(url) as redis:
            clients: list[dict[str, str]] = await redis.client_list()
            final.connections += sum(each["name"].startswith("jobqueue") for each in clients)


@asynccontextmanager
async def _node(url: str) -> AsyncIterator[Client]:
    redis: Client = Redis.from_url(url, socket_timeout=10, socket_connect_timeout=5)
    try:
        yield redis
    finally:
        await redis.aclose()


async def _read_postgres(final: FinalState, database_url: str, namespace: str) -> None:
    connection = await asyncpg.connect(database_url, timeout=10)
    try:
        rows = await connection.fetch(
            "SELECT job_id::text, queue, generation, attempt, outcome, worker, type, "
            "coalesce(extract(epoch FROM queued_at), 0)::float8 AS queued, "
            "coalesce(extract(epoch FROM started_at), 0)::float8 AS started, "
            "extract(epoch FROM finished_at)::float8 AS finished, coalesce(error_class, '') AS error "
            "FROM jobqueue.executions WHERE namespace = $1",
            namespace,
            timeout=120,
        )
        final.executions = [
            Executed(
                id=row["job_id"],
                queue=row["queue"],
                generation=row["generation"],
                attempt=row["attempt"],
                outcome=row["outcome"],
                worker=row["worker"],
                type=row["type"],
                queued=row["queued"],
                started=row["started"],
                finished=row["finished"],
                error=row["error"],
            )
            for row in rows
        ]
        rows = await connection.fetch(
            "SELECT job_id::text AS id, queue, generation, epoch, entry_id, state, reason "
            "FROM jobqueue.dead_letters WHERE namespace = $1",
            namespace,
            timeout=120,
        )
        final.letters = [Letter(**dict(row)) for row in rows]
        rows = await connection.fetch(_TICKS, namespace, timeout=120)
        final.ticks = [Tick(**dict(row)) for row in rows]
        final.editions = await read_editions(connection, namespace)
    finally:
        await connection.close()


async def _read_node(final: FinalState, redis: Client, namespace: str) -> None:
    async for key in redis.scan_iter(match=f"{{{namespace}:*", count=500):
        name = key.decode()
        size, ttl = await _size(redis, key), await redis.pttl(key)
        if ttl == _GONE:
            continue
        final.keys[name] = size
        if ttl >= 0:
            final.ttls[name] = ttl
        queue, _, part = name.removeprefix(f"{{{namespace}:").partition("}:")
        if part == "meta":
            found = await redis.hgetall(key)
            final.counters[queue] = {each.decode(): int(value) for each, value in found.items() if value.isdigit()}
        elif part == "jobs":
            final.live += [(queue, each.decode()) for each in await redis.hkeys(key)]
    final.memory_bytes += (await redis.info("memory"))["used_memory"]


async def _size(redis: Client, key: bytes) -> int:
    kind = (await redis.type(key)).decode()
    count = {"stream": "XLEN", "hash": "HLEN", "zset": "ZCARD", "set": "SCARD", "string": "STRLEN", "list": "LLEN"}
    return int(await redis.execute_command(count[kind], key)) if kind in count else 0


async def _consumers_without_lease(redis: Client, namespace: str) -> list[str]:
    leaked = []
    seconds, microseconds = await redis.time()
    now_ms = seconds * 1000 + microseconds // 1000
    async for key in redis.scan_iter(match=f"{{{namespace}:*:stream:*", count=500):
        workers = key.rpartition(b":stream:")[0] + b":workers"
        for consumer in await _consumers(redis, key):
            deadline = await redis.zscore(workers, consumer["name"])
            if deadline is None or deadline < now_ms:
                leaked.append(f"{key.decode()} {consumer['name'].decode()} pending {consumer['pending']}")
    return leaked


async def _consumers(redis: Client, stream: bytes) -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = await redis.xinfo_consumers(stream, "workers")
    except ResponseError:
        return []
    return found
