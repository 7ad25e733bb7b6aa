"""The handlers of the plant: one for each way in which jobs behave well or badly.

Every start and end is written down by the middleware `tell`, whatever the handler does in between.
"""

import asyncio
import os
import signal
import time
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from jobqueue import JobContext, Registry, RetryPolicy, Snooze
from jobqueue.middleware.base import CallNext
from jobqueue.registry import Task
from testutil.chaos.crew import MAX_BLOCK_S, QUEUES
from testutil.chaos.history import End, SelfKill, Start, Ticked, Writer, now
from testutil.chaos.timetable import DECLARED, DECLARED_RULING, GRACE, MAX_CATCHUP, TASK, expression

LEASE_S = float(os.environ.get("CHAOS_LEASE_S", "3"))
_QUICK = RetryPolicy(max_retries=3, base=timedelta(milliseconds=150), max_delay=timedelta(seconds=1), jitter="equal")
_HUGE = 160 * 1024
HOG_S = MAX_BLOCK_S * 3

registry = Registry()

AnyTask = TypeVar("AnyTask", bound=Task[..., Any])


class Scene:
    """This process: where it writes, and the name of its present incarnation."""

    def __init__(self) -> None:
        folder, member = os.environ.get("CHAOS_FOLDER"), os.environ.get("CHAOS_MEMBER")
        generation = os.environ.get("CHAOS_GENERATION", "1")
        self.writer = Writer(Path(folder) / f"{member}.{generation}.jsonl") if folder else None
        self.worker = ""
        self.pid = os.getpid()


scene = Scene()


async def tell(ctx: JobContext, call_next: CallNext) -> object:
    """Write down when a handler begins and how it ends."""
    worker = scene.worker
    assert scene.writer is not None
    scene.writer.write(
        Start(
            at=now(),
            mono=time.monotonic(),
            id=ctx.job_id,
            queue=ctx.queue,
            type=ctx.type,
            attempt=ctx.attempt,
            worker=worker,
            pid=scene.pid,
        )
    )
    how = "returned"
    try:
        return await call_next(ctx)
    except asyncio.CancelledError:
        how = "cancelled"
        raise
    except BaseException:
        how = "raised"
        raise
    finally:
        scene.writer.write(
            End(
                at=now(),
                mono=time.monotonic(),
                id=ctx.job_id,
                attempt=ctx.attempt,
                worker=worker,
                pid=scene.pid,
                how=how,
            )
        )


registry.use(tell)


@registry.task("quick")
async def quick(ms: int = 0) -> None:
    """What most jobs are."""
    await asyncio.sleep(ms / 1000)


@registry.task("threaded")
def threaded(ms: int = 0) -> None:
    """A plain function, in a thread."""
    time.sleep(ms / 1000)


@registry.task("flaky", retry=_QUICK)
async def flaky(ctx: JobContext, fails: int) -> None:
    """Fails, then succeeds."""
    if ctx.attempt <= fails:
        raise ConnectionError("not yet")


@registry.task("doomed", retry=_QUICK, max_retries=1)
async def doomed() -> None:
    """Fails always."""
    raise ValueError("never")


@registry.task("overlong")
async def overlong() -> None:
    """Takes longer than the lease."""
    await asyncio.sleep(LEASE_S * 1.4)


@registry.task("block")
async def block() -> None:
    """Blocks the event loop for longer than the lease: the lease must hold."""
    time.sleep(LEASE_S * 1.4)  # noqa: ASYNC251 - the point of it


@registry.task("hog")
async def hog(ctx: JobContext) -> None:
    """Blocks the event loop for longer than is allowed, the first time: its jobs must be taken away."""
    if ctx.attempt == 1:
        time.sleep(HOG_S)  # noqa: ASYNC251 - the point of it


@registry.task("killer")
async def killer(ctx: JobContext, times: int) -> None:
    """Kills its own process, in its first attempts."""
    if ctx.attempt <= times:
        assert scene.writer is not None
        scene.writer.write(SelfKill(at=now(), id=ctx.job_id, attempt=ctx.attempt, worker=scene.worker, pid=scene.pid))
        os.kill(scene.pid, signal.SIGKILL)


@registry.task("huge", result_ttl=timedelta(seconds=20))
async def huge(parts: int) -> str:
    """Returns a large result; one of two parts is too large to be kept."""
    return "x" * _HUGE * parts


@registry.task("hold")
async def hold() -> None:
    """Waits to be cancelled."""
    await asyncio.sleep(2.5)


@registry.task("stubborn")
async def stubborn(ms: int) -> None:
    """Takes its time when it is cancelled, up to more than the grace."""
    try:
        await asyncio.sleep(2.5)
    except asyncio.CancelledError:
        await asyncio.sleep(ms / 1000)
        raise


@registry.task("timeout", retry=_QUICK, max_retries=1, timeout=timedelta(milliseconds=250))
async def timeout() -> None:
    """Runs into its timeout."""
    await asyncio.sleep(5)


@registry.task("snooze")
async def snooze(until: float) -> None:
    """Puts itself off until then."""
    left = until - now()
    if left > 0:
        raise Snooze(timedelta(seconds=min(max(left, 0.01), 5)))


def declared(task: AnyTask) -> AnyTask:
    """The schedule that is defined in code, where the plant has it."""
    if DECLARED not in os.environ.get("CHAOS_SCHEDULES", "").split(","):
        return task
    return registry.cron(
        expression(1),
        seconds=True,
        misfire=DECLARED_RULING.misfire,
        overlap=DECLARED_RULING.overlap,
        max_catchup=MAX_CATCHUP,
        grace=GRACE,
        name=DECLARED,
        arguments={"mark": "code", "ms": 300},
        queue=QUEUES[0],
    )(task)


@declared
@registry.task(TASK)
async def ticked(ctx: JobContext, mark: str, ms: int) -> None:
    """What schedules make."""
    assert scene.writer is not None
    assert ctx.schedule is not None
    tick_ms = int(ctx.tick.timestamp() * 1000) if ctx.tick else 0
    scene.writer.write(Ticked(at=now(), id=ctx.job_id, schedule=ctx.schedule, tick_ms=tick_ms, mark=mark))
    await asyncio.sleep(ms / 1000)
