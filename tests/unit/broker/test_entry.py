"""Lines of history: written by a worker's batch, read by the shipper."""

import pytest

from jobqueue.broker.base import Delivery, Settlement
from jobqueue.broker.entry import NO_HISTORY, journal_line, journal_lines, read_journal_entry
from jobqueue.job import decode_envelope
from jobqueue.outcome import (
    COMPLETED,
    Cancelled,
    Completed,
    Crashed,
    Dead,
    DeadReason,
    Expired,
    Failure,
    Outcome,
    Released,
    Retrying,
    Snoozed,
)
from jobqueue.record import Execution

FAILURE = Failure(error_class="E", message="two\nlines, -", traceback="t")


def settled(number: int, outcome: Outcome, type: str = "mail") -> Settlement:
    taken = Delivery(queue="q", rank=1, entry_id=b"%d-7" % (1000 + number), job_id=f"job-{number}", body=b"{}")
    return Settlement(delivery=taken, outcome=outcome, type=type, started_ms=2000, duration_ms=1.23456)


def read(lines: bytes) -> list[Execution]:
    return read_journal_entry("q", [b"n", b"0", b"w", b"host:1", b"r", lines])


def test_a_batch_is_read_as_it_was_settled() -> None:
    completed = [settled(1, COMPLETED), settled(2, COMPLETED, type="-")]
    others = [settled(3, Dead(DeadReason.EXHAUSTED, FAILURE)), settled(4, Released())]

    first, _, third, fourth = read(journal_lines(completed, others, keep_payload=0))

    assert (first.job_id, first.outcome, first.queued_ms, first.started_ms) == ("job-1", "completed", 1001, 2000)
    assert (first.duration_ms, first.worker, first.error_class) == (1.235, "host:1", None)
    assert (third.outcome, third.error_class, third.error_message) == ("dead", "E", "two\nlines, -")
    assert fourth.outcome == "released"


def test_a_line_for_each_settlement_and_none_after_the_last() -> None:
    """settle.lua counts them, to strike the line of what it refuses."""
    completed = [settled(1, COMPLETED), settled(2, COMPLETED)]
    others = [settled(3, Dead(DeadReason.EXHAUSTED, FAILURE))]

    for plain, odd in ((completed, []), (completed, others), ([], others)):
        lines = journal_lines(plain, odd, keep_payload=9)
        assert lines == b"\n".join(journal_line(each, keep_payload=9) for each in plain + odd)


def test_what_was_given_back_unstarted_is_no_execution() -> None:
    lines = journal_lines(
        [settled(1, COMPLETED)],
        [settled(2, Released(), type=""), settled(3, Released()), settled(4, Released(), "")],
        keep_payload=100,
    )

    assert lines.split(b"\n").count(NO_HISTORY) == 2
    assert [each.job_id for each in read(lines)] == ["job-1", "job-3"]
    assert read(NO_HISTORY) == []


PAYLOAD = b'{"to": "ada"}'


def with_payload(outcome: Outcome, payload: bytes = PAYLOAD, *, cut: bool = False) -> Settlement:
    body = b'{"v":1,"type":"mail","payload":%b,"max_retries":3}' % payload
    settlement = settled(1, outcome)
    settlement.delivery.body = body
    settlement.payload = decode_envelope(body).payload if cut else None
    return settlement


@pytest.mark.parametrize("cut", [False, True], ids=["from the body", "cut out already"])
@pytest.mark.parametrize(
    ("outcome", "kept"),
    [
        (COMPLETED, True),
        (Completed(b"1"), True),
        (Dead(DeadReason.EXHAUSTED, FAILURE), True),
        (Crashed(FAILURE, final=True), True),
        (Cancelled(), True),
        (Expired(), True),
        (Retrying(5, FAILURE), False),
        (Snoozed(5, "", False), False),
        (Crashed(FAILURE), False),
        (Released(), False),
    ],
    ids=lambda each: type(each).__name__,
)
def test_the_payload_stays_with_the_attempt_that_ended_the_job(outcome: Outcome, kept: bool, cut: bool) -> None:
    settlement = with_payload(outcome, cut=cut)
    plain, odd = ([settlement], []) if outcome is COMPLETED else ([], [settlement])

    [execution] = read(journal_lines(plain, odd, keep_payload=len(PAYLOAD)))

    assert execution.payload == (PAYLOAD if kept else None)
    assert execution.error_message == (FAILURE.message if hasattr(outcome, "failure") else None)
    assert [each.payload for each in read(journal_lines(plain, odd, keep_payload=len(PAYLOAD) - 1))] == [None]
    assert [each.payload for each in read(journal_lines(plain, odd, keep_payload=0))] == [None]


def test_a_payload_of_several_lines_stays_on_one() -> None:
    settlements = [with_payload(COMPLETED, b'{\n"a":\r\n "\xff\\n"}', cut=True), with_payload(COMPLETED)]

    lines = journal_lines(settlements, [with_payload(Cancelled(), b'{"a":\n1}')], keep_payload=100)

    assert lines.count(b"\n") == 2
    assert [each.payload for each in read(lines)] == [b'{ "a":\r  "\xff\\n"}', PAYLOAD, b'{"a": 1}']


def test_a_body_that_cannot_be_read_has_no_payload_in_history() -> None:
    settlement = settled(1, Dead(DeadReason.UNREADABLE, FAILURE))
    settlement.delivery.body = b"\xff"

    assert [each.payload for each in read(journal_lines([], [settlement], keep_payload=100))] == [None]


def test_lines_of_workers_that_kept_no_payload_are_read() -> None:
    before = journal_lines([settled(1, COMPLETED)], [settled(2, Dead(DeadReason.EXHAUSTED, FAILURE))], keep_payload=0)

    assert [each.payload for each in read(before)] == [None, None]
    assert len(before.split(b"\n")[0].split(b",")) == 9
