"""What is decided about the ticks of a schedule that are due."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobqueue.clock import to_ms
from jobqueue.job import Job
from jobqueue.schedule import Misfire, Schedule
from jobqueue.tick import MAX_STEPS, Reason, Step, due_steps, next_tick_ms

NOON = int(datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp()) * 1000
SECOND, MINUTE, HOUR = 1_000, 60_000, 3_600_000


def schedule(expression: str = "* * * * *", **options: Any) -> Schedule:
    return Schedule.of("s", expression, Job("t"), seconds=len(expression.split()) == 6, **options)


def told(steps: list[Step]) -> list[tuple[str, int]]:
    """Each step's reason and its tick, minutes after noon."""
    return [(str(step.reason), (step.tick_ms - NOON) // MINUTE) for step in steps]


def test_nothing_is_due_before_the_first_tick() -> None:
    assert due_steps(schedule(), after_ms=NOON, now_ms=NOON + MINUTE - 1) == []


def test_a_tick_is_due_at_its_very_millisecond() -> None:
    (step,) = due_steps(schedule(), after_ms=NOON, now_ms=NOON + MINUTE)

    assert step == Step(fires=True, reason=Reason.ON_TIME, tick_ms=NOON + MINUTE, first_ms=NOON + MINUTE)


def test_the_tick_after_which_it_counts_is_not_due_again() -> None:
    assert due_steps(schedule(), after_ms=NOON + MINUTE, now_ms=NOON + MINUTE) == []


@pytest.mark.parametrize("misfire", Misfire)
def test_a_tick_just_within_the_grace_fires_on_time_whatever_the_misfire_rule(misfire: Misfire) -> None:
    due = schedule("0 * * * *", misfire=misfire, grace=timedelta(minutes=2))

    (step,) = due_steps(due, after_ms=NOON - 1, now_ms=NOON + 2 * MINUTE)

    assert (step.fires, step.reason) == (True, Reason.ON_TIME)


@pytest.mark.parametrize(
    ("misfire", "fires", "reason"),
    [("skip", False, Reason.MISSED), ("once", True, Reason.CAUGHT_UP), ("all", True, Reason.CAUGHT_UP)],
)
def test_a_tick_a_millisecond_beyond_the_grace_is_missed(misfire: str, fires: bool, reason: Reason) -> None:
    due = schedule("0 * * * *", misfire=misfire, grace=timedelta(minutes=2))

    (step,) = due_steps(due, after_ms=NOON - 1, now_ms=NOON + 2 * MINUTE + 1)

    assert (step.fires, step.reason, step.tick_ms, step.count) == (fires, reason, NOON, 1)


def test_skip_leaves_out_all_that_were_missed_and_fires_those_within_the_grace() -> None:
    due = schedule(misfire="skip", grace=timedelta(seconds=90))

    steps = due_steps(due, after_ms=NOON, now_ms=NOON + HOUR)

    assert told(steps) == [("missed", 58), ("on_time", 59), ("on_time", 60)]
    assert (steps[0].fires, steps[0].first_ms, steps[0].count) == (False, NOON + MINUTE, 58)


def test_once_fires_the_newest_missed_for_all() -> None:
    steps = due_steps(schedule(misfire="once"), after_ms=NOON, now_ms=NOON + HOUR + 1)

    assert told(steps) == [("made_up", 58), ("caught_up", 59), ("on_time", 60)]
    assert (steps[0].first_ms, steps[0].count) == (NOON + MINUTE, 58)


def test_once_skips_nothing_where_one_was_missed() -> None:
    steps = due_steps(schedule("0 * * * *", misfire="once"), after_ms=NOON - 1, now_ms=NOON + 30 * MINUTE)

    assert told(steps) == [("caught_up", 0)]


def test_all_fires_each_oldest_first() -> None:
    steps = due_steps(schedule(misfire="all"), after_ms=NOON, now_ms=NOON + 5 * MINUTE + 1)

    assert told(steps) == [
        ("caught_up", 1),
        ("caught_up", 2),
        ("caught_up", 3),
        ("caught_up", 4),
        ("on_time", 5),
    ]


def test_all_skips_what_is_older_than_the_newest_max_catchup() -> None:
    steps = due_steps(schedule(misfire="all", max_catchup=2), after_ms=NOON, now_ms=NOON + 5 * MINUTE + 1)

    assert told(steps) == [("max_catchup", 2), ("caught_up", 3), ("caught_up", 4), ("on_time", 5)]
    assert (steps[0].fires, steps[0].count) == (False, 2)


def test_all_skips_nothing_where_exactly_max_catchup_were_missed() -> None:
    steps = due_steps(schedule(misfire="all", max_catchup=4), after_ms=NOON, now_ms=NOON + 5 * MINUTE + 1)

    assert [step.reason for step in steps] == [Reason.CAUGHT_UP] * 4 + [Reason.ON_TIME]


def test_of_a_thousand_skipped_the_number_is_told_and_of_more_it_is_not() -> None:
    due = schedule(misfire="skip")

    thousand, more = (
        due_steps(due, after_ms=NOON, now_ms=NOON + ticks * MINUTE + MINUTE + 1)[0] for ticks in (1_000, 1_001)
    )

    assert (thousand.count, more.count) == (1_000, None)
    assert more.tick_ms == NOON + 1_001 * MINUTE


def test_nothing_later_than_the_end_of_a_version_is_decided() -> None:
    steps = due_steps(schedule(misfire="all"), after_ms=NOON, now_ms=NOON + HOUR, until_ms=NOON + 2 * MINUTE)

    assert told(steps) == [("caught_up", 1), ("caught_up", 2)]


def test_the_misfire_rule_counts_only_up_to_the_end_of_a_version() -> None:
    steps = due_steps(schedule(misfire="once"), after_ms=NOON, now_ms=NOON + HOUR, until_ms=NOON + 10 * MINUTE - 1)

    assert told(steps) == [("made_up", 8), ("caught_up", 9)]


def test_an_end_that_has_not_come_decides_nothing_ahead_of_time() -> None:
    assert due_steps(schedule(), after_ms=NOON, now_ms=NOON + 1, until_ms=NOON + HOUR) == []


def test_one_step_decides_at_most_so_many_and_the_next_goes_on_behind_them() -> None:
    due = schedule("* * * * * *", misfire="all", max_catchup=1_000)
    now_ms = NOON + 30 * MINUTE
    after_ms, counts = NOON, []

    while steps := due_steps(due, after_ms=after_ms, now_ms=now_ms):
        counts.append(len(steps))
        after_ms = steps[-1].tick_ms

    # 800 - 61 missed ones are skipped in one step; 1 000 missed and 61 on time fire.
    assert counts == [MAX_STEPS] * 10 + [62]


def test_a_schedule_without_any_tick_left_has_none() -> None:
    last = datetime(8999, 12, 31, 23, 59, 59, tzinfo=UTC)

    assert next_tick_ms(schedule("0 0 1 1 *"), int(last.timestamp()) * 1000) is None


# And a unit of time in which it has at most one tick.
EXPRESSIONS = [
    ("* * * * * *", 1_000),
    ("*/7 * * * * *", 1_001),
    ("* * * * *", 20_000),
    ("*/5 * * * *", 300_000),
    ("30 2 * * *", 3_600_000),
    ("0 * * * mon", 3_600_000),
    ("0 0 29 2 *", 86_400_000),
]
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]


@settings(deadline=None, max_examples=150)
@given(
    expression=st.sampled_from(EXPRESSIONS),
    zone=st.sampled_from(ZONES),
    misfire=st.sampled_from(list(Misfire)),
    max_catchup=st.sampled_from([1, 3, 99, 100, 101, 250]),
    grace=st.integers(1, 600),
    begin=st.integers(0, 300 * 86_400),
    span=st.integers(0, 3_000),
    nap=st.integers(0, 20_000),
    until=st.none() | st.integers(0, 3_000),
)
def test_every_tick_that_has_come_is_decided_once_and_in_order(
    expression: tuple[str, int],
    zone: str,
    misfire: Misfire,
    max_catchup: int,
    grace: int,
    begin: int,
    span: int,
    nap: int,
    until: int | None,
) -> None:
    """Whatever the batches, and however late each of them comes."""
    text, unit_ms = expression
    due = schedule(text, timezone=zone, misfire=misfire, max_catchup=max_catchup, grace=timedelta(seconds=grace))
    after_ms = NOON + begin * SECOND + 1
    now_ms = after_ms + span * unit_ms
    end_ms = now_ms if until is None else min(now_ms, after_ms + until * unit_ms)
    ticks = []
    tick_ms = next_tick_ms(due, after_ms)
    while tick_ms is not None and tick_ms <= end_ms:
        ticks.append(tick_ms)
        tick_ms = next_tick_ms(due, tick_ms)

    decided: list[Step] = []
    now, seen = now_ms, after_ms
    while seen < end_ms and (steps := due_steps(due, after_ms=seen, now_ms=now, until_ms=end_ms)):
        assert len(steps) <= MAX_STEPS
        decided += steps
        seen = steps[-1].tick_ms
        now += nap

    assert all(step.first_ms <= step.tick_ms for step in decided)
    assert all(step.first_ms == step.tick_ms and step.count == 1 for step in decided if step.fires)
    assert all(one.tick_ms < other.first_ms for one, other in pairwise(decided))
    assert all(step.tick_ms <= end_ms for step in decided)
    in_steps = [tick for step in decided for tick in ticks if step.first_ms <= tick <= step.tick_ms]
    assert in_steps == ticks
    for step in decided:
        of_it = [tick for tick in ticks if step.first_ms <= tick <= step.tick_ms]
        assert (of_it[0], of_it[-1]) == (step.first_ms, step.tick_ms)
        assert step.count == (len(of_it) if len(of_it) <= 1_000 else None)


@settings(deadline=None, max_examples=100)
@given(
    misfire=st.sampled_from(list(Misfire)),
    max_catchup=st.integers(1, 120),
    grace=st.integers(1, 400),
    late=st.integers(0, 9_000),
)
def test_the_misfire_rule_is_kept_exactly(misfire: Misfire, max_catchup: int, grace: int, late: int) -> None:
    """Of the ticks more than the grace ago, none, the newest or the newest ones fire; of the others all."""
    due = schedule("*/10 * * * * *", misfire=misfire, max_catchup=max_catchup, grace=timedelta(seconds=grace))
    now_ms = NOON + late * SECOND + 1
    ticks = range(NOON + 10 * SECOND, now_ms + 1, 10 * SECOND)
    missed = [tick for tick in ticks if now_ms - tick > to_ms(due.grace)]
    on_time = [tick for tick in ticks if now_ms - tick <= to_ms(due.grace)]
    made_up = {Misfire.SKIP: 0, Misfire.ONCE: 1, Misfire.ALL: max_catchup}[misfire]

    fired: list[int] = []
    after_ms = NOON
    while steps := due_steps(due, after_ms=after_ms, now_ms=now_ms):
        fired += [step.tick_ms for step in steps if step.fires]
        after_ms = steps[-1].tick_ms

    assert fired == missed[max(0, len(missed) - made_up) :] + on_time
