"""`jobqueue queue`: what is in the queues, and holding, emptying them."""

from typing import Any

import click

from jobqueue.broker.base import QueueStats
from jobqueue.cli.option import confirm, output_option, yes_option
from jobqueue.cli.output import Form, counted, show_all, show_one
from jobqueue.cli.session import existing, in_loop, opened
from jobqueue.job import PRIORITIES, Priority

_name = click.argument("name", metavar="QUEUE")


@click.group(name="queue")
def command() -> None:
    """List, show, pause, resume and purge queues."""


@command.command("ls")
@output_option
@in_loop
async def ls(output: Form) -> None:
    """List the queues."""
    async with opened() as jobs:
        stats = [await jobs.stats(name) for name in await jobs.queues()]
    columns = ("queue", "state", "ready", "running", "delayed", "completed", "died", "workers", "oldest_ms")
    records = [_record(each) for each in stats]
    show_all(records, output, columns=columns, empty="no queues yet; one begins with its first job or worker")


@command.command("show")
@_name
@output_option
@in_loop
async def show(name: str, output: Form) -> None:
    """Show one queue in full."""
    async with opened() as jobs:
        stats = await jobs.stats(await existing(jobs, name))
    record = _record(stats)
    ready_by_priority = record.pop("ready_by_priority")
    if output is Form.TABLE:
        record["ready"] = f"{stats.depth} ({', '.join(f'{count} {each}' for each, count in ready_by_priority.items())})"
    else:
        record["ready_by_priority"] = ready_by_priority
    show_one(record, output)


@command.command("pause")
@_name
@in_loop
async def pause(name: str) -> None:
    """Let no more jobs be started; workers hear of it within 2 s. Running jobs go on."""
    async with opened() as jobs:
        await jobs.pause(await existing(jobs, name))
    click.echo(f"{name} is paused")


@command.command("resume")
@_name
@in_loop
async def resume(name: str) -> None:
    """Undo `pause`."""
    async with opened() as jobs:
        await jobs.resume(await existing(jobs, name))
    click.echo(f"{name} runs")


@command.command("purge")
@_name
@click.option(
    "-p",
    "--priority",
    "priorities",
    multiple=True,
    type=click.Choice([each.value for each in PRIORITIES]),
    help="Only these priorities; may be given more than once.",
)
@click.option("--keep-delayed", is_flag=True, help="Leave the jobs that are not due yet.")
@yes_option
@in_loop
async def purge(name: str, priorities: tuple[str, ...], keep_delayed: bool, yes: bool) -> None:
    """Cancel every waiting job of a queue. Running jobs go on."""
    chosen = [Priority(each) for each in priorities] or list(PRIORITIES)
    async with opened() as jobs:
        stats = await jobs.stats(await existing(jobs, name))
        waiting = sum(stats.ready[each] for each in chosen) + (0 if keep_delayed else stats.delayed)
        confirm(f"Cancel about {counted(waiting, 'waiting job')} of {name}?", yes=yes)
        gone = await jobs.purge(name, priorities=chosen, delayed=not keep_delayed)
    click.echo(f"cancelled {counted(gone, 'job')}")


def _record(stats: QueueStats) -> dict[str, Any]:
    return {
        "queue": stats.queue,
        "state": "paused" if stats.paused else "running",
        "ready": stats.depth,
        "ready_by_priority": {priority.value: count for priority, count in stats.ready.items()},
        "running": stats.running,
        "delayed": stats.delayed,
        "workers": stats.workers,
        "oldest_ms": stats.oldest_ready_ms,
        "next_due_ms": stats.next_due_ms,
        "enqueued": stats.enqueued,
        "completed": stats.completed,
        "died": stats.died,
        "cancelled": stats.cancelled,
        "expired": stats.expired,
        "requeued": stats.requeued,
        "dead_in_redis": stats.dead,
        "journal": stats.journal,
        "journal_dropped": stats.journal_dropped,
    }
