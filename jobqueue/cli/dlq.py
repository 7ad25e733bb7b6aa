"""`jobqueue dlq`: dead letters, looked at, queued again, deleted."""

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, Final, Protocol, TypeVar

import click
import msgspec

from jobqueue.app import JobQueue
from jobqueue.cli.exit import FAILED, OK
from jobqueue.cli.many import AT_A_CALL, carry_out
from jobqueue.cli.option import confirm, output_option, past, yes_option
from jobqueue.cli.output import Form, counted, show_all, show_one
from jobqueue.cli.session import in_loop, opened
from jobqueue.errors import BrokerError, DeadLetterNotFound, InvalidJob
from jobqueue.record import Many
from jobqueue.repository.base import DeadLetters, LetterFilter, LetterState, StoredLetter

_PAGE: Final = 200
_THING: Final = "dead letter"
_QUEUED: Final = "queued {} again"
_DELETED: Final = "deleted {}"
_JUST_AFTER: Final = timedelta(milliseconds=1)

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _filters(command: _Command) -> _Command:
    """The options that choose dead letters, handed on as one `where`."""

    @functools.wraps(command)
    def choose(queue: Any, type: Any, reason: Any, error: Any, before: Any, **rest: Any) -> Any:
        where = LetterFilter(queue=queue, type=type, reason=reason, error=error, before=before)
        return command(where=where, **rest)

    decorated: Any = choose
    for option in (
        click.option("--before", type=past, metavar="TIME", help="Died before this time, or so long ago: 7d."),
        click.option("--error", metavar="TEXT", help="This text is in the error's class or message."),
        click.option("--reason", help="Why: exhausted, given_up, discarded, crashed, unknown_task, ..."),
        click.option("--type", help="Of this task."),
        click.option("--queue", help="Of this queue."),
    ):
        decorated = option(decorated)
    result: _Command = decorated
    return result


@click.group(name="dlq")
def command() -> None:
    """List, group, show, retry and purge dead letters: jobs that will not be tried again by themselves."""


@command.command("ls")
@_filters
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="How many, newest first.")
@click.option("--all-states", is_flag=True, help="Also those that were queued again.")
@output_option
@in_loop
async def ls(where: LetterFilter, limit: int, all_states: bool, output: Form) -> None:
    """List dead letters, newest first."""
    if all_states:
        where = msgspec.structs.replace(where, state=None)
    async with opened() as jobs:
        letters = [each async for each in _letters(jobs, where, limit)]
        more = len(letters) == limit and await jobs.dead_letters.count(where) > limit
    extra = ("state", "requeued_at") if all_states else ()
    columns = ("job_id", "queue", "type", *extra, "reason", "attempts", "died_at", "error")
    show_all([_record(each) for each in letters], output, columns=columns, empty="no dead letters")
    if more:
        click.echo(f"these are the newest {limit}; --limit shows more", err=True)


@command.command("show")
@click.argument("job_id", metavar="ID")
@output_option
@in_loop
async def show(job_id: str, output: Form) -> None:
    """Show a dead letter with its payload, last error and traceback."""
    async with opened() as jobs:
        stored = await jobs.dead_letters.get(job_id)
    letter = stored.letter
    show_one(
        {
            **_record(stored),
            "priority": letter.priority.value,
            "crashes": letter.crashes,
            "worker": letter.worker,
            "payload": _payload(letter.body),
            "traceback": letter.traceback,
        },
        output,
    )


@command.command("groups")
@_filters
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="How many, most frequent first.")
@output_option
@in_loop
async def groups(where: LetterFilter, limit: int, output: Form) -> None:
    """Count dead letters by task, queue and error, most frequent first."""
    async with opened() as jobs:
        found = await jobs.dead_letters.groups(where, limit=limit)
    columns = ("count", "type", "queue", "error_class", "first_at", "last_at", "last_message")
    show_all([msgspec.structs.asdict(each) for each in found], output, columns=columns, empty="no dead letters")


