"""What signals do to a worker or scheduler process."""

import asyncio
import faulthandler
import signal
import sys
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any

SHUTDOWN = (signal.SIGTERM, signal.SIGINT)


def end_while_starting() -> None:
    """Until the loop listens, TERM and INT end the process at once: nothing has been taken yet."""

    def leave(_number: int, _frame: FrameType | None) -> None:
        sys.exit(0)

    for number in SHUTDOWN:
        signal.signal(number, leave)


def listen(*, stop: Callable[[], None], hurry: Callable[[], None], quiet: Callable[[], None] | None = None) -> None:
    """Inside the loop: TERM and INT call *stop*, a second one *hurry*; USR1 *quiet*; USR2 dumps what runs."""
    loop = asyncio.get_running_loop()
    heard = 0

    def shut_down() -> None:
        nonlocal heard
        heard += 1
        (stop if heard == 1 else hurry)()

    for number in SHUTDOWN:
        loop.add_signal_handler(number, shut_down)
    if quiet is not None:
        loop.add_signal_handler(signal.SIGUSR1, quiet)
    loop.add_signal_handler(signal.SIGUSR2, dump_stacks)


def dump_stacks() -> None:
    """Write where every asyncio task and every thread is now to stderr."""
    tasks = sorted(asyncio.all_tasks(), key=lambda task: task.get_name())
    print(f"--- {len(tasks)} tasks", file=sys.stderr)
    for task in tasks:
        print(f"{task.get_name()}:", file=sys.stderr)
        traceback.print_list(_stack(task), file=sys.stderr)
    print("--- threads", file=sys.stderr, flush=True)
    faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
    print("--- end", file=sys.stderr, flush=True)


def _stack(task: "asyncio.Task[Any]") -> traceback.StackSummary:
    """Every frame down to where the task waits; asyncio itself tells only the outermost."""
    frames: list[tuple[FrameType, int]] = []
    awaited: Any = task.get_coro()
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        if frame is None:
            break
        frames.append((frame, frame.f_lineno))
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)
    return traceback.StackSummary.extract(frames)
