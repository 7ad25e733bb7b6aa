"""What an app defines in code, brought into the store: by each scheduler at its start, any number at once."""

import asyncio
from collections.abc import Sequence

import structlog

from jobqueue.errors import (
    Backpressure,
    BrokerUnavailable,
    InvalidJob,
    InvalidSchedule,
    JobQueueError,
    RepositoryUnavailable,
    ScheduleConflict,
)
from jobqueue.planning.edit import Editor, Moment, created, created_anew
from jobqueue.schedule import Definition, Schedule, ScheduleState, Source
from jobqueue.scheduler.firing import ENDED
from jobqueue.status import Declared

_log = structlog.get_logger("jobqueue.planning")

_AT_ONCE = 16


async def declare(
    editor: Editor, kept: Sequence[Definition], schedules: Sequence[Schedule], app: str
) -> list[Declared]:
    """Make what *app* defines be *schedules*, where *kept* is what was read just now."""
    by_name = {definition.name: definition for definition in kept}
    names = {schedule.name for schedule in schedules}
    gone = [each for each in kept if each.name not in names and _is_of(each, app) and each.state not in ENDED]
    overtaken = await editor.overtaken([each for each in kept if each.name in names and _is_of(each, app)])
    line = asyncio.Semaphore(_AT_ONCE)

    async def declare_one(schedule: Schedule) -> Declared:
        current = by_name.get(schedule.name)
        if current is not None and _is_unchanged(current, schedule, app) and current.name not in overtaken:
            return Declared(name=schedule.name, change="unchanged")
        async with line:
            return await _declare_one(editor, schedule, app)

    async def retire_one(definition: Definition) -> Declared:
        async with line:
            return await _retire(editor, definition, app)

    declared = await asyncio.gather(*map(declare_one, schedules), *map(retire_one, gone))
    for each in declared:
        _report(each, app)
    return declared


async def _declare_one(editor: Editor, schedule: Schedule, app: str) -> Declared:
    was: list[Definition | None] = [None]

    def change(current: Definition | None, moment: Moment) -> Definition | None:
        was[0] = current
        return _declared(current, schedule, app, moment)

    try:
        _, changed = await editor.edit(schedule.name, schedule.queue, change)
    except (Backpressure, BrokerUnavailable, RepositoryUnavailable):
        raise
    except JobQueueError as error:  # also what a newer version wrote, and this one cannot read
        return Declared(name=schedule.name, change="refused", why=str(error))
    if not changed:
        return Declared(name=schedule.name, change="unchanged")
    begun = was[0] is None or was[0].state is ScheduleState.REMOVED
    return Declared(name=schedule.name, change="created" if begun else "changed")


def _declared(current: Definition | None, schedule: Schedule, app: str, moment: Moment) -> Definition | None:
    if current is None:
        return created(schedule, moment, source=Source.CODE, app=app)
    if current.state is ScheduleState.REMOVED:
        return created_anew(current, schedule, moment, source=Source.CODE, app=app)
    if current.source is Source.RUNTIME:
        raise ScheduleConflict(
            f"a schedule named {schedule.name!r} was made at run time; remove that one, or name this one otherwise"
        )
    if current.app != app and current.state is not ScheduleState.RETIRED:
        raise ScheduleConflict(
            f"{current.app} defines a schedule named {schedule.name!r}, too; name one of them otherwise, or, if that "
            f"app is no more, retire what it defined: queue.schedules.declare([], app={current.app!r})"
        )
    if _is_unchanged(current, schedule, app):
        return None
    state = ScheduleState.ACTIVE if current.state is ScheduleState.RETIRED else None
    return current.changed(
        since_ms=moment.now_ms, at=moment.at, schedule=schedule, state=state, source=Source.CODE, app=app
    )


async def _retire(editor: Editor, definition: Definition, app: str) -> Declared:
    def change(current: Definition | None, moment: Moment) -> Definition | None:
        if current is None or not _is_of(current, app) or current.state in ENDED:
            return None
        return current.changed(since_ms=moment.now_ms, at=moment.at, state=ScheduleState.RETIRED)

    try:
        await editor.edit(definition.name, definition.schedule.queue, change)
    except (ScheduleConflict, InvalidSchedule, InvalidJob) as error:
        return Declared(name=definition.name, change="refused", why=str(error))
    return Declared(name=definition.name, change="retired")


def _is_of(definition: Definition, app: str) -> bool:
    return definition.source is Source.CODE and definition.app == app


def _is_unchanged(current: Definition, schedule: Schedule, app: str) -> bool:
    return _is_of(current, app) and current.state not in ENDED and current.schedule.same_as(schedule)


def _report(declared: Declared, app: str) -> None:
    if declared.change == "refused":
        _log.error("schedule.refused", schedule=declared.name, app=app, error=declared.why)
    elif declared.change != "unchanged":
        _log.info(f"schedule.{declared.change}", schedule=declared.name, app=app)
