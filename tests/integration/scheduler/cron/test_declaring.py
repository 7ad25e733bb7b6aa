"""Schedules that apps define in code, declared by each scheduler at its start."""

import asyncio
from collections import Counter

import pytest
from structlog.testing import capture_logs

from jobqueue.app import JobQueue
from jobqueue.errors import ScheduleConflict
from jobqueue.job import Job
from jobqueue.schedule import ScheduleState, Source
from jobqueue.status import Declared
from tests.integration.scheduler.cron.timeline import check_each_once, fired, fires, records, schedule
from tests.integration.scheduler.test_shipping import scheduling
from tests.integration.worker.scene import Scene

APP = "shop.jobs:registry"


@pytest.fixture(params=["redis", "postgres"])
def queue(request: pytest.FixtureRequest) -> JobQueue:
    """Definitions in either store."""
    scene: Scene = request.getfixturevalue("bare" if request.param == "redis" else "scene")
    return scene.queue()


def told(declared: object) -> dict[str, str]:
    assert isinstance(declared, list)
    assert all(isinstance(each, Declared) for each in declared)
    return {each.name: each.change for each in declared}


async def test_what_is_declared_is_there_and_the_same_again_changes_nothing(queue: JobQueue) -> None:
    wanted = [schedule("a", "@daily"), schedule("b", "@hourly", job=Job("t", {"z": 1, "a": [1.5, None]}))]

    first = await queue.schedules.declare(wanted, app=APP)
    again = await queue.schedules.declare(wanted, app=APP)
    listed = await queue.schedules.list()

    assert told(first) == {"a": "created", "b": "created"}
    assert told(again) == {"a": "unchanged", "b": "unchanged"}
    assert [(each.name, each.source, each.app, each.version) for each in listed] == [
        ("a", Source.CODE, APP, 1),
        ("b", Source.CODE, APP, 1),
    ]


async def test_what_is_declared_no_more_is_retired_and_comes_back_when_it_is_declared_again(queue: JobQueue) -> None:
    await queue.schedules.declare([schedule("a", "@daily"), schedule("b", "@daily")], app=APP)
    await queue.schedules.declare([schedule("other", "@daily")], app="other:registry")

    without = await queue.schedules.declare([schedule("b", "@hourly")], app=APP)
    retired = await queue.schedules.get("a")
    again = await queue.schedules.declare([schedule("a", "@daily"), schedule("b", "@hourly")], app=APP)

    assert told(without) == {"a": "retired", "b": "changed"}
    assert (retired.state, retired.next_at) == (ScheduleState.RETIRED, None)
    assert told(again) == {"a": "changed", "b": "unchanged"}
    assert {each.name: each.state for each in await queue.schedules.list()} == {
        "a": ScheduleState.ACTIVE,
        "b": ScheduleState.ACTIVE,
        "other": ScheduleState.ACTIVE,
    }


async def test_many_schedulers_that_declare_at_once_agree(bare: Scene) -> None:
    wanted = [schedule(f"s{n}", "@daily") for n in range(20)]
    queues = [bare.queue() for _ in range(6)]

    declared = await asyncio.gather(*(queue.schedules.declare(wanted, app=APP) for queue in queues))
    changes = Counter(each.change for of_one in declared for each in of_one)

    assert changes == {"created": 20, "unchanged": 100}
    assert {each.version for each in await queues[0].schedules.list()} == {1}


async def test_in_a_rolling_deploy_who_started_last_speaks_for_the_app(bare: Scene) -> None:
    """Old and new schedulers run side by side: each tick fires once, and the new ones' schedules stay."""
    old, new = bare.queue(), bare.queue()
    await old.schedules.declare([schedule("kept", job=Job("t", {"by": "old"})), schedule("gone")], app=APP)
    async with scheduling(old, new):
        await fires(old, 1, "kept")
        await new.schedules.declare([schedule("kept", job=Job("t", {"by": "new"})), schedule("added")], app=APP)
        gone = await records(old, "gone")
        await fires(old, len(await fired(old, "kept")) + 2, "kept")
        await fires(old, 2, "added")
        found = await records(old, "kept")
        assert await records(old, "gone") == gone

    check_each_once(found)
    assert {each.version for each in found} == {1, 2}
    assert (await old.schedules.get("gone")).state is ScheduleState.RETIRED


