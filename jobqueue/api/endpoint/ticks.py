"""Ticks of schedules: what was decided about them, jobs that are made now or for past ones, and what comes."""

import asyncio
import json
from datetime import datetime

from aiohttp import web

from jobqueue.api import show as show_job
from jobqueue.api.call import Call
from jobqueue.api.endpoint.schedules import seen, unknown, visible_queues, visible_schedule
from jobqueue.api.pipeline import json_of
from jobqueue.api.repeat import Repetition, once
from jobqueue.api.route import PREFIX
from jobqueue.api.schedule import show, view
from jobqueue.api.schedule.request import CronQuery, NewBackfill, TicksQuery
from jobqueue.api.schedule.words import in_fields
from jobqueue.clock import from_ms
from jobqueue.cron import CronSchedule
from jobqueue.repository.schedules import TickFilter


async def ls(call: Call) -> view.TickPage:
    """What was decided about ticks of any schedule, newest decision first."""
    return await _page(call, None, await call.visible())


async def of_schedule(call: Call) -> view.TickPage:
    """What was decided about the ticks of one schedule, newest decision first; also of one that was removed."""
    name = call.path["name"]
    status = await seen(call, name)
    page = await _page(call, name, await visible_queues(call, status))
    if status is None and not page.items and call.query.cursor is None:
        raise unknown(name)
    return page


async def _page(call: Call, name: str | None, queues: tuple[str, ...] | None) -> view.TickPage:
    asked: TicksQuery = call.query
    if queues == ():
        return view.TickPage(items=[], next_cursor=None)
    where = TickFilter(name=name, queues=queues, decision=asked.decision, since=asked.since, until=asked.until)
    records, more = await call.queue.schedules.ticks(where, limit=asked.limit, after=call.cursor())
    return view.TickPage(items=[show.tick(each) for each in records], next_cursor=call.next_cursor(more))


async def run(call: Call) -> web.StreamResponse:
    """Queue a job of a schedule now, whatever its ticks and its state."""
    status = await visible_schedule(call)

    async def do(_: Repetition | None) -> web.Response:
        handle = await call.queue.schedules.run(status.name)
        call.note(status.name, queue=handle.queue, job_id=handle.id)
        shown = show_job.new_job(status.schedule.job(handle.id), due_at=None, masked=call.site.settings.mask_fields)
        return web.Response(body=json_of(shown), status=201, content_type="application/json")

    response = await once(call, do)
    assert isinstance(response.body, bytes)
    response.headers["Location"] = f"{call.mount}{PREFIX}/jobs/{json.loads(response.body)['id']}"
    return response


async def backfill(call: Call) -> web.StreamResponse:
    """Queue the jobs of past ticks, each once: one whose job was made before, in whatever way, is left out."""
    asked: NewBackfill = call.body
    status = await visible_schedule(call)

    async def do(_: Repetition | None) -> web.Response:
        with in_fields("body"):
            done = await call.queue.schedules.backfill(
                status.name, since=asked.since, until=asked.until, limit=asked.limit, dry_run=asked.dry_run
            )
        shown = show.backfill(done)
        if not asked.dry_run:
            call.note(
                status.name,
                queue=status.schedule.queue,
                since=asked.since.isoformat(),
                until=asked.until.isoformat(),
                done=shown.new,
            )
        return web.Response(body=json_of(shown), content_type="application/json")

    return await once(call, do)


async def preview(call: Call) -> view.CronPreview:
    """What an expression means, in words and in its coming ticks; no schedule is needed."""
    asked: CronQuery = call.query
    after = asked.after or from_ms(call.queue.parts.clock.now_ms())
    # Rare ticks take some 100 ms to find; meanwhile others are served.
    return await asyncio.to_thread(_preview, asked, after)


@in_fields("query")
def _preview(asked: CronQuery, after: datetime) -> view.CronPreview:
    cron = CronSchedule.parse(asked.expression, timezone=asked.timezone, seconds=asked.seconds == "true")
    ticks = show.coming(cron.preview(after, asked.count))
    return view.CronPreview(
        expression=cron.expression,
        timezone=cron.timezone,
        description=cron.describe(),
        ticks=ticks,
        never=not ticks,
    )
