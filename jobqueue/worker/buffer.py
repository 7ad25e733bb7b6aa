"""Deliveries at hand that wait for a slot, in the order in which they are to be started."""

from collections import deque
from collections.abc import Collection, Sequence

from jobqueue.broker.base import Delivery


class Buffer:
    """*waiting* is ordered by queue as listed, priority and age. *suspects* are jobs that may kill the process."""

    def __init__(self, queues: Sequence[str], *, max_crashes: int) -> None:
        self._order = {queue: n for n, queue in enumerate(queues)}
        self._max_crashes = max_crashes
        self.waiting: deque[Delivery] = deque()
        self.suspects: deque[Delivery] = deque()
        self._seen: tuple[set[Delivery], set[Delivery]] = (set(), set())

    def admit(self, deliveries: Sequence[Delivery]) -> None:
        """Take what was fetched: in order already, so only a mixture with older ones is sorted."""
        if any(each.crashes for each in deliveries):
            self.suspects.extend(each for each in deliveries if self._is_suspect(each))
            deliveries = [each for each in deliveries if not self._is_suspect(each)]
        mixed = bool(self.waiting)
        self.waiting.extend(deliveries)
        if mixed and deliveries:
            self.waiting = deque(sorted(self.waiting, key=self._place))

    def _is_suspect(self, delivery: Delivery) -> bool:
        """One crash short of the limit: run alone, so that the last count is certain."""
        return 0 < delivery.crashes >= self._max_crashes - 1

    def _place(self, delivery: Delivery) -> tuple[int, int]:
        return (self._order[delivery.queue], delivery.rank)

    def take_all(self) -> list[Delivery]:
        """Everything that waits, suspects too, to be given back."""
        everything = [*self.waiting, *self.suspects]
        self.waiting.clear()
        self.suspects.clear()
        return everything

    def take_all_but_one(self) -> list[Delivery]:
        """Everything but the first suspect."""
        first = self.suspects.popleft()
        rest = self.take_all()
        self.suspects.append(first)
        return rest

    def take_stuck(self) -> list[Delivery]:
        """What has waited since the call before the last, to be given back."""
        stuck = [each for each in self.waiting if each in self._seen[0]]
        if stuck:
            self.waiting = deque(each for each in self.waiting if each not in self._seen[0])
        self._seen = (self._seen[1], set(self.waiting))
        return stuck

    def take_beyond(self, count: int) -> list[Delivery]:
        """What waits behind the first *count*, to be given back."""
        taken = [self.waiting.pop() for _ in range(len(self.waiting) - count)]
        return taken[::-1]

    def take_paused(self, queues: Collection[str]) -> list[Delivery]:
        """What came from *queues*, suspects too, to be given back."""
        paused = [each for each in (*self.waiting, *self.suspects) if each.queue in queues]
        if paused:
            self.waiting = deque(each for each in self.waiting if each.queue not in queues)
            self.suspects = deque(each for each in self.suspects if each.queue not in queues)
        return paused