async def test_a_name_that_is_taken_is_refused_and_the_others_go_on(queue: JobQueue) -> None:
    await queue.schedules.save(schedule("mine", "@daily"))
    await queue.schedules.declare([schedule("theirs", "@daily")], app="other:registry")

    with capture_logs() as logs:
        declared = await queue.schedules.declare(
            [schedule("mine", "@hourly"), schedule("theirs", "@hourly"), schedule("free", "@hourly")], app=APP
        )
    why = {each.name: each.why for each in declared}

    assert told(declared) == {"mine": "refused", "theirs": "refused", "free": "created"}
    assert "made at run time; remove that one, or name this one otherwise" in why["mine"]
    assert "other:registry defines a schedule named 'theirs', too" in why["theirs"]
    refused = [each["schedule"] for each in logs if each["event"] == "schedule.refused"]
    assert sorted(refused) == ["mine", "theirs"]


async def test_code_is_not_edited_by_accident(queue: JobQueue) -> None:
    await queue.schedules.declare([schedule("a", "@daily")], app=APP)

    with pytest.raises(ScheduleConflict, match=r"defined in code; change it in the code of shop.jobs:registry"):
        await queue.schedules.save(schedule("a", "@hourly"))
    with pytest.raises(ScheduleConflict, match=r"cannot be removed.*shop.jobs:registry"):
        await queue.schedules.remove("a")
    assert (await queue.schedules.get("a")).version == 1


async def test_a_paused_one_stays_paused_through_a_deploy(queue: JobQueue) -> None:
    await queue.schedules.declare([schedule("a", "@daily")], app=APP)
    await queue.schedules.pause("a")

    same = await queue.schedules.declare([schedule("a", "@daily")], app=APP)
    other = await queue.schedules.declare([schedule("a", "@hourly")], app=APP)
    status = await queue.schedules.get("a")

    assert (told(same), told(other)) == ({"a": "unchanged"}, {"a": "changed"})
    assert (status.state, status.schedule.expression) == (ScheduleState.PAUSED, "@hourly")
    assert (await queue.schedules.resume("a")).state is ScheduleState.ACTIVE


async def test_a_retired_one_can_be_removed_and_its_name_is_free_then(queue: JobQueue) -> None:
    await queue.schedules.declare([schedule("a", "@daily")], app=APP)
    await queue.schedules.declare([], app=APP)

    with pytest.raises(ScheduleConflict, match=r"defines it no more .retired.; remove it first"):
        await queue.schedules.save(schedule("a", "@hourly"))
    with pytest.raises(ScheduleConflict, match="cannot be resumed"):
        await queue.schedules.resume("a")
    await queue.schedules.remove("a")
    mine = await queue.schedules.save(schedule("a", "@hourly"))

    assert (mine.source, mine.app, mine.state, mine.version) == (Source.RUNTIME, None, ScheduleState.ACTIVE, 4)


async def test_an_app_that_was_renamed_takes_over_once_the_old_name_has_retired(queue: JobQueue) -> None:
    await queue.schedules.declare([schedule("a", "@daily")], app="shop.old:registry")

    (refused,) = await queue.schedules.declare([schedule("a", "@daily")], app=APP)
    assert refused.why.endswith("retire what it defined: queue.schedules.declare([], app='shop.old:registry')")
    await queue.schedules.declare([], app="shop.old:registry")
    (taken,) = await queue.schedules.declare([schedule("a", "@daily")], app=APP)

    assert (refused.change, taken.change) == ("refused", "changed")
    assert (await queue.schedules.get("a")).app == APP


async def test_another_app_may_take_over_what_was_retired(queue: JobQueue) -> None:
    await queue.schedules.declare([schedule("a", "@daily")], app=APP)
    await queue.schedules.declare([], app=APP)

    moved = await queue.schedules.declare([schedule("a", "@daily")], app="new:registry")
    late = await queue.schedules.declare([], app=APP)

    assert (told(moved), told(late)) == ({"a": "changed"}, {})
    assert (await queue.schedules.get("a")).app == "new:registry"
