"""The small texts in which Redis keeps where a schedule stands, and what was decided about its ticks.

A standing is "version last_ms job_id waiting ended_by", one blank between, `-` for none; *waiting* is ms,ms,...,
*ended_by* the version with which the schedule went to another queue. A record is
"version decision reason tick_ms first_ms count job_id" beside the schedule's name, `-` for more than 1000.
"""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from jobqueue.broker.timetable import Standing
from jobqueue.errors import ConfigError
from jobqueue.schedule import MAX_CATCHUP
from jobqueue.tick import Decision, Reason, Step, TickRecord

NONE: Final = "-"
RECORDS_KEPT: Final = 50_000
"""So many records of ticks a queue keeps, or a few more, until they are shipped."""
_CURSOR: Final = re.compile(r"\d{1,19}-\d{1,19}")


def read_standing(text: bytes, *, busy: int) -> Standing | None:
    """Where a schedule stands; None for no text. Of one that has ended here, only until which version."""
    if not text:
        return None
    version, last_ms, job_id, waiting, ended = text.decode().split(" ")
    if ended != NONE:
        return Standing(version=int(ended), last_ms=int(last_ms))
    return _standing(version, last_ms, job_id, waiting, busy)


def read_left(text: bytes, *, busy: int) -> Standing | None:
    """What a schedule that has ended here left behind; None: it never stood here."""
    version, last_ms, job_id, waiting, _ = text.decode().split(" ")
    return _standing(version, last_ms, job_id, waiting, busy) if version != "0" else None


def _standing(version: str, last_ms: str, job_id: str, waiting: str, busy: int) -> Standing:
    return Standing(
        version=int(version),
        last_ms=int(last_ms),
        waiting=() if waiting == NONE else tuple(map(int, waiting.split(","))),
        job_id=None if job_id == NONE else job_id,
        busy=bool(busy),
    )


def is_sound(text: bytes) -> bool:
    """Whether a standing can be read, and its waiting ticks ascend and were decided on."""
    try:
        version, last_ms, job_id, waiting, ended = text.decode().split(" ")
        standing = _standing(version, last_ms, job_id, waiting, 0)
    except ValueError:
        return False
    ticks = (*standing.waiting, standing.last_ms + 1)
    ascend = all(earlier < later for earlier, later in pairwise(ticks))
    return ascend and len(standing.waiting) <= MAX_CATCHUP and (ended == NONE or int(ended) > standing.version)


def waiting_text(waiting: Sequence[int]) -> str:
    """Ticks that wait, as a standing has them."""
    return ",".join(map(str, waiting)) or NONE


def check_steps(last_ms: int, steps: Sequence[Step]) -> None:
    """Every tick is decided once: the steps go on behind the newest decided tick, one behind the other.

    Raises:
        ValueError: they do not.
    """
    for step in steps:
        if not last_ms < step.first_ms <= step.tick_ms:
            raise ValueError(f"steps must be after {last_ms} and ascend, got {step.first_ms} to {step.tick_ms}")
        last_ms = step.tick_ms


def record_text(record: TickRecord) -> str:
    """A record without its name, queue and time."""
    count = NONE if record.count is None else record.count
    return (
        f"{record.version} {record.decision} {record.reason} {record.tick_ms} {record.first_ms} {count} "
        f"{record.job_id or NONE}"
    )


def read_record(queue: str, name: str, entry_id: bytes, text: bytes) -> TickRecord:
    """An entry of the stream of what was decided."""
    version, decision, reason, tick_ms, first_ms, count, job_id = text.decode().split(" ")
    return TickRecord(
        name=name,
        queue=queue,
        version=int(version),
        decision=Decision(decision),
        reason=Reason(reason),
        tick_ms=int(tick_ms),
        first_ms=int(first_ms),
        count=None if count == NONE else int(count),
        job_id=None if job_id == NONE else job_id,
        at_ms=int(entry_id.partition(b"-")[0]),
    )


def read_entry(queue: str, entry_id: bytes, fields: Sequence[bytes]) -> TickRecord:
    """An entry of the stream as XRANGE gives it."""
    return read_record(queue, fields[1].decode(), entry_id, fields[3])


def check_cursor(after: str) -> str:
    """A cursor into the records: the id of the last one shown.

    Raises:
        ConfigError: it is none.
    """
    if _CURSOR.fullmatch(after):
        return after
    raise ConfigError(
        f"cursor must be one that the page before returned, got {after[:64]!r}; "
        f"leave it out to begin with the first page"
    )
