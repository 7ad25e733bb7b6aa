"""The small texts that travel beside a body: headers, enqueue specs, journal lines, results.

A header is "attempt crashes generation deferrals expires_ms last_error unique_key", one blank between,
`-` for no error and nothing after the last blank for no key. A job on its first delivery needs none.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Final

import msgspec

from jobqueue.broker.base import Delivery, Settlement, Submission
from jobqueue.clock import to_ms
from jobqueue.errors import InvalidJob
from jobqueue.job import PRIORITIES, decode_envelope
from jobqueue.outcome import (
    Cancelled,
    Completed,
    Crashed,
    Dead,
    Expired,
    Failure,
    Released,
    Retrying,
    Snoozed,
)
from jobqueue.record import ENDS, DeadLetter, Execution

NO_ERROR: Final = "-"
NO_HISTORY: Final = b"-"
OUTCOME_NAMES: Final = {
    Completed: "completed",
    Retrying: "retrying",
    Snoozed: "snoozed",
    Dead: "dead",
    Cancelled: "cancelled",
    Expired: "expired",
    Released: "released",
    Crashed: "crashed",
}


def header(
    *,
    attempt: int = 1,
    crashes: int = 0,
    generation: int = 0,
    deferrals: int = 0,
    expires_ms: int = 0,
    last_error: str | None = None,
    unique_key: str | None = None,
) -> str:
    """A header with these counters."""
    error = "_".join((last_error or NO_ERROR).split()) or NO_ERROR
    return f"{attempt} {crashes} {generation} {deferrals} {expires_ms} {error} {unique_key or ''}"


def read_header(text: bytes) -> dict[str, Any]:
    """The counters of a header by the names that `Delivery` uses."""
    attempt, crashes, generation, deferrals, expires_ms, error, unique_key = text.decode().split(" ", 6)
    return {
        "attempt": int(attempt),
        "crashes": int(crashes),
        "generation": int(generation),
        "deferrals": int(deferrals),
        "expires_ms": int(expires_ms),
        "last_error": None if error == NO_ERROR else error,
        "unique_key": unique_key or None,
    }


def delivery(queue: str, rank: int, entry_id: bytes, fields: list[bytes]) -> Delivery:
    """An entry of a job stream as a delivery."""
    if len(fields) == 4:
        return Delivery(queue=queue, rank=rank, entry_id=entry_id, job_id=fields[1].decode(), body=fields[3])
    return Delivery(
        queue=queue,
        rank=rank,
        entry_id=entry_id,
        job_id=fields[1].decode(),
        body=fields[3],
        **read_header(fields[5]),
    )


def spec(submission: Submission, body: bytes, key_ordinal: int) -> str:
    """How enqueue.lua is to queue a job: one digit for a plain one."""
    job = submission.job
    rank = job.priority.rank
    plain = (
        submission.delay is None
        and submission.run_at_ms is None
        and submission.idempotency_key is None
        and not submission.generation
        and job.expires is None
        and job.unique_key is None
    )
    if plain:
        return str(rank)
    due = "0"
    if submission.delay is not None:
        due = f"+{to_ms(submission.delay)}"
    elif submission.run_at_ms is not None:
        due = f"@{submission.run_at_ms}"
    ttl_ms = to_ms(job.expires) if job.expires is not None else 0
    key_ttl_ms = max(1, to_ms(submission.idempotency_ttl))  # Redis refuses 0, and would do so half-way
    return (
        f"{rank} {due} {ttl_ms} {key_ordinal} {key_ttl_ms} {digest(submission, body)} "
        f"{submission.generation} {job.unique_key or ''}"
    )


def digest(submission: Submission, body: bytes) -> str:
    """What makes two submissions the same one: type, payload and options, but not the id."""
    if submission.idempotency_key is None:
        return NO_ERROR
    fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    for name in ("created_ms", "v"):
        fields.pop(name, None)
    parts = b"".join(key.encode() + b"=" + bytes(fields[key]) + b"\n" for key in sorted(fields))
    return blake2b(parts + submission.job.priority.value.encode(), digest_size=12).hexdigest()


def failure_of(settlement: Settlement) -> Failure | None:
    return getattr(settlement.outcome, "failure", None)


def journal_lines(completed: Sequence[Settlement], others: Sequence[Settlement], *, keep_payload: int) -> bytes:
    """A line of history for each settlement, those that plainly *completed* first. Hot: about 0.6 µs for one of them.

    Payloads of up to *keep_payload* bytes are kept in the lines of jobs that ended.
    `encode_lines` ends the last line, too.
    """
    lines = _ENCODER.encode_lines(
        [_completed_line(each, keep_payload) for each in completed]
        if keep_payload
        else [_line(each, "completed") for each in completed]
    )
    if lines.count(b"\n") != len(completed):  # a payload of several lines; one look for all costs less
        lines = b"".join(journal_line(each, keep_payload=keep_payload) + b"\n" for each in completed)
    return (lines + b"\n".join(journal_line(each, keep_payload=keep_payload) for each in others)).removesuffix(b"\n")


def journal_line(settlement: Settlement, *, keep_payload: int) -> bytes:
    """A settlement as a line of history; what was given back before it was started has none to tell."""
    outcome = settlement.outcome
    if isinstance(outcome, Released) and not settlement.type:
        return NO_HISTORY
    name = "dead" if isinstance(outcome, Crashed) and outcome.final else OUTCOME_NAMES[type(outcome)]
    line = _line(settlement, name)
    failure = failure_of(settlement)
    if failure is not None:
        line += (failure.error_class, failure.message, failure.traceback)
    payload = kept_payload(settlement, keep_payload) if name in ENDS else None
    if payload is not None:
        on_one_line = msgspec.Raw(payload.replace(b"\n", b" "))  # in JSON, it can only stand between values
        line += (on_one_line,) if failure is not None else (None, None, None, on_one_line)
    return _ENCODER.encode(line)


def _completed_line(settlement: Settlement, keep_payload: int) -> tuple[Any, ...]:
    payload = settlement.payload
    if payload is None or len(payload) > keep_payload:
        payload = _kept(settlement, keep_payload)
    line = _line(settlement, "completed")
    return line if payload is None else line + (None, None, None, payload)  # noqa: RUF005 - unpacking takes twice as long


def kept_payload(settlement: Settlement, limit: int) -> bytes | None:
    """The payload as JSON; None when it is too long or cannot be read."""
    payload = _kept(settlement, limit)
    return None if payload is None else bytes(payload)


def _kept(settlement: Settlement, limit: int) -> msgspec.Raw | None:
    """The payload as a part of the body, as in `kept_payload`."""
    if not limit:
        return None
    payload = settlement.payload
    if payload is None:
        payload = _payload_of(settlement.delivery.body)
    return payload if payload is not None and len(payload) <= limit else None


def _line(settlement: Settlement, outcome: str) -> tuple[Any, ...]:
    taken = settlement.delivery
    return (
        taken.job_id,
        settlement.type,
        taken.rank,
        taken.generation,
        taken.attempt,
        outcome,
        int(taken.entry_id.partition(b"-")[0]),
        settlement.started_ms,
        int(settlement.duration_ms * 1000 + 0.5) / 1000,  # to the µs, for half the price of round()
    )


class _Line(msgspec.Struct, array_like=True, gc=False):
    """What `_line` writes, a failure's three texts, and the payload of a job that ended."""

    job_id: str
    type: str
    rank: int
    generation: int
    attempt: int
    outcome: str
    queued_ms: int
    started_ms: int
    duration_ms: float
    error_class: str | None = None
    error_message: str | None = None
    traceback: str | None = None
    payload: msgspec.Raw = msgspec.Raw()


