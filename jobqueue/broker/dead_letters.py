"""The dead-letter queue when there is no Postgres: the stream of dead letters is the store."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from jobqueue.broker import entry, scripts
from jobqueue.broker.reap import type_of
from jobqueue.broker.redis_streams import RedisStreamsBroker
from jobqueue.clock import from_ms
from jobqueue.errors import DeadLetterNotFound, RepositoryError
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
        queue, before = after.split("/", 1) if after else (queues[0] if queues else "", _NEWEST)
        found: list[StoredLetter] = []
        for each in queues[queues.index(queue) :] if queue in queues else []:
            async for letter in self._newest_first(each, before if each == queue else _NEWEST):
                if len(found) == limit:
                    return found, f"{found[-1].letter.queue}/({found[-1].letter.entry_id}"
                if matches(where, letter):
                    found.append(letter)
        return found, None

    async def count(self, where: LetterFilter) -> int:
        queues = [where.queue] if where.queue else await self._broker.queues()
        total = 0
        for queue in queues:
            async for letter in self._newest_first(queue, _NEWEST):
                total += matches(where, letter)
        return total

    async def get(self, job_id: str) -> StoredLetter:
        job_id = canonical_id(job_id)
        for queue in await self._broker.queues():
            async for letter in self._newest_first(queue, _NEWEST):
                if letter.letter.job_id == job_id:
                    return letter
        raise DeadLetterNotFound(f"no dead letter has the job id {job_id}")

    async def requeue(self, job_id: str) -> bool:
        letter = (await self.get(job_id)).letter
        command = scripts.REQUEUE.command(self._broker.keys(letter.queue), letter=letter.entry_id)
        answer: list[Any] = await self._broker.call(command)
        if answer[0] == 2:
            raise RepositoryError(
                f"job {job_id} cannot come back: its unique key {letter.unique_key!r} "
                f"is held by job {answer[1].decode()}; wait for that one, or cancel it"
            )
        return bool(answer[0] == 1)

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
