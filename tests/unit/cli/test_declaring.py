"""What a scheduler does about its app's schedules at its start, on a queue in memory."""

import dataclasses
from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from jobqueue.app import JobQueue
from jobqueue.cli import declaring
from jobqueue.cli.declaring import declare
from jobqueue.errors import RepositoryUnavailable
from jobqueue.job import Job
from jobqueue.schedule import Definition, Schedule
from jobqueue.testing import memory_queue
from jobqueue.testing.memory.schedules import MemoryScheduleStore


class Away(MemoryScheduleStore):
    """Cannot be asked the first two times."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    async def list(self) -> Sequence[Definition]:
        self.asked += 1
        if self.asked <= 2:
            raise RepositoryUnavailable("Postgres is away")
        return await super().list()


def nightly(name: str) -> Schedule:
    return Schedule.of(name, "30 2 * * *", Job("back.up"))


async def test_schedules_are_declared_once_the_store_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(declaring, "_SHORTEST_PAUSE_S", 0.0)
    queue = JobQueue(dataclasses.replace(memory_queue().parts, schedules=Away()))

    with capture_logs() as logs:
        await declare(queue, [nightly("a")], app="shop:registry")

    assert [each.name for each in await queue.schedules.list()] == ["a"]
    events = [(each["event"], each["log_level"]) for each in logs]
    assert events == [
        ("schedules.not_declared", "warning"),
        ("schedules.not_declared", "warning"),
        ("schedule.created", "info"),
        ("schedules.declared", "info"),
    ]


async def test_a_schedule_that_is_refused_holds_up_none_of_the_others() -> None:
    queue = memory_queue()
    await queue.schedules.upsert("a", "@daily", Job("made.at.run.time"))

    with capture_logs() as logs:
        await declare(queue, [nightly("a"), nightly("b")], app="shop:registry")

    assert [(each.name, each.schedule.type) for each in await queue.schedules.list()] == [
        ("a", "made.at.run.time"),
        ("b", "back.up"),
    ]
    assert {
        "event": "schedules.declared",
        "log_level": "info",
        "app": "shop:registry",
        "schedules": 2,
        "refused": 1,
    } in (logs)
    (refused,) = (each for each in logs if each["event"] == "schedule.refused")
    assert (refused["schedule"], refused["log_level"]) == ("a", "error")


async def test_an_app_without_schedules_retires_those_that_it_had() -> None:
    queue = memory_queue()
    await declare(queue, [nightly("a")], app="shop:registry")
    await declare(queue, [nightly("other")], app="other:registry")

    await declare(queue, [], app="shop:registry")

    assert {each.name: each.state.value for each in await queue.schedules.list()} == {"a": "retired", "other": "active"}
