import asyncio
import gc
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import wait

import pytest

from jobqueue.worker.threads import Threads
from testutil.eventually import eventually


@pytest.fixture
def threads() -> Iterator[Threads]:
    threads = Threads("test-threads")
    yield threads
    threads.shutdown()


def alive(name: str = "test-threads") -> int:
    return sum(each.name == name for each in threading.enumerate())


def test_a_call_returns_its_result_or_its_error(threads: Threads) -> None:
    assert threads.submit(lambda a, b: a + b, 1, b=2).result(30) == 3
    with pytest.raises(SystemExit):
        threads.submit(exit, 3).result(30)


async def test_a_thread_that_is_idle_is_used_again(threads: Threads) -> None:
    first = threads.submit(threading.get_ident).result(30)
    await eventually(lambda: threads._idle)

    assert threads.submit(threading.get_ident).result(30) == first


def test_every_call_runs_at_once_however_many_are_stuck(threads: Threads) -> None:
    free = threading.Event()
    stuck = [threads.submit(free.wait) for _ in range(20)]

    assert threads.submit(lambda: "ran").result(30) == "ran"

    free.set()
    assert len(wait(stuck, 30).done) == 20


def test_no_thread_holds_the_process(threads: Threads) -> None:
    assert threads.submit(lambda: threading.current_thread().daemon).result(30)


async def test_a_closed_pool_ends_its_threads_and_takes_no_more(threads: Threads) -> None:
    free = threading.Event()
    running = threads.submit(free.wait)
    threads.submit(int).result(30)

    threads.shutdown()
    with pytest.raises(RuntimeError):
        threads.submit(int)
    free.set()

    assert await asyncio.wrap_future(running)
    await eventually(lambda: alive() == 0)


class Large:
    pass


async def test_an_idle_thread_holds_nothing_of_its_last_call(threads: Threads) -> None:
    large = Large()
    there = weakref.ref(large)
    threads.submit(repr, large).result(30)
    await eventually(lambda: threads._idle)

    del large
    gc.collect()

    assert there() is None
