"""What a schedule says, the job of each of its ticks, and its versions."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue.clock import to_ms
from jobqueue.errors import InvalidJob, InvalidSchedule
from jobqueue.job import MAX_HEADERS_BYTES, Job, Priority
from jobqueue.schedule import (
    SCHEDULE_HEADER,
    TICK_HEADER,
    Definition,
    Misfire,
    Overlap,
    Schedule,
    ScheduleState,
    Source,
    tick_id,
)

NOON = int(datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp()) * 1000
AT = datetime(2026, 3, 2, 12, tzinfo=UTC)


def schedule(
    name: str = "digest", expression: str = "0 9 * * mon-fri", job: Job | None = None, **options: Any
) -> Schedule:
    return Schedule.of(name, expression, job or Job("digest.send"), **options)


FULL = Job(
    "digest.send",
    {"to": ["ada@example.org"], "n": 1, "umlaut": "ä"},
    queue="mail",
    priority="high",
    max_retries=7,
    timeout=timedelta(seconds=90),
    expires=timedelta(hours=2),
    result_ttl=timedelta(minutes=3),
    headers={"trace": "abc"},
)


def test_the_job_of_a_tick_carries_everything() -> None:
    job = schedule(job=FULL).tick_job(NOON)

    assert job.id == tick_id("digest", NOON)
    assert (job.type, job.payload, job.queue, job.priority) == ("digest.send", FULL.payload, "mail", Priority.HIGH)
    assert (job.max_retries, job.timeout, job.expires, job.result_ttl) == (
        7,
        timedelta(seconds=90),
        timedelta(hours=2),
        timedelta(minutes=3),
    )
    assert job.headers == {"trace": "abc", SCHEDULE_HEADER: "digest", TICK_HEADER: "2026-03-02T12:00:00Z"}
    assert job.unique_key is None


def test_the_job_of_a_tick_is_the_same_each_time() -> None:
    first, second = schedule(job=FULL).tick_job(NOON), schedule(job=FULL).tick_job(NOON)

    assert (first.id, first.to_wire()) == (second.id, second.to_wire())


def test_the_job_of_a_run_by_hand_has_an_id_of_its_own_and_no_tick() -> None:
    one, other = schedule().job(), schedule().job()

    assert one.id != other.id
    assert one.headers == {SCHEDULE_HEADER: "digest"}


@given(name=st.sampled_from(["a", "digest", "x" * 64]), tick=st.integers(0, 8_000_000_000).map(lambda s: s * 1000))
def test_the_id_of_a_tick_is_a_uuid_of_its_time(name: str, tick: int) -> None:
    value = uuid.UUID(tick_id(name, tick))

    assert (value.version, value.variant) == (7, uuid.RFC_4122)
    assert value.int >> 80 == tick
    assert str(value) == tick_id(name, tick)


def test_ids_of_ticks_never_change() -> None:
    """What is live, and what was backfilled, is known by them: across versions of jobqueue, too."""
    assert tick_id("digest", 1772452800000) == "019cae6b-6600-7188-a214-530b2aa5216b"


def test_ids_differ_by_schedule_and_by_tick() -> None:
    ids = {tick_id(name, NOON + n * 1000) for name in ("a", "b", "c") for n in range(2_000)}

    assert len(ids) == 6_000


@given(tick=st.integers(0, 4_000_000_000).map(lambda s: s * 1000), jitter_ms=st.integers(1, 86_400_000))
def test_jitter_is_within_its_bounds_and_the_same_for_a_tick(tick: int, jitter_ms: int) -> None:
    jittered = schedule(jitter=timedelta(milliseconds=jitter_ms))

    assert tick <= jittered.due_ms(tick) <= tick + jitter_ms
    assert jittered.due_ms(tick) == jittered.due_ms(tick)


def test_jitter_spreads_ticks_and_schedules_and_none_means_the_tick_itself() -> None:
    spread = timedelta(seconds=10)
    by_tick = {schedule(jitter=spread).due_ms(NOON + n * 1000) - n * 1000 for n in range(100)}
    by_name = {schedule(f"s{n}", jitter=spread).due_ms(NOON) for n in range(100)}

    assert len(by_tick) > 90
    assert len(by_name) > 90
    assert min(by_tick) < NOON + 2_000
    assert max(by_tick) > NOON + 8_000
    assert schedule().due_ms(NOON) == NOON


def test_a_definition_survives_json() -> None:
    full = schedule(
        job=FULL,
        timezone="Europe/Berlin",
        misfire="all",
        max_catchup=7,
        grace=timedelta(seconds=1.5),
        overlap="queue",
        jitter=timedelta(minutes=1),
    )
    definition = Definition(
        schedule=full,
        version=3,
        state=ScheduleState.PAUSED,
        source=Source.CODE,
        app="shop.jobs:registry",
        since_ms=NOON,
        former=schedule("digest", "@daily"),
        former_active=True,
        changed_at=AT,
        created_at=AT,
    )

    back = msgspec.json.decode(msgspec.json.encode(definition), type=Definition)

    assert back == definition
    assert back.schedule.tick_job(NOON) == full.tick_job(NOON)


def test_two_that_say_the_same_are_the_same_however_the_payload_is_written() -> None:
    one = schedule(job=FULL)
    rewritten = msgspec.structs.replace(
        one, payload=msgspec.Raw(b'{ "umlaut":"\\u00e4", "n":1, "to":["ada@example.org"]}')
    )

    assert one.same_as(rewritten)
    assert rewritten.same_as(one)
    assert not one.same_as(msgspec.structs.replace(one, payload=msgspec.Raw(b'{"n":2}')))
    assert not one.same_as(msgspec.structs.replace(rewritten, queue="other"))
    assert not one.same_as(schedule())


def test_the_next_version_remembers_the_former_one() -> None:
    first = Definition(schedule=schedule(), version=1, since_ms=NOON, changed_at=AT, created_at=AT)

    paused = first.changed(since_ms=NOON + 1, at=AT, state=ScheduleState.PAUSED)
    edited = paused.changed(since_ms=NOON + 2, at=AT, schedule=schedule(expression="@daily"))

    assert (paused.version, paused.state, paused.former, paused.former_active) == (
        2,
        ScheduleState.PAUSED,
        first.schedule,
        True,
    )
    assert (edited.version, edited.state, edited.former, edited.former_active) == (
        3,
        ScheduleState.PAUSED,
        first.schedule,
        False,
    )


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"misfire": "twice"}, InvalidSchedule, "misfire must be skip, once or all, got 'twice'"),
        ({"overlap": "maybe"}, InvalidSchedule, "overlap must be allow, skip or queue, got 'maybe'"),
        ({"max_catchup": 0}, InvalidSchedule, "max_catchup must be from 1 to 1000, got 0"),
        ({"max_catchup": 1_001}, InvalidSchedule, "max_catchup must be from 1 to 1000, got 1001"),
        ({"max_catchup": True}, TypeError, "max_catchup must be a whole number, got True"),
        ({"grace": timedelta(0)}, InvalidSchedule, "grace must be from 1s to 1d, got 0s"),
        ({"grace": 5}, TypeError, "grace must be a timedelta"),
        ({"jitter": timedelta(days=2)}, InvalidSchedule, "jitter must be from 0s to 1d, got 2d"),
        ({"jitter": timedelta(seconds=-1)}, InvalidSchedule, "jitter must be from"),
        ({"name": "a b"}, InvalidJob, "schedule name must be"),
        ({"expression": "61 * * * *"}, InvalidSchedule, "minute '61'"),
        ({"timezone": ZoneInfo("Europe/Madrid")}, InvalidSchedule, "timezone takes the name of a zone, e.g. 'Europe"),
        ({"timezone": "Europe/Madrit"}, InvalidSchedule, "did you mean Europe/Madrid"),
        ({"job": Job("t", unique_key="k")}, InvalidSchedule, "say overlap='skip' instead"),
        ({"job": Job("t", headers={"h": "x" * (MAX_HEADERS_BYTES - 1)})}, InvalidJob, "headers hold"),
    ],
)
def test_what_is_no_schedule_is_refused_and_says_why(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message.replace("(", r"\(")):
        schedule(**options)


def test_the_widest_options_are_taken() -> None:
    widest = schedule(
        misfire=Misfire.ALL,
        max_catchup=1_000,
        grace=timedelta(days=1),
        overlap=Overlap.QUEUE,
        jitter=timedelta(days=1),
        expression="  0 9   * * MON ",
    )

    assert (widest.expression, to_ms(widest.jitter)) == ("0 9 * * MON", 86_400_000)


def test_a_job_that_may_expire_before_it_is_due_is_refused() -> None:
    hour = timedelta(hours=1)
    with pytest.raises(InvalidSchedule, match="let expires be longer than jitter"):
        Schedule.of("s", "0 9 * * *", Job("t", expires=hour), jitter=hour)
    Schedule.of("s", "0 9 * * *", Job("t", expires=hour * 2), jitter=hour)
