"""Carrying out the schedule: each fault begins, lasts, ends, and is written down with what came of it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from testutil.chaos import history
from testutil.chaos.nemesis import KINDS, SERVERS, Fault
from testutil.chaos.stage import Stage

Strike = Callable[[Stage, Fault], AbstractAsyncContextManager[str]]
"""Entered, the fault holds and its target's name is known; left, it is over."""

_LIMIT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Struck:
    """A fault as it happened, wall times. One that did not take has an *error*."""

    fault: Fault
    target: str
    began: float
    ended: float
    error: str = ""

    @property
    def took(self) -> bool:
        return not self.error


async def strike_all(stage: Stage, faults: Sequence[Fault], strikes: dict[str, Strike]) -> list[Struck]:
    """Carry out *faults*, each at its time from now; returns when all have ended."""
    writer = history.Writer(stage.folder / "faults.jsonl")
    begin = asyncio.get_running_loop().time()

    async def at_its_time(number: int, fault: Fault) -> Struck:
        await asyncio.sleep(begin + fault.at_s - asyncio.get_running_loop().time())
        async with _turn(stage, fault):
            struck = await _strike(stage, fault, strikes[fault.kind])
        writer.write(_record(number, struck, stage))
        return struck

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(at_its_time(number, fault)) for number, fault in enumerate(faults)]
    finally:
        writer.close()
    return [task.result() for task in tasks]


async def _strike(stage: Stage, fault: Fault, strike: Strike) -> Struck:
    """A fault that cannot be done, or whose end does not come, is no reason to stop the run: it is written down."""
    began = time.time()
    target, error = "", ""
    try:
        async with asyncio.timeout(fault.lasts_s + _LIMIT_S), strike(stage, fault) as target:
            await asyncio.sleep(fault.lasts_s)
    except Exception as failure:  # whatever a server that is being broken makes a client raise
        error = f"{type(failure).__name__}: {failure}"
    return Struck(fault=fault, target=target, began=began, ended=time.time(), error=error)


@asynccontextmanager
async def _turn(stage: Stage, fault: Fault) -> AsyncIterator[None]:
    """Failovers and moves take longer than they are meant to: the next harm to a server waits for their end."""
    if fault.role not in SERVERS:
        yield
        return
    async with stage.servers:
        yield


def _record(number: int, struck: Struck, stage: Stage) -> history.Fault:
    whole = struck.fault.role in ("wire", "server") and len(stage.topology.data_nodes) == 1
    return history.Fault(
        n=number,
        kind=struck.fault.kind,
        target="" if whole else struck.target,  # without a target it hits everybody
        began=struck.began,
        ended=struck.ended,
        loses=struck.fault.kind in stage.losing,
        redis_away=KINDS[struck.fault.kind].outage,
        note=struck.error,
    )
