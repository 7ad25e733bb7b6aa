"""Faults of processes, and of the cable of a single worker."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

from testutil.chaos.nemesis import Fault
from testutil.chaos.repeat import repeating
from testutil.chaos.stage import Stage
from testutil.chaos.wire import Condition

Strike = Callable[[Stage, Fault], AbstractAsyncContextManager[str]]


@asynccontextmanager
async def _kill(stage: Stage, fault: Fault) -> AsyncIterator[str]:
    """kill -9; replaced at the end."""
    member = stage.member(fault)
    stage.crew.kill(member)
    try:
        yield member.name
    finally:
        stage.crew.replace(member)


@asynccontextmanager
async def _terminate(stage: Stage, fault: Fault) -> AsyncIterator[str]:
    """SIGTERM; replaced at the end, or killed and replaced where it has not ended yet."""
    member = stage.member(fault)
    stage.crew.terminate(member)
    try:
        yield member.name
    finally:
        stage.crew.replace(member)


@asynccontextmanager
async def _stop(stage: Stage, fault: Fault) -> AsyncIterator[str]:
    """SIGSTOP, and SIGCONT at the end."""
    member = stage.member(fault)
    stage.crew.stop(member)
    try:
        yield member.name
    finally:
        stage.crew.cont(member)


def _on_link(choose: Callable[[Fault], Condition]) -> Strike:
    @asynccontextmanager
    async def strike(stage: Stage, fault: Fault) -> AsyncIterator[str]:
        name, link = stage.link(fault)
        with link.under(choose(fault)):
            yield name

    return strike


@asynccontextmanager
async def _reset_link(stage: Stage, fault: Fault) -> AsyncIterator[str]:
    name, link = stage.link(fault)
    async with repeating(link.proxy.reset, fault.value):
        yield name


CREW_FAULTS: Final[dict[str, Strike]] = {
    "worker.kill": _kill,
    "worker.term": _terminate,
    "worker.stop": _stop,
    "worker.nap": _stop,
    "scheduler.kill": _kill,
    "scheduler.stop": _stop,
    "producer.kill": _kill,
    "producer.stop": _stop,
    "link.stall": _on_link(lambda _: lambda proxy: proxy.stall()),
    "link.half_open": _on_link(lambda _: lambda proxy: proxy.half_open()),
    "link.mute_replies": _on_link(lambda _: lambda proxy: proxy.mute("replies")),
    "link.latency": _on_link(lambda fault: lambda proxy: proxy.latency(fault.value, fault.value / 2)),
    "link.reset": _reset_link,
}
