"""The dead-letter queue when there is no Postgres: the stream of dead letters is the store."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from jobqueue.broker import entry, scripts
from jobqueue.broker.entry import type_of
from jobqueue.broker.redis_streams import RedisStreamsBroker
from jobqueue.clock import from_ms
from jobqueue.errors import DeadLetterNotFound, InvalidJob
from jobqueue.job import canonical_id
from jobqueue.record import DeadLetter
from jobqueue.repository.base import LetterFilter, LetterState, StoredLetter

_PAGE = 200
_NEWEST = "+"


class RedisDeadLetters:
    """See `jobqueue.repository.base.DeadLetters`. Finding one reads the stream: meant for operators."""

    def __init__(self, broker: RedisStreamsBroker) -> None:
        self._broker = broker

    async def list(
        self, where: LetterFilter, *, limit: int, after: str | None = None
    ) -> tuple[Sequence[StoredLetter], str | None]:
        queues = [where.queue] if where.queue else await self._broker.queues()
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
        queues = [where.queue] if where.queue else await self._broker.queues()
        total = 0
        for queue in queues:
            async for letter in self._newest_first(queue, _NEWEST):
                total += matches(where, letter)
        return total

    async def get(self, job_id: str) -> StoredLetter:
        where = LetterFilter(job_id=_readable(job_id))
        letters, _ = await self.list(where, limit=1)
        if not letters:
            raise DeadLetterNotFound(f"no dead letter of job {job_id!r:.64}")
        return letters[0]

    async def requeue(self, job_id: str) -> bool:
        try:
            letter = (await self.get(job_id)).letter
        except DeadLetterNotFound:
            if await self._is_live(job_id):
                return False
            raise
        command = scripts.REQUEUE.command(self._broker.keys(letter.queue), letter=letter.entry_id)
        answer: list[Any] = await self._broker.call(command)
        if answer[0] == 2:
            raise InvalidJob(
                f"dead letter of job {letter.job_id} cannot be requeued: live job {answer[1].decode()} holds its "
                f"unique key {letter.unique_key!r}; cancel that one, or try again when it has ended"
            )
        return bool(answer[0] == 1)

    async def _is_live(self, job_id: str) -> bool:
        try:
            return any([await self._broker.locate(queue, job_id) for queue in await self._broker.queues()])
        except InvalidJob:
            return False

    async def delete(self, job_id: str) -> bool:
        try:
            letter = (await self.get(job_id)).letter
        except DeadLetterNotFound:
            return False
        command = scripts.DROP.command(self._broker.keys(letter.queue), letter=letter.entry_id)
        return bool(await self._broker.call(command))

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


def stored(letter: DeadLetter) -> StoredLetter:
    """A letter still in Redis as the store would show it."""
    return StoredLetter(
        letter=letter, type=type_of(letter.body), state=LetterState.DEAD, died_at=from_ms(letter.died_ms)
    )


def matches(where: LetterFilter, stored: StoredLetter) -> bool:
    """Whether a letter is among those asked for."""
    letter = stored.letter
    text = f"{letter.error_class}: {letter.error_message}".lower()
    return (
        where.queue in (None, letter.queue)
        and where.type in (None, stored.type)
        and where.reason in (None, letter.reason)
        and where.job_id in (None, letter.job_id)
        and where.state in (None, stored.state)
        and (where.error is None or where.error.lower() in text)
        and (where.before is None or stored.died_at < where.before)
    )
