"""A worker's end of the memory: fetch, settle, and the heartbeat."""

import asyncio
from collections.abc import Collection, Container, Mapping, Sequence

import msgspec

from jobqueue.broker.base import Beat, Delivery, Receipt, Settlement
from jobqueue.errors import LeaseLost
from jobqueue.testing.memory.settle import settle
from jobqueue.testing.memory.store import Store


class MemoryConsumer:
    """See `jobqueue.broker.base.Consumer`; made by `MemoryBroker.join`."""

    reopened = 0  # memory is never lost sight of

    def __init__(self, store: Store, name: str, queues: Sequence[str]) -> None:
        self.name = name
        self.queues = tuple(queues)
        self._store = store

    async def fetch(self, want: int, *, skip: Collection[str] = (), wait: bool = True) -> list[Delivery]:
        self._store.arrived.clear()
        taken = self._take(want, skip)
        if taken or not wait:
            await asyncio.sleep(0)  # as with a server, the loop turns meanwhile
            return taken
        try:
            async with asyncio.timeout(self._store.block_s):
                await self._store.arrived.wait()
        except TimeoutError:
            return []
        return self._take(want, skip)

    def _take(self, want: int, skip: Collection[str]) -> list[Delivery]:
        taken: list[Delivery] = []
        for name in self.queues:
            queue = self._store.queue(name)
            for ready in queue.ready if name not in skip else ():
                for entry_id in list(ready)[: want - len(taken)]:
                    job = ready.pop(entry_id)
                    queue.held.setdefault(self.name, {})[job.job_id] = job
                    queue.taken_ms[job.job_id] = self._store.clock.now_ms()
                    taken.append(msgspec.structs.replace(job))
        return taken

    async def adopt(self, known: Container[Receipt] = ()) -> list[Delivery]:
        held = [self._store.queue(name).held.get(self.name, {}) for name in self.queues]
        return [msgspec.structs.replace(job) for jobs in held for job in jobs.values() if job.receipt not in known]

    async def paused(self, queues: Collection[str]) -> frozenset[str]:
        return frozenset(queue for queue in queues if self._store.queue(queue).paused)

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        names = {settlement.delivery.queue for settlement in settlements}
        queues = [self._store.queue(name) for name in sorted(names)]
        for queue in queues:
            if self.name in queue.leases:
                mine = [each for each in settlements if each.delivery.queue == queue.name]
                settle(self._store, queue, mine, self.name)
        if not all(self.name in queue.leases for queue in queues):
            raise LeaseLost(f"{self.name} was reaped; its jobs were given to others and its settlement refused")

    def heartbeat(self) -> "MemoryHeartbeat":
        return MemoryHeartbeat(self._store, self.name, self.queues)

    def now_ms(self) -> int:
        return self._store.clock.now_ms()

    async def leave(self) -> None:
        for name in self.queues:
            queue = self._store.queue(name)
            queue.leases.pop(self.name, None)
            if not queue.held.get(self.name):
                queue.roster.pop(self.name, None)

    async def close(self) -> None:
        """Nothing to close."""


class MemoryHeartbeat:
    """See `jobqueue.broker.base.Heartbeat`."""

    def __init__(self, store: Store, name: str, queues: Sequence[str]) -> None:
        self._store = store
        self._name = name
        self._queues = queues

    def beat(self, progress: Mapping[str, Mapping[str, bytes]]) -> list[Beat]:
        return [self._beat(queue, progress.get(queue, {})) for queue in self._queues]

    def _beat(self, name: str, progress: Mapping[str, bytes]) -> Beat:
        queue = self._store.queue(name)
        if self._name not in queue.leases:
            return Beat(queue=name, alive=False)
        queue.leases[self._name] = self._store.clock.now_ms() + self._store.lease_ms
        queue.progress.update({job_id: text for job_id, text in progress.items() if job_id in queue.live})
        return Beat(queue=name, alive=True, paused=queue.paused, cancel=frozenset(queue.asked))

    def close(self) -> None:
        """Nothing to close."""