@command.command("retry")
@click.argument("job_ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All that the filters choose.")
@_filters
@yes_option
@in_loop
async def retry(job_ids: tuple[str, ...], everything: bool, where: LetterFilter, yes: bool) -> int:
    """Queue dead letters again, under their ids, with a fresh budget of attempts."""
    _check_choice(job_ids, everything, where)
    async with opened() as jobs:
        letters = jobs.dead_letters
        if job_ids:
            return await _each(job_ids, letters.requeue, _QUEUED, "was queued again before")
        return await _all(letters, letters.requeue_where, where, "Queue {} again?", "queueing again", _QUEUED, yes)


@command.command("purge")
@click.argument("job_ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All that the filters choose.")
@_filters
@yes_option
@in_loop
async def purge(job_ids: tuple[str, ...], everything: bool, where: LetterFilter, yes: bool) -> int:
    """Delete dead letters, payload and all."""
    _check_choice(job_ids, everything, where)
    async with opened() as jobs:
        letters = jobs.dead_letters
        if job_ids:
            confirm(f"Delete {_number(len(job_ids))}?", yes=yes)
            return await _each(job_ids, letters.delete, _DELETED, "is no dead letter, or is on its way back")
        return await _all(letters, letters.delete_where, where, "Delete {}?", "deleting", _DELETED, yes)


def _check_choice(job_ids: Sequence[str], everything: bool, where: LetterFilter) -> None:
    if job_ids and (everything or where != LetterFilter()):
        raise click.UsageError("give ids, or filters with --all, not both")
    if not job_ids and not everything:
        raise click.UsageError("which ones? give ids, or --all, which the filters narrow")


class _OnMany(Protocol):
    def __call__(self, where: LetterFilter, *, limit: int) -> Awaitable[Many]: ...


async def _all(
    letters: DeadLetters, act: _OnMany, where: LetterFilter, question: str, doing: str, said: str, yes: bool
) -> int:
    count = await letters.count(where)
    newest, _ = await letters.list(where, limit=1)
    if newest:
        confirm(question.format(_number(count)), yes=yes)
        # Who dies meanwhile is left out: it may be one of these again.
        where = msgspec.structs.replace(where, before=newest[0].died_at + _JUST_AFTER)
    once = functools.partial(act, where, limit=AT_A_CALL)
    return await carry_out(once, doing=doing, said=said, thing=_THING, total=count)


async def _each(job_ids: Sequence[str], do: Callable[[str], Awaitable[bool]], said: str, not_done: str) -> int:
    """Do it to each; one that is refused is told and does not hold up the others."""
    done = failed = 0
    for job_id in job_ids:
        try:
            if await do(job_id):
                done += 1
                continue
            why = f"{job_id} {not_done}"
        except (DeadLetterNotFound, InvalidJob) as error:
            failed, why = failed + 1, str(error)
        except BrokerError:
            click.echo(said.format(_number(done)), err=True)
            raise
        click.echo(why, err=True)
    click.echo(said.format(_number(done)))
    return FAILED if failed else OK


async def _letters(jobs: JobQueue, where: LetterFilter, limit: int | None) -> AsyncIterator[StoredLetter]:
    after: str | None = None
    left = limit
    while True:
        size = _PAGE if left is None else min(left, _PAGE)
        page, after = await jobs.dead_letters.list(where, limit=size, after=after)
        for each in page:
            yield each
        left = None if left is None else left - len(page)
        if after is None or left == 0:
            return


def _record(stored: StoredLetter) -> dict[str, Any]:
    letter = stored.letter
    return {
        "job_id": letter.job_id,
        "queue": letter.queue,
        "type": stored.type,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "died_at": stored.died_at,
        "state": LetterState(stored.state).value,
        "requeued_at": stored.requeued_at,
        "error": f"{letter.error_class}: {letter.error_message}" if letter.error_message else letter.error_class,
    }


def _payload(body: bytes) -> Any:
    """The arguments, or for a body that cannot be read the text of it."""
    try:
        return msgspec.json.decode(body)["payload"]
    except (msgspec.DecodeError, UnicodeDecodeError, TypeError, KeyError):
        return body.decode(errors="replace")


def _number(count: int) -> str:
    return counted(count, _THING)
