"""`/schedules`: look, make, change, pause, resume, remove."""

import msgspec

from jobqueue.access.scope import Scope
from jobqueue.api.call import Call
from jobqueue.api.problem import Refusal
from jobqueue.api.route import PREFIX, Reply
from jobqueue.api.schedule import show, view
from jobqueue.api.schedule.intake import intake
from jobqueue.api.schedule.request import NewSchedule, NextQuery, ScheduleDefinition, SchedulesQuery
from jobqueue.errors import ScheduleNotFound
from jobqueue.planning.look import statuses
from jobqueue.repository.schedules import TickFilter
from jobqueue.schedule import Definition, Schedule, ScheduleState, Source
from jobqueue.status import ScheduleStatus

_NEWEST = 20


async def ls(call: Call) -> view.SchedulePage:
    """A page of the caller's schedules, by name."""
    asked: SchedulesQuery = call.query
    parts, after = call.queue.parts, call.cursor() or ""
    found = [each for each in await parts.schedules.list() if each.name > after and _is_asked_for(call, asked, each)]
    found.sort(key=lambda definition: definition.name)
    page = found[: asked.limit]
    more = page[-1].name if len(found) > len(page) else None
    # Where they stand is looked up for one page of them, not for all.
    shown = await statuses(parts.broker.timetable, parts.ticks, page)
    masked = call.site.settings.mask_fields
    return view.SchedulePage(
        items=[show.schedule(_without_foreign(call, each), masked) for each in shown],
        next_cursor=call.next_cursor(more),
    )


def _without_foreign(call: Call, status: ScheduleStatus) -> ScheduleStatus:
    """Its last decision may be of a queue of others: it moved from there, or had another owner before."""
    if status.last is None or call.caller.sees(status.last.queue):
        return status
    return msgspec.structs.replace(status, last=None)


def _is_asked_for(call: Call, asked: SchedulesQuery, definition: Definition) -> bool:
    in_state = definition.state is asked.state if asked.state else definition.state is not ScheduleState.REMOVED
    queue = definition.schedule.queue
    return in_state and asked.queue in (None, queue) and call.caller.sees(queue)


async def get(call: Call) -> view.ScheduleDetail:
    """A schedule, where it stands, and what was decided about its newest ticks."""
    return await _detail(call, await visible_schedule(call))


async def following(call: Call) -> view.ComingTicks:
    """The coming ticks, in UTC and in the schedule's zone."""
    asked: NextQuery = call.query
    status = await visible_schedule(call)
    items = show.coming(await call.queue.schedules.next(status.name, asked.count))
    return view.ComingTicks(items=items, never=not items and status.state is ScheduleState.ACTIVE)


async def create(call: Call) -> Reply:
    """A new schedule; its name must be free. Its first tick is the next one from now."""
    new: NewSchedule = call.body
    schedule = intake(call, new.name, new, before=None)
    _refuse_foreign(call, new.name, await _kept(call, new.name))
    status = await call.queue.schedules.save(schedule, create=True)
    call.note(new.name, **_noted(status))
    return Reply(view=await _detail(call, status), headers={"Location": f"{call.mount}{PREFIX}/schedules/{new.name}"})


async def put(call: Call) -> view.ScheduleDetail:
    """Make a schedule, or change it from its next tick on. The same again changes nothing."""
    name, sent = call.path["name"], call.body
    assert isinstance(sent, ScheduleDefinition)
    before = await _kept(call, name)
    _refuse_foreign(call, name, before)
    if before is None:
        call.action = "schedule.create"
    schedule = intake(call, name, sent, before=None if before is None else before.schedule)
    status = await call.queue.schedules.save(schedule)
    if before is None or before.version != status.version:
        call.note(name, **_noted(status), **_moved(before, schedule))
    return await _detail(call, status)


def _refuse_foreign(call: Call, name: str, kept: ScheduleStatus | None) -> None:
    if kept is not None and not call.caller.sees(kept.schedule.queue):
        raise Refusal("schedule-conflict", f"the name {name!r} is taken")


async def seen(call: Call, name: str) -> ScheduleStatus | None:
    """What stands under this name.

    Raises:
        Refusal: it is in a queue of others, where the caller changes nothing, and is not told what there is.
    """
    status = await _kept(call, name)
    if status is not None and not call.caller.sees(status.schedule.queue):
        raise unknown(name)
    return status


async def _kept(call: Call, name: str) -> ScheduleStatus | None:
    try:
        return await call.queue.schedules.get(name)
    except ScheduleNotFound:
        return None


def _noted(status: ScheduleStatus) -> dict[str, object]:
    schedule = status.schedule
    return {
        "version": status.version,
        "expression": schedule.expression,
        "timezone": schedule.timezone,
        "type": schedule.type,
        "queue": schedule.queue,
    }


def _moved(before: ScheduleStatus | None, schedule: Schedule) -> dict[str, object]:
    if before is None or before.schedule.queue == schedule.queue:
        return {}
    return {"former_queue": before.schedule.queue}


async def delete(call: Call) -> None:
    """Let a schedule have no more ticks. Jobs that it made go on; its record stays."""
    status = await visible_schedule(call)
    await call.queue.schedules.remove(status.name)
    call.note(status.name, queue=status.schedule.queue)


async def pause(call: Call) -> view.ScheduleDetail:
    """Let it have no ticks until it is resumed. Ticks that wait stay."""
    status = await visible_schedule(call)
    paused = await call.queue.schedules.pause(status.name)
    call.note(status.name, queue=status.schedule.queue, version=paused.version)
    return await _detail(call, paused)


async def resume(call: Call) -> view.ScheduleDetail:
    """Undo a pause; ticks of the time between are not made up for."""
    status = await visible_schedule(call)
    resumed = await call.queue.schedules.resume(status.name)
    call.note(status.name, queue=status.schedule.queue, version=resumed.version)
    return await _detail(call, resumed)


async def visible_schedule(call: Call) -> ScheduleStatus:
    """The schedule of the path.

    Raises:
        Refusal: there is none of this name in the caller's queues.
    """
    name = call.path["name"]
    status = await seen(call, name)
    if status is None:
        raise unknown(name)
    return status


def unknown(name: str) -> Refusal:
    return Refusal("not-found", f"there is no schedule {name!r}")


async def _detail(call: Call, status: ScheduleStatus) -> view.ScheduleDetail:
    where = TickFilter(name=status.name, queues=await visible_queues(call, status))
    ticks, _ = await call.queue.schedules.ticks(where, limit=_NEWEST)
    status = _without_foreign(call, status)
    return show.detail(status, call.site.settings.mask_fields, ticks=ticks, can=_can(call, status))


async def visible_queues(call: Call, status: ScheduleStatus | None) -> tuple[str, ...] | None:
    """The names of the caller's queues, and of the schedule's: a queue begins with its first job."""
    queues = await call.visible()
    return queues if queues is None or status is None else (*queues, status.schedule.queue)


def _can(call: Call, status: ScheduleStatus) -> list[view.Can]:
    if Scope.SCHEDULES_WRITE not in call.caller.scopes:
        return []
    can: list[view.Can] = ["run", "backfill"]
    if status.state is ScheduleState.ACTIVE:
        can.append("pause")
    if status.state is ScheduleState.PAUSED:
        can.append("resume")
    if status.source is Source.RUNTIME:
        can.append("change")
    if status.source is Source.RUNTIME or status.state is ScheduleState.RETIRED:
        can.append("remove")
    return can
