"""The dead-letter queue when there is no Postgres: the stream of dead letters is the store."""

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

import msgspec
from redis.exceptions import ResponseError

from jobqueue.broker import entry, scripts
from jobqueue.broker.connection import refused
from jobqueue.broker.letters import MOST_FAILURES, edited_body, grouped, matches, stored, unique_key_held
from jobqueue.broker.redis_streams import RedisStreamsBroker
from jobqueue.errors import DeadLetterNotFound, InvalidJob
from jobqueue.job import canonical_id
from jobqueue.record import DeadLetter, ErrorGroup, Many
from jobqueue.repository.base import LetterFilter, StoredLetter

_PAGE = 200
_NEWEST = "+"
_AT_ONCE = 100
_QUEUED, _HELD = 1, 2  # answers of requeue.lua


class RedisDeadLetters:
    """See `jobqueue.repository.base.DeadLetters`. Finding one reads the stream: meant for operators."""

    def __init__(self, broker: RedisStreamsBroker) -> None:
        self._broker = broker

    async def list(
        self, where: LetterFilter, *, limit: int, after: str | None = None
    ) -> tuple[Sequence[StoredLetter], str | None]:
        queues = await self._queues(where)
        found = [letter for queue in queues for letter in await self._page(queue, where, limit + 1, after)]
        found.sort(key=_place, reverse=True)
        more = _cursor(found[limit - 1]) if len(found) > limit else None
        return found[:limit], more

    async def _page(self, queue: str, where: LetterFilter, limit: int, after: str | None) -> Sequence[StoredLetter]:
        """The newest letters of one queue that come after the cursor."""
        before = _NEWEST
        if after is not None:
            # Letters of one instant are listed by queue, from the last in the alphabet.
            entry_id, _, last_queue = after.partition("/")
            before = entry_id if queue < last_queue else f"({entry_id}"
        found: list[StoredLetter] = []
        async for letter in self._newest_first(queue, before):
            if matches(where, letter):
                found.append(letter)
            if len(found) == limit:
                break
        return found

    async def count(self, where: LetterFilter) -> int:
        return sum([1 async for _ in self._matching(where)])

    async def get(self, job_id: str, *, queue: str | None = None) -> StoredLetter:
        where = LetterFilter(job_id=_readable(job_id), queue=queue)
        letters, _ = await self.list(where, limit=1)
        if not letters:
            raise DeadLetterNotFound(f"no dead letter of job {job_id!r:.64}")
        return letters[0]

    async def requeue(self, job_id: str, *, queue: str | None = None, payload: bytes | None = None) -> bool:
        try:
            letter = (await self.get(job_id, queue=queue)).letter
        except DeadLetterNotFound:
            if await self._is_live(job_id, queue):
                return False
            raise
        answer: list[Any] = await self._broker.call(self._requeue(letter, edited_body(letter, payload)))
        if answer[0] == _HELD:
            raise unique_key_held(letter, answer[1].decode())
        return bool(answer[0] == _QUEUED)

    def _requeue(self, letter: DeadLetter, edited: bytes = b"") -> Sequence[scripts.Value]:
        return scripts.REQUEUE.command(self._broker.keys(letter.queue), letter=letter.entry_id, edited=edited)

    async def requeue_where(self, where: LetterFilter, *, limit: int) -> Many:
        many, letters = await self._choose(where, limit + MOST_FAILURES)
        looked_at = 0
        while many.done < limit and looked_at < len(letters):
            some = letters[looked_at : looked_at + min(_AT_ONCE, limit - many.done)]
            looked_at += len(some)
            for letter, answer in zip(some, await self._call_each(map(self._requeue, some)), strict=True):
                if answer[0] == _HELD:
                    many.failed[letter.job_id] = str(unique_key_held(letter, answer[1].decode()))
                else:
                    many.done += answer[0] == _QUEUED
        many.remaining = many.matched - looked_at
        return many

    async def delete_where(self, where: LetterFilter, *, limit: int) -> Many:
        many, letters = await self._choose(where, limit)
        for start in range(0, len(letters), _AT_ONCE):
            some = letters[start : start + _AT_ONCE]
            many.done += sum(await self._call_each(map(self._drop, some)))
        many.remaining = many.matched - len(letters)
        return many

    def _drop(self, letter: DeadLetter) -> Sequence[scripts.Value]:
        return scripts.DROP.command(self._broker.keys(letter.queue), letter=letter.entry_id)

    async def _choose(self, where: LetterFilter, most: int) -> tuple[Many, Sequence[DeadLetter]]:
        """How many there are, and the first of them, without their bodies and texts."""
        many = Many(matched=0)
        chosen: list[DeadLetter] = []
        async for found in self._matching(where):
            many.matched += 1
            if len(chosen) < most:
                chosen.append(msgspec.structs.replace(found.letter, body=b"", error_message="", traceback=""))
        return many, chosen

    async def _call_each(self, commands: Iterable[Sequence[scripts.Value]]) -> Sequence[Any]:
        answers = await self._broker.call_each(list(commands))
        for answer in answers:
            if isinstance(answer, ResponseError):
                raise refused(answer) from answer
        return answers

    async def groups(self, where: LetterFilter, *, limit: int) -> Sequence[ErrorGroup]:
        return await grouped(self._matching(where), limit=limit)

    async def _is_live(self, job_id: str, queue: str | None) -> bool:
        queues = [queue] if queue is not None else await self._broker.queues()
        try:
            return await self._broker.locate_in(queues, job_id) is not None
        except InvalidJob:
            return False

    async def delete(self, job_id: str, *, queue: str | None = None) -> bool:
        try:
            letter = (await self.get(job_id, queue=queue)).letter
        except DeadLetterNotFound:
            return False
        return bool(await self._broker.call(self._drop(letter)))

    async def _queues(self, where: LetterFilter) -> Sequence[str]:
        """Those of the filter that have dead letters."""
        wanted = [where.queue] if where.queue else await self._broker.queues()
        among = None if where.queues is None else frozenset(where.queues)
        chosen = [queue for queue in wanted if among is None or queue in among]
        return await self._broker.journal.waiting_in(chosen, "dead")

    async def _matching(self, where: LetterFilter) -> AsyncIterator[StoredLetter]:
        """Every letter asked for, queue by queue."""
        for queue in await self._queues(where):
            async for letter in self._newest_first(queue, _NEWEST):
                if matches(where, letter):
                    yield letter

    async def _newest_first(self, queue: str, before: str) -> AsyncIterator[StoredLetter]:
        stream = self._broker.keys(queue).dead
        while True:
            page: list[Any] = await self._broker.call(["XREVRANGE", stream, before, "-", "COUNT", _PAGE])
            for entry_id, fields in page:
                yield stored(entry.read_dead_letter(queue, entry_id, fields))
            if len(page) < _PAGE:
                return
            before = f"({page[-1][0].decode()}"


def _place(stored: StoredLetter) -> tuple[int, int, str]:
    """Where a letter stands among all: by death, then by queue."""
    ms, _, n = stored.letter.entry_id.partition("-")
    return int(ms), int(n), stored.letter.queue


def _cursor(stored: StoredLetter) -> str:
    return f"{stored.letter.entry_id}/{stored.letter.queue}"


def _readable(job_id: str) -> str:
    """A job id in its canonical text; one that is none stays as it is and names no job."""
    try:
        return canonical_id(job_id)
    except InvalidJob:
        return job_id
