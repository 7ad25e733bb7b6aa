"""What a queue in memory holds, to look at and to assert."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec

from jobqueue.app import JobQueue
from jobqueue.broker.base import Delivery
from jobqueue.clock import format_duration
from jobqueue.job import Job, encode_payload
from jobqueue.registry import Task
from jobqueue.testing.memory.store import MemoryQueue
from jobqueue.testing.queue import broker_of

_MOST_SHOWN = 20
_MOST_CHARS = 200


def enqueued(queue: JobQueue) -> list[Job]:
    """The jobs that wait: ready, delayed or to be retried; not those that run or have ended.

    Queues by name; within one, in the order in which the jobs were enqueued.
    """
    return [waiting.job() for _, waiting in _waiting(queue)]


def assert_enqueued(
    queue: JobQueue,
    task: Task[..., Any] | str,
    payload: Mapping[str, Any] | None = None,
    *,
    count: int | None = None,
    queue_name: str | None = None,
) -> list[Job]:
    """Assert that a job of *task* waits, and return those that do; else say what waits instead.

    Args:
        task: the task, or its name.
        payload: arguments that the job must have, whatever others it has; compared as JSON.
        count: exactly so many such jobs, 0 for none. Otherwise at least one.
        queue_name: only jobs of this queue.

    Raises:
        AssertionError: the message lists the jobs that wait.
    """
    __tracebackhide__ = True
    name = task if isinstance(task, str) else task.name
    arguments = msgspec.json.decode(encode_payload(name, payload or {}))
    found = [
        job
        for job in enqueued(queue)
        if job.type == name and queue_name in (None, job.queue) and _holds(job.payload, arguments)
    ]
    if len(found) == count or (found and count is None):
        return found
    wanted = f"jobs of {name!r}"
    wanted += f" with {_text(arguments)}" if arguments else ""
    wanted += f" on queue {queue_name!r}" if queue_name is not None else ""
    expected = "1 or more" if count is None else str(count)
    raise AssertionError(f"expected {expected} {wanted}, found {len(found)}; {_shown(queue)}")


def _holds(payload: Mapping[str, Any], arguments: Mapping[str, Any]) -> bool:
    return all(name in payload and payload[name] == value for name, value in arguments.items())


def _shown(queue: JobQueue) -> str:
    waiting = _waiting(queue)
    if not waiting:
        return "no job waits"
    now = broker_of(queue).store.clock.now_ms()
    lines = [_line(of, each, now) for of, each in waiting[:_MOST_SHOWN]]
    more = [f"... and {len(waiting) - _MOST_SHOWN} more"] if len(waiting) > _MOST_SHOWN else []
    return "\n  ".join(["these jobs wait:", *lines, *more])


def _line(queue: MemoryQueue, waiting: Delivery, now: int) -> str:
    job = waiting.job()
    line = f"{job.type} {_text(job.payload)} on queue {queue.name!r}, {job.priority.value}"
    if waiting.job_id not in queue.delayed:
        return line
    due_ms, _ = queue.delayed[waiting.job_id]
    return f"{line}, due in {format_duration(timedelta(milliseconds=due_ms - now))}"


def _text(payload: Mapping[str, Any]) -> str:
    text = msgspec.json.encode(payload).decode()
    return text if len(text) <= _MOST_CHARS else f"{text[:_MOST_CHARS]}..."


def _waiting(queue: JobQueue) -> list[tuple[MemoryQueue, Delivery]]:
    queues = broker_of(queue).store.queues
    return [(of, job) for _, of in sorted(queues.items()) for job in of.live.values() if of.holder(job.job_id) is None]
