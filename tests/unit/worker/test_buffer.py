import pytest

from jobqueue.broker.base import Delivery
from jobqueue.worker.buffer import Buffer
from tests.unit.worker.scene import delivery


def drain(buffer: Buffer) -> list[str]:
    found = []
    while buffer.waiting:
        each = buffer.waiting.popleft()
        found.append(each.job_id)
    return found


def named(name: str, queue: str, rank: int, **facts: int) -> Delivery:
    return delivery(queue=queue, rank=rank, job_id=name, **facts)


@pytest.fixture
def buffer() -> Buffer:
    return Buffer(["first", "second"], max_crashes=3)


def test_what_was_fetched_is_started_in_its_order(buffer: Buffer) -> None:
    buffer.admit([named("a", "first", 1), named("b", "first", 1), named("c", "first", 3)])

    assert len(buffer.waiting) == 3
    assert drain(buffer) == ["a", "b", "c"]
    assert not buffer.waiting


def test_a_later_fetch_of_higher_priority_is_started_first(buffer: Buffer) -> None:
    buffer.admit([named("low", "first", 3), named("other queue", "second", 0)])
    buffer.admit([named("critical", "first", 0), named("low, younger", "first", 3)])

    assert drain(buffer) == ["critical", "low", "low, younger", "other queue"]


def test_a_job_one_crash_short_of_the_limit_is_set_aside(buffer: Buffer) -> None:
    buffer.admit([named("once", "first", 0, crashes=1), named("twice", "first", 0, crashes=2)])

    assert [each.job_id for each in buffer.suspects] == ["twice"]
    assert drain(buffer) == ["once"]


def test_no_job_is_suspect_that_never_crashed_however_small_the_limit() -> None:
    buffer = Buffer(["first"], max_crashes=1)

    buffer.admit([named("fresh", "first", 0)])

    assert not buffer.suspects


def test_everything_is_given_back_with_the_suspects(buffer: Buffer) -> None:
    buffer.admit([named("a", "first", 0), named("suspect", "first", 0, crashes=2)])

    assert [each.job_id for each in buffer.take_all()] == ["a", "suspect"]
    assert not buffer.waiting
    assert not buffer.suspects


def test_all_but_one_suspect_is_given_back_before_it_is_run(buffer: Buffer) -> None:
    """Its neighbours were blamed for its crash: they stood beside it among what the dead worker held."""
    buffer.admit([named("a", "first", 0), named("s1", "first", 0, crashes=2), named("s2", "first", 1, crashes=2)])

    assert [each.job_id for each in buffer.take_all_but_one()] == ["a", "s2"]
    assert [each.job_id for each in buffer.suspects] == ["s1"]


def test_what_has_waited_for_two_ticks_is_given_back_and_nothing_else(buffer: Buffer) -> None:
    buffer.admit([named("a", "second", 0), named("b", "second", 0), named("c", "first", 0, crashes=2)])
    assert buffer.take_stuck() == []
    buffer.waiting.popleft()
    buffer.admit([named("d", "first", 0)])
    assert buffer.take_stuck() == []

    assert [each.job_id for each in buffer.take_stuck()] == ["b"]
    assert [each.job_id for each in buffer.suspects] == ["c"]
    assert [each.job_id for each in buffer.take_stuck()] == ["d"]
    assert not buffer.waiting


def test_only_paused_queues_are_given_back(buffer: Buffer) -> None:
    buffer.admit([named("a", "first", 0), named("b", "second", 0), named("s", "second", 0, crashes=2)])

    assert [each.job_id for each in buffer.take_paused({"second"})] == ["b", "s"]
    assert not buffer.suspects
    assert drain(buffer) == ["a"]


def test_what_waits_behind_the_first_few_is_given_back_in_its_order(buffer: Buffer) -> None:
    buffer.admit([named(name, "first", 0) for name in "abcd"])

    assert [each.job_id for each in buffer.take_beyond(2)] == ["c", "d"]
    assert buffer.take_beyond(2) == []
    assert drain(buffer) == ["a", "b"]
