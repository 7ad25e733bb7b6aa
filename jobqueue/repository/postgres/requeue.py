"""The way back of dead letters: the wish is noted, the job queued, the end noted.

Each step can be repeated by anybody after a crash: the wish carries the body that is to be queued, and the broker
remembers what was queued for this death. One letter, or many: the steps are the same.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import asyncpg

from jobqueue import crash
from jobqueue.broker.base import Broker, Enqueued, EnqueueResult, Submission
from jobqueue.durability import Durability
from jobqueue.errors import InvalidJob
from jobqueue.job import Job
from jobqueue.record import DeadLetter
from jobqueue.repository.base import LetterState
from jobqueue.repository.postgres.database import Database
from jobqueue.repository.postgres.queries import DEAD_LETTERS as SQL
from jobqueue.repository.postgres.row import payload_text, read_envelope, stored_letter_of

REQUEUE_MEMORY: Final = timedelta(days=7)
"""How long the broker remembers a requeue, and thus how late a repetition of it is still harmless."""

Verdict = bool | InvalidJob
"""Whether this call brought a letter back; False: somebody else did. Or why nobody can."""


@dataclass(slots=True, kw_only=True)
class _Way:
    """One letter on its way back."""

    row: asyncpg.Record
    letter: DeadLetter
    submission: Submission
    edited: bool
    verdict: Verdict = False

    @property
    def letter_id(self) -> int:
        found: int = self.row["letter_id"]
        return found

    @property
    def body_digest(self) -> bytes:
        """Of the body as it was read, which must be the one in the row still."""
        return hashlib.sha256(self.row["body"]).digest()


class Requeues:
    """Brings rows of dead letters back to *broker*."""

    def __init__(self, database: Database, broker: Broker, durability: Durability) -> None:
        self._database = database
        self._broker = broker
        self._durability = durability

    async def bring_back(self, rows: Sequence[asyncpg.Record], *, payload: bytes | None = None) -> list[Verdict]:
        """Bring letters back, each with its own body, or with *payload* in it. A verdict for each row.

        Raises:
            BrokerUnavailable, Backpressure, EnqueueUncertain: not queued yet, or not known to be; all of them are on
                their way.
        """
        ways = [await self._prepare(row, payload) for row in rows]
        ready = [way for way in ways if isinstance(way, _Way)]
        claimed = await self._claim(ready)
        if claimed:
            crash.point("before_requeue_enqueue")
            results = await self._broker.enqueue([way.submission for way in claimed])
            crash.point("after_requeue_enqueue")
            await self._end(claimed, results)
        return [way.verdict if isinstance(way, _Way) else way for way in ways]

    async def _prepare(self, row: asyncpg.Record, payload: bytes | None) -> _Way | Verdict:
        letter = stored_letter_of(row).letter
        try:
            job = _job(letter, payload)
        except InvalidJob as error:
            if payload is None:
                await self._abandon(row["letter_id"])
            return InvalidJob(f"dead letter of job {letter.job_id} cannot be requeued: {error}")
        edited = payload is not None and job.to_wire() != letter.body
        if edited and row["state"] != LetterState.DEAD:
            return False
        return _Way(row=row, letter=letter, submission=_submission(letter, job, self._durability), edited=edited)

    async def _claim(self, ways: Sequence[_Way]) -> list[_Way]:
        """Those that are ours to be queued."""
        if not ways:
            return []
        async with self._database.transaction() as session:
            mine = set()
            for way in ways:
                if way.edited:
                    body = way.submission.job.to_wire()
                    text = payload_text(way.submission.job.payload_json)
                    mine.add(await session.value(SQL.claim_edited, way.letter_id, way.body_digest, body, text))
            plain = [way for way in ways if not way.edited]
            if plain:
                ids, digests = [way.letter_id for way in plain], [way.body_digest for way in plain]
                mine.update([row["letter_id"] for row in await session.rows(SQL.claim, ids, digests)])
        return [way for way in ways if way.letter_id in mine]

    async def _end(self, ways: Sequence[_Way], results: Sequence[EnqueueResult]) -> None:
        queued: list[_Way] = []
        for way, result in zip(ways, results, strict=True):
            if result.job_id == way.letter.job_id:
                queued.append(way)
                continue
            await self._abandon(way.letter_id, way.row if way.edited else None)
            way.verdict = InvalidJob(
                f"dead letter of job {way.letter.job_id} cannot be requeued: live job {result.job_id} holds its "
                f"unique key {way.letter.unique_key!r}; cancel that one, or try again when it has ended"
            )
        if not queued:
            return
        async with self._database.transaction() as session:
            ended = {row["letter_id"] for row in await session.rows(SQL.complete, [way.letter_id for way in queued])}
        conflicts = {result.job_id for result in results if result.status is Enqueued.CONFLICT}
        for way in queued:
            way.verdict = way.letter_id in ended and way.letter.job_id not in conflicts

    async def _abandon(self, letter_id: int, as_read: asyncpg.Record | None = None) -> None:
        """The letter is dead again, with the body it was read with."""
        body = None if as_read is None else as_read["body"]
        async with self._database.transaction() as session:
            await session.value(SQL.abandon, letter_id, body, None if body is None else _payload_of(body))


def _job(letter: DeadLetter, payload: bytes | None) -> Job:
    job = Job.from_wire(
        letter.body,
        id=letter.job_id,
        queue=letter.queue,
        priority=letter.priority,
        unique_key=letter.unique_key,
    )
    return job if payload is None else job.with_payload(payload)


def _submission(letter: DeadLetter, job: Job, durability: Durability) -> Submission:
    generation = letter.generation + 1
    return Submission(
        job=job,
        # The entry id names this death: the same job may die in the same generation twice, when it was
        # enqueued anew by hand.
        idempotency_key=f"requeue:{letter.entry_id}:{generation}",
        idempotency_ttl=REQUEUE_MEMORY,
        generation=generation,
        durability=durability,
    )


def _payload_of(body: bytes) -> str | None:
    envelope = read_envelope(body)
    return None if envelope is None else payload_text(bytes(envelope.payload))
