"""Whether Redis was set back to an old backup: what a worker or scheduler looks at before it begins."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import structlog

from jobqueue.app import JobQueue
from jobqueue.cli.inspection import SetBack, set_back
from jobqueue.clock import from_ms
from jobqueue.config import Settings
from jobqueue.errors import BrokerError, BrokerUnavailable, ConfigError, RepositoryError

_log = structlog.get_logger("jobqueue.rollback")

TOLERATED: Final = timedelta(seconds=60)
"""Seconds are lost by a crash with `appendfsync everysec` or an asynchronous failover: no reason not to start."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0
_MOST_NAMED = 5


async def refuse_rollback(settings: Settings, queues: Sequence[str] | None = None, *, accept: bool) -> None:
    """End the start when a queue lacks more than `TOLERATED` of what Postgres has seen, unless that is accepted.

    *queues*: else every queue there is. Waits for Redis; without Postgres there is nothing to compare with. Its
    connections are its own and closed at once: a worker needs none to Postgres.

    Raises:
        ConfigError: Redis was set back; names the queues.
    """
    if settings.postgres.url is None:
        return
    async with JobQueue.from_settings(settings) as jobs:
        try:
            found = await _look(jobs, queues)
        except (BrokerError, RepositoryError) as error:
            _log.warning("rollback.unchecked", error=str(error))
            return
    if found and not accept:
        raise ConfigError(_refusal(found))
    for queue, moved in found.items():
        _log.warning("rollback.accepted", queue=queue, redis_upto=_at(moved.heard), postgres_upto=_at(moved.there))


async def _look(jobs: JobQueue, queues: Sequence[str] | None) -> Mapping[str, SetBack]:
    pause = _FIRST_PAUSE_S
    while True:
        try:
            found = {name: await set_back(jobs, name) for name in queues or await jobs.queues()}
            return {name: moved for name, moved in found.items() if moved and moved.there - moved.heard > TOLERATED}
        except BrokerUnavailable as error:
            _log.warning("rollback.unchecked", error=str(error), retry_in_s=pause)
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE_S)


def _refusal(found: Mapping[str, SetBack]) -> str:
    places = [
        f"queue {name!r} up to {_at(moved.there)} in Postgres, {_at(moved.heard)} in Redis"
        for name, moved in list(found.items())[:_MOST_NAMED]
    ]
    more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
    return (
        f"Redis holds older data than Postgres has seen: {'; '.join(places)}{more}. Was an old backup restored? "
        f"Jobs enqueued in between are lost, and jobs finished in between would run again. Restore the newest data "
        f"and start again, or start once with --accept-rollback to go on from the old"
    )


def _at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment > from_ms(0) else "nothing yet"
