"""`jobqueue keys`: API keys, made, listed, replaced, revoked; and who did so in the audit log."""

from datetime import datetime, timedelta
from typing import Any, get_args

import click

from jobqueue.access.base import Access, ApiKey
from jobqueue.access.key import Environment, mint, replace
from jobqueue.access.scope import Kind, Scope
from jobqueue.app import JobQueue
from jobqueue.cli.option import confirm, duration, output_option, yes_option
from jobqueue.cli.output import Form, show_all, show_one
from jobqueue.cli.session import in_loop, opened
from jobqueue.cli.trail import note, who
from jobqueue.clock import format_duration, from_ms
from jobqueue.errors import JobQueueError

_COLUMNS = ("id", "name", "kind", "state", "queues", "created_at", "expires_at", "last_used_at")

_id = click.argument("key_id", metavar="ID")
_env = click.option(
    "--env",
    type=click.Choice(get_args(Environment)),
    default="live",
    show_default=True,
    help="Second part of the key's text; changes nothing but its looks.",
)


@click.group(name="keys")
def command() -> None:
    """Make, list, rotate and revoke the keys of the HTTP API."""


@command.command("create")
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice([each.value for each in Kind]),
    default=Kind.CLIENT.value,
    show_default=True,
    help="What it is for: decides its scopes where none are given.",
)
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice([each.value for each in Scope]),
    help="What it may do; may be given more than once. Else what its kind may.",
)
@click.option(
    "--queue", "queues", multiple=True, help="On which queues: mail, mail.*; may be given more than once. Else all."
)
@click.option("--expires", type=duration, metavar="DURATION", help="Good for so long, such as 90d; else until revoked.")
@click.option("--rate", type=float, help="Requests a second, in the long run; else as many as it likes.")
@_env
@output_option
@in_loop
async def create(
    name: str,
    kind: str,
    scopes: tuple[str, ...],
    queues: tuple[str, ...],
    expires: timedelta | None,
    rate: float | None,
    env: Environment,
    output: Form,
) -> None:
    """Make a key called NAME and print its secret, this once: only its SHA-256 is kept."""
    async with opened() as jobs:
        secret, key = mint(
            name,
            kind=Kind(kind),
            scopes=[Scope(each) for each in scopes] or None,
            queues=queues or ("*",),
            env=env,
            created_by=who(),
            expires=expires,
            rate=rate,
            now=_now(jobs),
        )
        first = not await _access(jobs).keys.any()
        await note(jobs, "key.create", key.id, _rights(key))
        await _access(jobs).keys.add(key)
    _show_secret(secret, key, output)
    if first and Scope.KEYS_ADMIN not in key.scopes:
        click.echo(
            "this is the first key: from now on the API and the dashboard ask for one, and this one may not do "
            "everything; make one that may with: jobqueue keys create --kind admin NAME",
            err=True,
        )


@command.command("ls")
@output_option
@in_loop
async def ls(output: Form) -> None:
    """List the keys, newest first, revoked ones too."""
    async with opened() as jobs:
        now = _now(jobs)
        keys = await _access(jobs).keys.list()
    empty = "no keys yet; make one with: jobqueue keys create NAME"
    show_all([_record(each, now) for each in keys], output, columns=_COLUMNS, empty=empty)


@command.command("rotate")
@_id
@click.option(
    "--overlap", type=duration, default="0s", show_default=True, help="The old secret stays good for so long: 1h."
)
@_env
@output_option
@in_loop
async def rotate(key_id: str, overlap: timedelta, env: Environment, output: Form) -> None:
    """Make a key with the rights of another, print its secret, and revoke the other."""
    async with opened() as jobs:
        keys, now = _access(jobs).keys, _now(jobs)
        old = await _existing(jobs, key_id)
        secret, new = replace(old, created_by=who(), now=now, env=env, overlap=overlap)
        await note(jobs, "key.rotate", old.id, {"new": new.id, "overlap": format_duration(overlap)})
        await keys.add(new)  # first: broken off here, both are good
        await keys.revoke(old.id, at=now + overlap)
    _show_secret(secret, new, output)
    when = f"in {format_duration(overlap)}" if overlap else "within 5 s"
    click.echo(f"key {old.id} is void {when}", err=True)


@command.command("revoke")
@_id
@yes_option
@in_loop
async def revoke(key_id: str, yes: bool) -> None:
    """Make a key void for ever, within 5 s everywhere."""
    async with opened() as jobs:
        key = await _existing(jobs, key_id)
        confirm(f"Revoke key {key.id} ({key.name})?", yes=yes)
        await note(jobs, "key.revoke", key.id, {"name": key.name})
        await _access(jobs).keys.revoke(key.id, at=_now(jobs))
    click.echo(f"key {key.id} is void within 5 s")


async def _existing(jobs: JobQueue, key_id: str) -> ApiKey:
    key = await _access(jobs).keys.get(key_id)
    if key is None:
        raise JobQueueError(f"no key has the id {key_id[:80]!r}; `jobqueue keys ls` lists them")
    return key


def _show_secret(secret: str, key: ApiKey, output: Form) -> None:
    if output is Form.TABLE:
        click.echo(secret)
    else:
        show_one({**_record(key, key.created_at), "secret": secret}, output)
    click.echo(f"key {key.id} ({key.name}); its secret is shown this once and kept nowhere", err=True)


def _record(key: ApiKey, now: datetime) -> dict[str, Any]:
    return {
        "id": key.id,
        "state": _state(key, now),
        **_rights(key),
        "created_at": key.created_at,
        "created_by": key.created_by,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "last_used_at": key.last_used_at,
    }


def _rights(key: ApiKey) -> dict[str, Any]:
    return {
        "name": key.name,
        "kind": key.kind.value,
        "scopes": sorted(each.value for each in key.scopes),
        "queues": list(key.queues),
        "rate": key.rate,
    }


def _state(key: ApiKey, now: datetime) -> str:
    if key.revoked_at is not None:
        return "revoked" if key.revoked_at <= now else "ending"
    return "expired" if key.expires_at is not None and key.expires_at <= now else "good"


def _access(jobs: JobQueue) -> Access:
    if jobs.parts.access is None:
        raise JobQueueError("this queue keeps no keys")
    return jobs.parts.access


def _now(jobs: JobQueue) -> datetime:
    return from_ms(jobs.parts.clock.now_ms())
