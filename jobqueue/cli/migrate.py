"""`jobqueue migrate`: the Postgres schema, up, down, and how it stands."""

from datetime import timedelta

import click

from jobqueue.cli.exit import OK
from jobqueue.cli.option import confirm, duration, output_option, yes_option
from jobqueue.cli.output import Form, show_all
from jobqueue.cli.session import in_loop
from jobqueue.config import Settings
from jobqueue.errors import ConfigError, require

_dry_run = click.option("--dry-run", is_flag=True, help="Print the SQL that would run, and run nothing.")
_to = click.option("--to", type=click.IntRange(0), metavar="VERSION", help="Stop at this version.")
_wait = click.option(
    "--wait", type=duration, default="1m", show_default=True, help="How long to wait for another runner."
)


@click.group(name="migrate", invoke_without_command=True)
@_dry_run
@click.pass_context
def command(ctx: click.Context, dry_run: bool) -> int:
    """Bring the schema of DATABASE_URL up to date; `down` takes back, `status` tells.

    The files are plain SQL: psql may run them instead.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(up, to=None, dry_run=dry_run, wait=timedelta(minutes=1))
    elif dry_run:
        raise click.UsageError(f"write it behind: jobqueue migrate {ctx.invoked_subcommand} --dry-run", ctx)
    return OK


@command.command("up")
@_to
@_dry_run
@_wait
@in_loop
async def up(to: int | None, dry_run: bool, wait: timedelta) -> None:
    """Apply what is pending."""
    url = _database_url()
    from jobqueue.repository.postgres.migrate import migrate_up

    steps = await migrate_up(url, to=to, dry_run=dry_run, wait=wait)
    if not steps:
        click.echo("the schema is up to date")
    for step in steps:
        click.echo(f"-- {step.file}\n{step.sql}" if dry_run else f"applied {step.file}")


@command.command("down")
@_to
@_dry_run
@_wait
@yes_option
@in_loop
async def down(to: int | None, dry_run: bool, wait: timedelta, yes: bool) -> None:
    """Take back the newest migration, or all above --to. Data in what is dropped is lost."""
    url = _database_url()
    from jobqueue.repository.postgres.migrate import migrate_down

    steps = await migrate_down(url, to=to, dry_run=True, wait=wait)
    if not steps:
        click.echo("there is nothing to take back")
        return
    if dry_run:
        for step in steps:
            click.echo(f"-- {step.file}\n{step.sql}")
        return
    confirm(f"Run {', '.join(step.file for step in steps)}? Data in what is dropped is lost.", yes=yes)
    for step in await migrate_down(url, to=to, wait=wait):
        click.echo(f"ran {step.file}")


@command.command("status")
@output_option
@in_loop
async def status(output: Form) -> None:
    """List every migration and how it stands."""
    url = _database_url()
    from jobqueue.repository.postgres.migrate import migration_status

    records = [
        {
            "version": each.version,
            "name": each.name,
            "state": each.state.value,
            "applied_at": each.applied_at,
            "by": ("psql" if each.by_psql else "jobqueue") if each.applied_at else None,
        }
        for each in await migration_status(url)
    ]
    show_all(records, output, columns=("version", "name", "state", "applied_at", "by"))


def _database_url() -> str:
    url = Settings.load().postgres.url
    if url is None:
        raise ConfigError("DATABASE_URL must be set, e.g. postgresql://user:password@localhost:5432/shop")
    require("asyncpg", "postgres")
    return url
