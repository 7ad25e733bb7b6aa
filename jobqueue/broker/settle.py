"""Settlements as the arguments of settle.lua.

The hot path: at batch 250 a plain completion costs 0.4 µs of Python, packing included, and with history 1.0,
with its payload 1.2 (`python -m benchmarks.parts`). It travels as two ids and a line of history.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

from jobqueue.broker import scripts
from jobqueue.broker.base import Delivery, Settlement
from jobqueue.broker.entry import failure_json, header, journal_line, journal_lines, type_of
from jobqueue.broker.keys import QueueKeys
from jobqueue.broker.scripts import Value
from jobqueue.outcome import (
    COMPLETED,
    Cancelled,
    Completed,
    Crashed,
    Dead,
    DeadReason,
    Expired,
    Failure,
    Released,
    Retrying,
    Snoozed,
)

MAX_BATCH = 500
MAX_BATCH_BYTES = 1024 * 1024

Fence = Literal["alive", "dead"]


def batches(settlements: Sequence[Settlement], *, keep_payload: int) -> Iterator[list[Settlement]]:
    """Split by the limits of one script call."""
    batch: list[Settlement] = []
    size = 0
    for settlement in settlements:
        weight = 0 if settlement.outcome is COMPLETED else _weight(settlement)
        if keep_payload:
            weight += min(len(settlement.delivery.body), keep_payload)
        if batch and (len(batch) >= MAX_BATCH or size + weight > MAX_BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(settlement)
        size += weight
    if batch:
        yield batch


def _weight(settlement: Settlement) -> int:
    """About how many bytes it adds to a call."""
    match settlement.outcome:
        case Completed(result_json=result):
            return len(result or b"")
        case Dead(failure=failure) | Retrying(failure=failure) | Crashed(failure=failure):
            # The failure travels once in the history and once in a dead letter.
            return len(settlement.delivery.body) + 2 * (len(failure.message) + len(failure.traceback))
        case _:
            return len(settlement.delivery.body)


def command(
    keys: QueueKeys,
    settlements: Sequence[Settlement],
    *,
    consumer: str,
    fence: Fence,
    history: bool,
    journal_max: int,
    keep_payload: int,
) -> list[Value]:
    """The call that settles a batch of one queue."""
    by_rank: list[list[Settlement]] = [[], [], [], []]
    others: list[Settlement] = []
    for settlement in settlements:
        if settlement.outcome is COMPLETED and settlement.delivery.unique_key is None:
            by_rank[settlement.delivery.rank].append(settlement)
        else:
            others.append(settlement)
    plain = [settlement for rank in by_rank for settlement in rank]
    args: list[Value] = [settlement.delivery.entry_id for settlement in plain]
    args += [settlement.delivery.job_id for settlement in plain]
    result_keys: list[str] = []
    for settlement in others:
        args += _item(keys, settlement, result_keys, history=history, keep_payload=keep_payload)
    lines = journal_lines(plain, others, keep_payload=keep_payload) if history else b""
    return scripts.SETTLE.command(
        keys,
        fence=fence,
        consumer=consumer,
        lines=lines,
        journal_max=journal_max,
        n_critical=len(by_rank[0]),
        n_high=len(by_rank[1]),
        n_medium=len(by_rank[2]),
        n_low=len(by_rank[3]),
        more_keys=result_keys,
        more_args=args,
    )


def _item(
    keys: QueueKeys, settlement: Settlement, result_keys: list[str], *, history: bool, keep_payload: int
) -> tuple[Value, ...]:
    taken, outcome = settlement.delivery, settlement.outcome
    kind, state, delay_ms, note, detail = _effect(taken, outcome)
    if history and kind in ("again", "later"):
        note = _if_cancelled(settlement, keep_payload)
    ordinal = 0
    if settlement.result_ttl_ms:
        result_keys.append(keys.result(taken.job_id))
        ordinal = len(result_keys)
    body = b"" if kind in ("completed", "cancelled", "expired") else taken.body
    return (
        kind, taken.rank, taken.entry_id, taken.job_id, taken.unique_key or "", state, delay_ms, body,
        note, detail, ordinal, settlement.result_ttl_ms or 0,
    )  # fmt: skip


def _effect(taken: Delivery, outcome: object) -> tuple[str, str, int, str | bytes, bytes]:
    """Kind, header, delay in ms, note and detail of an outcome, as settle.lua reads them."""
    match outcome:
        case Completed(result_json=result):
            return "completed", "", 0, "", result or b""
        case Retrying(delay_ms=delay_ms, failure=failure):
            state = _header(taken, attempt=taken.attempt + 1, last_error=failure.error_class)
            return _waits(delay_ms), state, delay_ms, "", b""
        case Snoozed(delay_ms=delay_ms, deferral=deferral):
            state = _header(taken, deferrals=taken.deferrals + deferral)
            return _waits(delay_ms), state, delay_ms, "", b""
        case Released():
            return "again", _header(taken), 0, "", b""
        case Dead(reason=reason, failure=failure):
            return _dead(taken, reason, failure)
        case Crashed(failure=failure, final=True):
            return _dead(taken, DeadReason.CRASHED, failure, crashes=taken.crashes + 1)
        case Crashed():
            state = _header(taken, attempt=taken.attempt + 1, crashes=taken.crashes + 1, last_error="WorkerDied")
            return "again", state, 0, "", b""
        case Cancelled():
            return "cancelled", "", 0, "", b""
        case Expired():
            return "expired", "", 0, "", b""
        case _:
            raise TypeError(f"no outcome: {outcome!r}")


def _dead(
    taken: Delivery, reason: DeadReason, failure: Failure, crashes: int | None = None
) -> tuple[str, str, int, str, bytes]:
    crashes = taken.crashes if crashes is None else crashes
    state = header(
        attempt=taken.attempt,
        crashes=crashes,
        generation=taken.generation,
        last_error=failure.error_class,
        unique_key=taken.unique_key,
    )
    return "dead", state, 0, reason.value, failure_json(failure)


def _waits(delay_ms: int) -> str:
    return "later" if delay_ms > 0 else "again"


def _header(
    taken: Delivery,
    *,
    attempt: int | None = None,
    crashes: int | None = None,
    deferrals: int | None = None,
    last_error: str | None = None,
) -> str:
    """The header of a job's next delivery; none where it is as good as new."""
    text = header(
        attempt=taken.attempt if attempt is None else attempt,
        crashes=taken.crashes if crashes is None else crashes,
        generation=taken.generation,
        deferrals=taken.deferrals if deferrals is None else deferrals,
        expires_ms=taken.expires_ms,
        last_error=last_error or taken.last_error,
        unique_key=taken.unique_key,
    )
    return "" if text == _AS_GOOD_AS_NEW else text


def _if_cancelled(settlement: Settlement, keep_payload: int) -> bytes:
    return journal_line(
        Settlement(
            delivery=settlement.delivery,
            outcome=Cancelled(),
            type=settlement.type or type_of(settlement.delivery.body),
            started_ms=settlement.started_ms,
            duration_ms=settlement.duration_ms,
            payload=settlement.payload,
        ),
        keep_payload=keep_payload,
    )


_AS_GOOD_AS_NEW = header()
