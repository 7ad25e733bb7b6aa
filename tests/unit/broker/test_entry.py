"""Lines of history: written by a worker's batch, read by the shipper."""

from jobqueue.broker.base import Delivery, Settlement
from jobqueue.broker.entry import NO_HISTORY, journal_line, journal_lines, read_journal_entry
from jobqueue.outcome import COMPLETED, Dead, DeadReason, Failure, Outcome, Released
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

    first, _, third, fourth = read(journal_lines(completed, others))

    assert (first.job_id, first.outcome, first.queued_ms, first.started_ms) == ("job-1", "completed", 1001, 2000)
    assert (first.duration_ms, first.worker, first.error_class) == (1.235, "host:1", None)
    assert (third.outcome, third.error_class, third.error_message) == ("dead", "E", "two\nlines, -")
    assert fourth.outcome == "released"


def test_a_line_for_each_settlement_and_none_after_the_last() -> None:
    """settle.lua counts them, to strike the line of what it refuses."""
    completed = [settled(1, COMPLETED), settled(2, COMPLETED)]
    others = [settled(3, Dead(DeadReason.EXHAUSTED, FAILURE))]

    for plain, odd in ((completed, []), (completed, others), ([], others)):
        assert journal_lines(plain, odd) == b"\n".join(map(journal_line, plain + odd))


def test_what_was_given_back_unstarted_is_no_execution() -> None:
    lines = journal_lines(
        [settled(1, COMPLETED)], [settled(2, Released(), type=""), settled(3, Released()), settled(4, Released(), "")]
    )

    assert lines.split(b"\n").count(NO_HISTORY) == 2
    assert [each.job_id for each in read(lines)] == ["job-1", "job-3"]
    assert read(NO_HISTORY) == []
