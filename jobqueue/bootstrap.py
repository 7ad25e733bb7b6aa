"""The one composition root: settings in, wired parts out. Adapters are chosen here and nowhere else."""

import asyncio
import importlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from jobqueue.broker.base import Broker
from jobqueue.broker.dead_letters import RedisDeadLetters
from jobqueue.broker.redis_streams import RedisStreamsBroker
from jobqueue.broker.schedules import RedisScheduleStore
from jobqueue.broker.ticks import BrokerTickRecords
from jobqueue.clock import Clock, SystemClock
from jobqueue.config import Settings
from jobqueue.errors import BrokerError, RepositoryError, require
from jobqueue.repository.base import DeadLetters, Executions
from jobqueue.repository.moved import MovedSchedules
from jobqueue.repository.schedules import ScheduleStore, TickRecords
from jobqueue.scheduler.letters import FreshDeadLetters
from jobqueue.scheduler.scheduler import Scheduler, Shipping
from jobqueue.scheduler.ticks import FreshTickRecords

if TYPE_CHECKING:
    from jobqueue.access.base import Access

_CHECK_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Everything that a process needs, wired, nothing connected yet."""

    settings: Settings
    broker: Broker
    redis: RedisStreamsBroker | None
    dead_letters: DeadLetters
    schedules: ScheduleStore
    ticks: TickRecords
    executions: Executions | None = None
    shipping: Shipping | None = None
    open_access: "Callable[[], Access] | None" = None
    database: Any = None
    clock: Clock

    @cached_property
    def access(self) -> "Access | None":
        """What the API and its commands need: a worker, which does not, never loads it."""
        return None if self.open_access is None else self.open_access()

    def scheduler(self) -> Scheduler:
        """A scheduler for every queue of the namespace."""
        return Scheduler(
            broker=self.broker,
            clock=self.clock,
            reap_interval=self.settings.worker.reap_interval,
            shipping=self.shipping,
            schedules=self.schedules,
        )

    async def reachable(self, *, postgres: bool = True) -> dict[str, bool]:
        """What is needed from outside, and whether it is there: `redis`; with Postgres configured and *postgres*,
        `postgres` and `migrations`. Takes at most some seconds."""
        checks = {"redis": self._redis_answers()}
        if postgres and self.settings.postgres.url is not None:
            checks |= {"postgres": self._postgres_answers(), "migrations": self._is_migrated()}
        found = await asyncio.gather(*(_within(_CHECK_S, each) for each in checks.values()))
        return dict(zip(checks, found, strict=True))

    async def _redis_answers(self) -> bool:
        await self.broker.queues()
        return True

    async def _postgres_answers(self) -> bool:
        async with self.database.transaction() as session:
            return bool(await session.value("SELECT 1"))

    async def _is_migrated(self) -> bool:
        migrate = importlib.import_module("jobqueue.repository.postgres.migrate")
        return not migrate.pending(await migrate.migration_status(self.settings.postgres.url))

    async def close(self) -> None:
        """Close every connection."""
        await self.broker.close()
        if self.database is not None:
            await self.database.close()


def wire(settings: Settings) -> Parts:
    """Choose and build the adapters that *settings* ask for. With no `DATABASE_URL` there is no history.

    Raises:
        ConfigError: a URL is wrong.
        MissingExtra: Postgres is configured and asyncpg is not installed.
    """
    clock = SystemClock()
    redis = settings.redis
    broker = RedisStreamsBroker(
        redis.url,
        namespace=redis.namespace,
        timeout=redis.timeout,
        enqueue_timeout=redis.enqueue_timeout,
        lease=redis.lease,
        max_crashes=settings.worker.max_crashes,
        history=settings.postgres.url is not None,
        journal_max_bytes=redis.journal_max_bytes,
        keep_payload=settings.postgres.keep_payload,
    )
    unshipped = RedisDeadLetters(broker)
    schedules, ticks = RedisScheduleStore(broker.line(), redis.namespace), BrokerTickRecords(broker)
    if settings.postgres.url is None:
        return Parts(
            settings=settings,
            broker=broker,
            redis=broker,
            dead_letters=unshipped,
            schedules=schedules,
            ticks=ticks,
            open_access=lambda: _access(broker, redis.namespace),
            clock=clock,
        )

    postgres = _postgres()
    database = postgres.Database(settings.postgres)
    archive = postgres.PostgresArchive(database, namespace=redis.namespace, clock=clock)
    stored = postgres.PostgresDeadLetters(database, broker, namespace=redis.namespace, durability=redis.durability)
    return Parts(
        settings=settings,
        broker=broker,
        redis=broker,
        dead_letters=FreshDeadLetters(stored, unshipped, broker, archive),
        schedules=MovedSchedules(postgres.PostgresScheduleStore(database, namespace=redis.namespace), former=schedules),
        ticks=FreshTickRecords(
            postgres.PostgresTickRecords(database, namespace=redis.namespace), ticks, broker, archive
        ),
        executions=postgres.PostgresExecutions(database, namespace=redis.namespace),
        shipping=Shipping(
            archive=archive,
            dead_letters=stored,
            keep_successes=settings.postgres.keep_successes,
            keep_failures=settings.postgres.keep_failures,
        ),
        open_access=lambda: _access_beside_postgres(broker, redis.namespace, database),
        database=database,
        clock=clock,
    )


def _access(broker: RedisStreamsBroker, namespace: str) -> "Access":
    from jobqueue.access.base import Access  # noqa: PLC0415
    from jobqueue.broker import access  # noqa: PLC0415

    # On a line of its own: no caller of the API waits behind an operator's command.
    line = broker.line()
    return Access(
        keys=access.RedisApiKeys(line, namespace),
        audit=access.RedisAuditLog(line, namespace),
        sessions=access.RedisSessions(line, namespace),
        limiter=access.RedisLimiter(line, namespace),
        answers=access.RedisAnswers(line, namespace),
    )


def _access_beside_postgres(broker: RedisStreamsBroker, namespace: str, database: Any) -> "Access":
    from jobqueue.access.moved import MovedApiKeys  # noqa: PLC0415

    postgres, in_redis = _postgres(), _access(broker, namespace)
    return replace(
        in_redis,
        keys=MovedApiKeys(postgres.PostgresApiKeys(database, namespace=namespace), former=in_redis.keys),
        audit=postgres.PostgresAuditLog(database, namespace=namespace),
    )


async def _within(seconds: float, check: Awaitable[bool]) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await check
    except (BrokerError, RepositoryError, TimeoutError):
        return False


def _postgres() -> Any:
    # Imported when it is asked for: a process without Postgres never loads asyncpg.
    require("asyncpg", "postgres")
    return importlib.import_module("jobqueue.repository.postgres")
