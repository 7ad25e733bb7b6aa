"""Executions in the binary format of COPY, https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format".

The hot path of the shipper: about 1.9 µs a row, where a row of Python values and asyncpg's encoder cost 5.4 µs
(CPython 3.11). Most rows of a page differ in their id and times only, so what they share is packed once.
"""

import struct
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from jobqueue.outcome import storable
from jobqueue.record import Execution
from jobqueue.repository.postgres.minute import CLASSES, LIMITS_MS, Ends, Minutes, minutes_of_ends
from jobqueue.repository.postgres.row import NOT_FAILED, is_text

COLUMNS: Final = (
    "failed",
    "namespace",
    "queue",
    "type",
    "priority",
    "generation",
    "attempt",
    "outcome",
    "worker",
    "job_id",
    "finished_at",
    "queued_at",
    "started_at",
    "duration_ms",
    "error_class",
    "error_message",
    "traceback",
    "payload",
)

_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + struct.pack("!ii", 0, 0)
_TRAILER: Final = struct.pack("!h", -1)
_SHARED: Final = struct.Struct("!hi?")  # the number of columns, failed
_INTS: Final = struct.Struct("!iiii")
_OWN: Final = struct.Struct("!i16siqiqiqid").pack  # job_id, finished_at, queued_at, started_at, duration_ms
_LENGTH: Final = struct.Struct("!i").pack
_NULL: Final = _LENGTH(-1)
_NONE: Final = (None, None, None)
_NO_ERROR: Final = 3 * _NULL

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)  # of Postgres' timestamps, which count µs
_EPOCH_MS: Final = int(_EPOCH.timestamp()) * 1000
_LAST_MS: Final = int(datetime(9999, 12, 31, tzinfo=UTC).timestamp()) * 1000
_MINUTE_US: Final = 60_000_000
_DAY_MINUTES: Final = 1_440
_UUID_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Packed:
    """Rows for COPY, how many, the days (UTC) whose partitions they need, and their counts by the minute; and the
    executions that are not among them."""

    data: bytes
    rows: int
    days: set[date]
    minutes: Minutes
    odd: list[Execution]


def pack_executions(executions: Sequence[Execution], *, namespace: str, now: datetime) -> Packed:
    """Pack those that ran and whose facts are in range; the others are left to `execution_row`, which bears anything.

    Both ways make the same row of an execution.
    """
    shared: dict[tuple[object, ...], tuple[bytes, Ends]] = {}
    parts, odd = [_HEADER], []
    now_us = (now - _EPOCH) // timedelta(microseconds=1)
    for each in executions:
        queued_ms, started_ms, duration_ms = each.queued_ms, each.started_ms, each.duration_ms
        if not (0 < queued_ms < _LAST_MS and 0 < started_ms < _LAST_MS and duration_ms >= 0):
            odd.append(each)
            continue
        key = (each.type, each.outcome, each.attempt, each.generation, each.priority, each.worker, each.queue)
        try:
            job_id = bytes.fromhex(each.job_id.replace("-", ""))
            queued_us, started_us = (queued_ms - _EPOCH_MS) * 1000, (started_ms - _EPOCH_MS) * 1000
            finished_us = min(started_us + round(duration_ms * 1000), now_us)
            own = _OWN(16, job_id, 8, finished_us, 8, queued_us, 8, started_us, 8, duration_ms)
            same, ends = shared.get(key) or shared.setdefault(key, _share(each, namespace))
        except (ValueError, OverflowError, struct.error):
            odd.append(each)
            continue
        if len(job_id) != _UUID_BYTES:
            odd.append(each)
            continue
        error = (each.error_class, each.error_message, each.traceback)
        parts += (same, own, _NO_ERROR if error == _NONE else _pack_error(error), _pack_payload(each.payload))
        ends.append(finished_us // _MINUTE_US * CLASSES + bisect_right(LIMITS_MS, duration_ms))
    parts.append(_TRAILER)
    minutes = minutes_of_ends(ends for _, ends in shared.values())
    return Packed(
        data=b"".join(parts),
        rows=len(executions) - len(odd),
        days={_EPOCH.date() + timedelta(number // _DAY_MINUTES) for number, *_ in minutes},
        minutes=minutes,
        odd=odd,
    )


def _share(execution: Execution, namespace: str) -> tuple[bytes, Ends]:
    """The columns up to `worker`, and the list of when such executions ended."""
    columns = b"".join(
        (
            _SHARED.pack(len(COLUMNS), 1, execution.outcome not in NOT_FAILED),
            _text(namespace),
            _text(execution.queue),
            _text(execution.type),
            _text(execution.priority),
            _INTS.pack(4, execution.generation, 4, execution.attempt),
            _text(execution.outcome),
            _text(execution.worker),
        )
    )
    return columns, Ends(execution.queue, execution.outcome)


def _pack_error(error: tuple[str | None, ...]) -> bytes:
    return b"".join(_NULL if text is None else _text(text) for text in error)


def _pack_payload(payload: bytes | None) -> bytes:
    if payload is None or not is_text(payload):
        return _NULL
    return _LENGTH(len(payload)) + payload


def _text(text: str) -> bytes:
    data = storable(text).encode()
    return _LENGTH(len(data)) + data
