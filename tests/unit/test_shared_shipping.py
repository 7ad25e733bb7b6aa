"""Shipping on demand: many who ask at once are served by one ship that began after they asked."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, cast

import pytest

from jobqueue.broker.base import Journal
from jobqueue.errors import RepositoryUnavailable
from jobqueue.record import JournalKind
from jobqueue.repository.base import Archive
from jobqueue.scheduler.shared import SharedShipping


class Gate:
    """A journal in which nothing waits, and that answers when it is told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[tuple[str, ...], JournalKind | None]] = []
        self.open = asyncio.Event()
        self.error: Exception | None = None

    async def waiting_in(self, queues: Sequence[str], kind: JournalKind | None = None) -> list[str]:
        self.asked.append((tuple(queues), kind))
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return []


def shared(gate: Gate) -> SharedShipping:
    return SharedShipping(cast(Journal, gate), cast(Archive, None))


async def going(*ships: Coroutine[Any, Any, None]) -> list[asyncio.Task[None]]:
    tasks = [asyncio.create_task(ship) for ship in ships]
    for _ in range(5):
        await asyncio.sleep(0)
    return tasks


async def test_who_comes_during_a_ship_shares_the_next_one() -> None:
    gate = Gate()
    ships = shared(gate)

    first = await going(ships.ship(["a"]))
    others = await going(*(ships.ship(["a"]) for _ in range(50)))
    assert len(gate.asked) == 1, "the first is under way, the others wait for the next"
    gate.open.set()
    await asyncio.gather(*first, *others)

    assert gate.asked == [(("a",), None)] * 2
    await ships.ship(["a"])
    assert len(gate.asked) == 3, "later, it is looked again"


async def test_other_queues_and_kinds_wait_for_nobody() -> None:
    gate = Gate()
    ships = shared(gate)

    tasks = await going(ships.ship(["a"]), ships.ship(["b"]), ships.ship(["a"], "dead"))

    assert gate.asked == [(("a",), None), (("b",), None), (("a",), "dead")]
    gate.open.set()
    await asyncio.gather(*tasks)


async def test_who_leaves_takes_nothing_from_the_others() -> None:
    gate = Gate()
    ships = shared(gate)
    (first,) = await going(ships.ship(["a"]))
    leaving, staying = await going(ships.ship(["a"]), ships.ship(["a"]))

    first.cancel()
    leaving.cancel()
    gate.open.set()

    await staying
    assert leaving.cancelled()
    assert len(gate.asked) == 2


async def test_all_who_share_a_ship_hear_that_it_failed_and_the_next_one_is_made() -> None:
    gate = Gate()
    ships = shared(gate)
    gate.error = RepositoryUnavailable("away")
    gate.open.set()

    answers = await asyncio.gather(*(ships.ship(["a"]) for _ in range(3)), return_exceptions=True)
    assert [type(each) for each in answers] == [RepositoryUnavailable] * 3
    assert len(gate.asked) == 1

    gate.error = None
    await ships.ship(["a"])
    gate.error = RepositoryUnavailable("away")
    with pytest.raises(RepositoryUnavailable):
        await ships.ship(["a"])
