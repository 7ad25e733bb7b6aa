"""`jobqueue audit`: who changed what."""

import click
import msgspec

from jobqueue.access.base import AuditEntry
from jobqueue.cli.option import output_option
from jobqueue.cli.output import Form, show_all
from jobqueue.cli.session import in_loop, opened

_PAGE = 200
_MOST_PAGES = 10_000
_COLUMNS = ("at", "actor", "action", "target", "detail", "address")


@click.group(name="audit")
def command() -> None:
    """Show who changed what, by the HTTP API, or keys and schedules by this command."""


@command.command("ls")
@click.option("--actor", help="By this key's id, or cli:<user>, or local.")
@click.option("--action", help="Such as queue.purge, key.revoke or schedule.change.")
@click.option("--target", help="Done to this job, queue, key or schedule.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="How many, newest first.")
@output_option
@in_loop
async def ls(actor: str | None, action: str | None, target: str | None, limit: int, output: Form) -> None:
    """List the entries of the audit log, newest first."""
    entries: list[AuditEntry] = []
    after: str | None = None
    async with opened() as jobs:
        assert jobs.parts.access is not None
        for _ in range(_MOST_PAGES):
            size = min(limit - len(entries), _PAGE)
            page, after = await jobs.parts.access.audit.list(
                actor=actor, action=action, target=target, limit=size, after=after
            )
            entries += page
            if after is None or len(entries) >= limit:
                break
    show_all([msgspec.structs.asdict(each) for each in entries], output, columns=_COLUMNS, empty="nothing yet")
    if after is not None:
        click.echo(f"these are the newest {limit}; --limit shows more", err=True)
