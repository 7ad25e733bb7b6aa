"""The dead-letter queue over the memory."""

from collections.abc import AsyncIterator, Sequence

from jobqueue.broker.base import Submission
from jobqueue.broker.letters import MOST_FAILURES, edited_body, grouped, matches, stored, unique_key_held
from jobqueue.errors import DeadLetterNotFound, InvalidJob
from jobqueue.job import Job
from jobqueue.record import DeadLetter, ErrorGroup, Many, entry_order
from jobqueue.repository.base import LetterFilter, StoredLetter
from jobqueue.testing.memory.broker import MemoryBroker
from jobqueue.testing.memory.submit import submit


class MemoryDeadLetters:
    """See `jobqueue.repository.base.DeadLetters`; over the letters that a `MemoryBroker` holds."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._store = broker.store

    async def list(
        self, where: LetterFilter, *, limit: int, after: str | None = None
    ) -> tuple[Sequence[StoredLetter], str | None]:
        found = [letter for letter in self._all() if matches(where, letter)]
        if after is not None:
            found = [letter for letter in found if entry_order(letter.letter.entry_id) < entry_order(after)]
        return found[:limit], found[limit - 1].letter.entry_id if len(found) > limit else None

    async def count(self, where: LetterFilter) -> int:
        return sum(matches(where, letter) for letter in self._all())

    async def get(self, job_id: str, *, queue: str | None = None) -> StoredLetter:
        for letter in self._all():
            if letter.letter.job_id == job_id.lower() and queue in (None, letter.letter.queue):
                return letter
        raise DeadLetterNotFound(f"no dead letter of job {job_id!r:.64}")

    async def requeue(self, job_id: str, *, queue: str | None = None, payload: bytes | None = None) -> bool:
        letter = (await self.get(job_id, queue=queue)).letter
        return self._requeue(letter, edited_body(letter, payload) or letter.body)

    def _requeue(self, letter: DeadLetter, body: bytes) -> bool:
        queue = self._store.queue(letter.queue)
        if letter.unique_key is not None and queue.unique.get(letter.unique_key, letter.job_id) != letter.job_id:
            raise unique_key_held(letter, queue.unique[letter.unique_key])
        alive = letter.job_id in queue.live
        del queue.dead[letter.entry_id]
        if alive:
            queue.counted["requeued"] += 1
            return False
        job = Job.from_wire(
            body, id=letter.job_id, queue=queue.name, priority=letter.priority, unique_key=letter.unique_key
        )
        submit(self._store, Submission(job=job, generation=letter.generation + 1))
        return True

    async def requeue_where(self, where: LetterFilter, *, limit: int) -> Many:
        letters = [each.letter for each in self._all() if matches(where, each)]
        many, looked_at = Many(matched=len(letters)), 0
        for letter in letters[: limit + MOST_FAILURES]:
            if many.done == limit:
                break
            looked_at += 1
            try:
                many.done += self._requeue(letter, letter.body)
            except InvalidJob as error:
                many.failed[letter.job_id] = str(error)
        many.remaining = many.matched - looked_at
        return many

    async def delete_where(self, where: LetterFilter, *, limit: int) -> Many:
        letters = [each.letter for each in self._all() if matches(where, each)]
        for letter in letters[:limit]:
            self._delete(letter)
        done = min(limit, len(letters))
        return Many(matched=len(letters), done=done, remaining=len(letters) - done)

    async def groups(self, where: LetterFilter, *, limit: int) -> Sequence[ErrorGroup]:
        async def matching() -> AsyncIterator[StoredLetter]:
            for each in self._all():
                if matches(where, each):
                    yield each

        return await grouped(matching(), limit=limit)

    async def delete(self, job_id: str, *, queue: str | None = None) -> bool:
        try:
            letter = (await self.get(job_id, queue=queue)).letter
        except DeadLetterNotFound:
            return False
        self._delete(letter)
        return True

    def _delete(self, letter: DeadLetter) -> None:
        queue = self._store.queue(letter.queue)
        del queue.dead[letter.entry_id]
        queue.counted["purged"] += 1

    def _all(self) -> Sequence[StoredLetter]:
        letters = [letter for queue in self._store.queues.values() for letter in queue.dead.values()]
        return [stored(letter) for letter in sorted(letters, key=lambda each: entry_order(each.entry_id), reverse=True)]
