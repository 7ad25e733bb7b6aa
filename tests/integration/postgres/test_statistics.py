"""History by time and by error."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobqueue.clock import from_ms
from jobqueue.errors import ConfigError
from jobqueue.record import Bucket, ErrorGroup, Execution
from jobqueue.repository.postgres.archive import PostgresArchive
from jobqueue.repository.postgres.database import Database
from jobqueue.repository.postgres.executions import PostgresExecutions
from tests.integration.postgres.journal import NOW_MS, execution, job_id_of

MINUTE_MS = 60_000
START_MS = NOW_MS - NOW_MS % MINUTE_MS - 10 * MINUTE_MS
START = from_ms(START_MS)


@pytest.fixture
async def executions(database: Database) -> PostgresExecutions:
    return PostgresExecutions(database)


async def ship(archive: PostgresArchive, *executions: Execution) -> None:
    async with archive.cursor("mail", "journal", "e1") as cursor:
        assert cursor is not None
        await cursor.ship(executions=executions, dead_letters=[], upto="9-0")


def ended(number: int, minute: float, queue: str = "mail", **changes: Any) -> Execution:
    """An execution that ended so many minutes after the start."""
    facts = {"duration_ms": 10.0, **changes}
    at_ms = START_MS + round(minute * MINUTE_MS - facts["duration_ms"])
    return execution(number, queue, queued_ms=at_ms - 5, started_ms=at_ms, **facts)


async def test_a_series_has_a_span_for_every_time(archive: PostgresArchive, executions: PostgresExecutions) -> None:
    await ship(
        archive,
        ended(1, -0.1),
        *(ended(n, 0.5, duration_ms=float(n)) for n in range(1, 101)),
        ended(2, 0.9, outcome="dead", duration_ms=9000.0),
        ended(3, 2.5, outcome="retrying"),
        ended(4, 2.5, "report"),
        ended(5, 4.1),
    )

    series = await executions.series(since=START, until=START + timedelta(minutes=4), bucket=timedelta(minutes=1))

    assert [each.at_ms for each in series] == [START_MS + n * MINUTE_MS for n in range(4)]
    assert [each.outcomes for each in series] == [
        {"completed": 100, "dead": 1},
        {},
        {"retrying": 1, "completed": 1},
        {},
    ]
    assert (series[0].p50_ms, series[0].p95_ms) == (51.0, 96.0)  # of 50.5 and 95.05
    assert (series[1].p50_ms, series[1].p95_ms) == (None, None)
    assert series[2].p50_ms == 11.25  # somewhere from 10 to 12.5


async def test_a_series_of_queues(archive: PostgresArchive, executions: PostgresExecutions) -> None:
    await ship(archive, ended(1, 1), ended(2, 1, "report"), ended(3, 1, "other"))

    async def total(queues: tuple[str, ...] | None) -> int:
        series = await executions.series(queues=queues, since=START, bucket=timedelta(hours=1))
        return sum(sum(each.outcomes.values()) for each in series)

    assert [await total(each) for each in (None, ("mail",), ("mail", "report"), (), ("no\x00such",))] == [3, 1, 2, 0, 0]


async def test_a_last_span_that_is_cut_short_is_there(archive: PostgresArchive, executions: PostgresExecutions) -> None:
    await ship(archive, ended(1, 2.2))

    series = await executions.series(since=START, until=START + timedelta(seconds=150), bucket=timedelta(minutes=1))

    assert series[2] == Bucket(at_ms=START_MS + 2 * MINUTE_MS, outcomes={"completed": 1}, p50_ms=11.25, p95_ms=12.375)
    assert len(series) == 3


@pytest.mark.parametrize("bucket", [timedelta(0), timedelta(seconds=-1), timedelta(milliseconds=1)], ids=str)
async def test_too_many_spans_or_none_are_refused(executions: PostgresExecutions, bucket: timedelta) -> None:
    with pytest.raises(ConfigError, match="must be 1 to 1000 spans; choose longer ones"):
        await executions.series(since=START, until=START + timedelta(minutes=1), bucket=bucket)
    with pytest.raises(ConfigError, match="1 to 1000 spans"):
        await executions.series(since=START, until=START, bucket=timedelta(minutes=1))


async def test_a_naive_time_is_a_type_error(executions: PostgresExecutions) -> None:
    naive = datetime.now(UTC).replace(tzinfo=None)
    with pytest.raises(TypeError, match="since must be an aware datetime"):
        await executions.series(since=naive, bucket=timedelta(minutes=1))
    with pytest.raises(TypeError, match="since must be an aware datetime"):
        await executions.errors(since=naive, limit=5)


async def test_failures_are_grouped_by_error_most_frequent_first(
    archive: PostgresArchive, executions: PostgresExecutions
) -> None:
    failed: dict[str, Any] = {"outcome": "retrying", "error_class": "OSError"}
    await ship(
        archive,
        ended(1, -1, **failed),
        ended(2, 1, **failed, error_message="refused"),
        ended(3, 2, outcome="dead", error_class="OSError", error_message="unreachable"),
        ended(4, 1.5, "report", **failed),
        ended(5, 3, outcome="cancelled"),
        ended(6, 3),
    )

    groups = await executions.errors(since=START, limit=10)

    assert groups == [
        ErrorGroup(
            type="email.send",
            queue="mail",
            error_class="OSError",
            count=2,
            first_at=START + timedelta(minutes=1),
            last_at=START + timedelta(minutes=2),
            last_message="unreachable",
            last_id=job_id_of(3),
        ),
        ErrorGroup(
            type="email.send",
            queue="report",
            error_class="OSError",
            count=1,
            first_at=START + timedelta(minutes=1.5),
            last_at=START + timedelta(minutes=1.5),
            last_message="",
            last_id=job_id_of(4),
        ),
    ]
    assert await executions.errors(since=START, limit=1) == groups[:1]
    assert await executions.errors(queues=("report",), since=START, limit=9) == groups[1:]
    assert await executions.errors(queues=(), since=START, limit=9) == []