_ENCODER: Final = msgspec.json.Encoder()
_LINES: Final = msgspec.json.Decoder(_Line)


def read_journal_entry(queue: str, fields: list[bytes]) -> list[Execution]:
    """The executions in an entry of the journal. Hot: about 0.5 µs each."""
    worker, lines = fields[3].decode(), fields[5]
    if lines.startswith(NO_HISTORY) or b"\n" + NO_HISTORY in lines:
        lines = b"\n".join(line for line in lines.split(b"\n") if line != NO_HISTORY)
    return [
        Execution(
            job_id=line.job_id,
            queue=queue,
            type=line.type,
            priority=PRIORITIES[line.rank],
            generation=line.generation,
            attempt=line.attempt,
            outcome=line.outcome,
            worker=worker,
            queued_ms=line.queued_ms,
            started_ms=line.started_ms,
            duration_ms=line.duration_ms,
            error_class=line.error_class,
            error_message=line.error_message,
            traceback=line.traceback,
            payload=bytes(line.payload) or None,
        )
        for line in _LINES.decode_lines(lines)
    ]


def failure_json(failure: Failure) -> bytes:
    return msgspec.json.encode([failure.error_class, failure.message, failure.traceback])


def read_dead_letter(queue: str, entry_id: bytes, fields: list[bytes]) -> DeadLetter:
    """An entry of the stream of dead letters."""
    counters = read_header(fields[5])
    error_class, message, traceback = msgspec.json.decode(fields[11])
    return DeadLetter(
        entry_id=entry_id.decode(),
        queue=queue,
        priority=PRIORITIES[int(fields[7])],
        job_id=fields[1].decode(),
        body=fields[3],
        reason=fields[9].decode(),
        error_class=error_class,
        error_message=message,
        traceback=traceback,
        attempts=counters["attempt"],
        crashes=counters["crashes"],
        generation=counters["generation"],
        unique_key=counters["unique_key"],
        worker=fields[13].decode(),
        died_ms=int(entry_id.partition(b"-")[0]),
    )


def type_of(body: bytes) -> str:
    """The task named in a body, or '' when it cannot be read."""
    try:
        return decode_envelope(body).type
    except InvalidJob:
        return ""


def _payload_of(body: bytes) -> msgspec.Raw | None:
    try:
        return decode_envelope(body).payload
    except InvalidJob:
        return None
