"""`jobqueue check`: the invariants, on the live system."""

import click

from jobqueue.cli.exit import OK, UNHEALTHY
from jobqueue.cli.inspection import violations
from jobqueue.cli.option import output_option
from jobqueue.cli.output import Form, show_all
from jobqueue.cli.session import existing, in_loop, opened


@click.command(name="check")
@click.argument("queues", metavar="[QUEUE]...", nargs=-1)
@output_option
@in_loop
async def command(queues: tuple[str, ...], output: Form) -> int:
    """Check the invariants of queues, or of all: no job lost, doubled or left behind.

    Only reads, and may run beside a live system. Exit code 3 when one is broken.
    """
    records: list[dict[str, str | None]] = []
    async with opened() as jobs:
        names = [await existing(jobs, name) for name in queues] or await jobs.queues()
        for name in names:
            found = await violations(jobs, name)
            for each in found:
                records.append({"queue": name, "state": "broken", "rule": each.rule, "what": each.message})
            if not found:
                records.append({"queue": name, "state": "ok", "rule": None, "what": "every invariant holds"})
    show_all(records, output, columns=("queue", "state", "rule", "what"), empty="no queues yet; nothing to check")
    return UNHEALTHY if any(each["state"] == "broken" for each in records) else OK
