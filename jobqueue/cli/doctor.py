"""`jobqueue doctor`: what is wrong here, and what to do about it."""

from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal

import click
import msgspec

from jobqueue.app import JobQueue
from jobqueue.broker.base import QueueStats
from jobqueue.broker.repair import readd_stranded
from jobqueue.broker.server import ServerFacts
from jobqueue.cli.cron.late import undecided
from jobqueue.cli.encryption import is_open_postgres, is_open_redis
from jobqueue.cli.exit import OK, UNHEALTHY
from jobqueue.cli.inspection import SetBack, set_back, violations
from jobqueue.cli.option import output_option
from jobqueue.cli.output import Form, counted, show_all
from jobqueue.cli.session import in_loop, opened
from jobqueue.config import Settings, mask_url
from jobqueue.errors import BrokerError, ConfigError, JobQueueError, RepositoryError

_SKEW_MS = 1_000
_OVERDUE_MS = 5_000
_FULL = 0.9


class Finding(msgspec.Struct, kw_only=True):
    """One thing that was looked at."""

    about: str
    state: Literal["ok", "warning", "failed"]
    what: str


@click.command(name="doctor")
@output_option
@click.option("--repair", is_flag=True, help="Queue again what was delivered to a consumer deleted by hand.")
@in_loop
async def command(output: Form, repair: bool) -> int:
    """Look at Redis, Postgres and the queues, and say what is wrong.

    Exit code 3 when something has failed; warnings are advice. --repair never deletes anything.
    """
    settings = Settings.load()
    async with opened(settings) as jobs:
        repaired = [finding async for finding in _repair(jobs)] if repair else []
        findings = repaired + [finding async for finding in _examine(jobs, settings)]
    records: list[dict[str, Any]] = [msgspec.structs.asdict(each) for each in findings]
    show_all(records, output, columns=("about", "state", "what"))
    return UNHEALTHY if any(each.state == "failed" for each in findings) else OK


async def _repair(jobs: JobQueue) -> AsyncIterator[Finding]:
    if jobs.parts.redis is None:
        return
    for name in await jobs.queues():
        if again := await readd_stranded(jobs.parts.redis, name):
            what = f"{counted(len(again), 'job')} had no consumer any more and {'was' if len(again) == 1 else 'were'}"
            yield Finding(about=f"queue {name}", state="warning", what=f"{what} queued again: {', '.join(again)}")


async def _examine(jobs: JobQueue, settings: Settings) -> AsyncIterator[Finding]:
    redis_up = True
    try:
        async for finding in _redis(jobs, settings):
            yield finding
    except BrokerError as error:
        redis_up = False
        yield Finding(about="redis", state="failed", what=str(error))
    postgres_up = True
    async for finding in _postgres(settings):
        postgres_up = postgres_up and finding.state != "failed"
        yield finding
    if redis_up:
        async for finding in _queues(jobs, with_letters=postgres_up):
            yield finding
    if redis_up and postgres_up:
        async for finding in _schedules(jobs):
            yield finding


async def _redis(jobs: JobQueue, settings: Settings) -> AsyncIterator[Finding]:
    redis = jobs.parts.redis
    if redis is None:
        return
    place = mask_url(settings.redis.url)
    if is_open_redis(settings.redis.url):
        what = f"passwords and payloads go to {place} unencrypted; off networks of your own, use rediss://"
        yield Finding(about="encryption", state="warning", what=what)
    for facts in await redis.servers():
        for finding in _server(facts, place, settings):
            yield finding


def _server(facts: ServerFacts, place: str, settings: Settings) -> Iterator[Finding]:
    yield _version(facts, place)
    if facts.lua_may_be_broken_out_of:
        yield Finding(
            about="lua",
            state="warning",
            what=f"{facts.flavour} {facts.version} is older than the fix of CVE-2025-49844: whoever may run scripts "
            f"may take over the server; upgrade it, or see whether your distribution has fixed its package",
        )
    yield _eviction(facts, allowed=settings.redis.allow_eviction)
    yield _persistence(facts)
    if facts.role is not None:
        fine = facts.role == "master"
        yield Finding(
            about="role",
            state="ok" if fine else "failed",
            what=facts.role if fine else f"{place} is a {facts.role} and takes no jobs; point REDIS_URL to the master",
        )
    if facts.maxmemory and facts.used_memory:
        part = facts.used_memory / facts.maxmemory
        yield Finding(
            about="memory",
            state="warning" if part > _FULL else "ok",
            what=f"{part:.0%} of maxmemory is used" + ("; a full server takes no new jobs" if part > _FULL else ""),
        )
    skew_ms = facts.skew_ms
    yield Finding(
        about="clock",
        state="ok" if abs(skew_ms) < _SKEW_MS else "warning",
        what=f"the server's clock is {abs(skew_ms):.0f} ms {'ahead of' if skew_ms > 0 else 'behind'} this machine's"
        + ("" if abs(skew_ms) < _SKEW_MS else "; its clock decides what is due: run NTP on both"),
    )


def _version(facts: ServerFacts, place: str) -> Finding:
    what = f"{facts.flavour} {facts.version or 'of unknown version'} at {place}"
    try:
        msgspec.structs.replace(facts, eviction=None).check(allow_eviction=True)
    except ConfigError as error:
        return Finding(about="redis", state="failed", what=f"{error} ({place})")
    return Finding(about="redis", state="ok", what=what)


def _eviction(facts: ServerFacts, *, allowed: bool) -> Finding:
    if facts.may_evict:
        return Finding(
            about="eviction",
            state="warning" if allowed else "failed",
            what=f"maxmemory-policy is {facts.eviction}: a full server would evict jobs; set it to noeviction",
        )
    if facts.eviction not in (None, "noeviction"):
        return Finding(
            about="eviction",
            state="warning",
            what=f"maxmemory-policy is {facts.eviction}, without effect while maxmemory is 0; set it to noeviction",
        )
    return Finding(about="eviction", state="ok", what=facts.eviction or "the server does not tell")


def _persistence(facts: ServerFacts) -> Finding:
    if facts.aof is None:
        return Finding(about="persistence", state="warning", what="the server does not tell")
    if facts.aof:
        return Finding(about="persistence", state="ok", what="append-only file is on")
    told = "" if facts.rdb_last_ok else "; its last snapshot failed"
    return Finding(
        about="persistence",
        state="warning",
        what=f"append-only file is off: a crash of the server loses jobs{told}; set appendonly yes",
    )


async def _postgres(settings: Settings) -> AsyncIterator[Finding]:
    url = settings.postgres.url
    if url is None:
        yield Finding(about="postgres", state="ok", what="DATABASE_URL is not set: no history, dead letters in Redis")
        return
    from jobqueue.repository.postgres.migrate import MigrationState, migration_status

    place = mask_url(url)
    try:
        statuses = await migration_status(url)
    except RepositoryError as error:
        yield Finding(about="postgres", state="failed", what=str(error))
        return
    yield Finding(about="postgres", state="ok", what=place)
    if is_open_postgres(url):
        what = f"{place} is not asked to prove who it is; off networks of your own, add ?sslmode=verify-full"
        yield Finding(about="encryption", state="warning", what=what)
    by_state = {state: [each for each in statuses if each.state is state] for state in MigrationState}
    if changed := by_state[MigrationState.CHANGED]:
        yield Finding(
            about="migrations", state="failed", what=f"{changed[0].version:04d} was changed after it was applied"
        )
    elif waiting := by_state[MigrationState.PENDING]:
        yield Finding(about="migrations", state="failed", what=f"{len(waiting)} pending; run `jobqueue migrate`")
    elif unknown := by_state[MigrationState.UNKNOWN]:
        yield Finding(
            about="migrations", state="warning", what=f"{unknown[0].version:04d} is of a newer jobqueue than this one"
        )
    else:
        yield Finding(about="migrations", state="ok", what=f"all {len(statuses)} applied")


async def _schedules(jobs: JobQueue) -> AsyncIterator[Finding]:
    try:
        late, there = await undecided(jobs), len(await jobs.schedules.list())
    except JobQueueError as error:
        yield Finding(about="schedules", state="failed", what=f"not looked at: {error}")
        return
    if late:
        name, tick = late[0]
        many = f"{counted(len(late), 'schedule')} with ticks that nobody has decided"
        what = f"{many}, the first that of {name} at {tick.isoformat()}; is a `jobqueue scheduler` running?"
        yield Finding(about="schedules", state="warning", what=what)
    elif there:
        yield Finding(about="schedules", state="ok", what=f"{counted(there, 'schedule')}, no tick undecided")


async def _queues(jobs: JobQueue, *, with_letters: bool) -> AsyncIterator[Finding]:
    names = await jobs.queues()
    if not names:
        yield Finding(about="queues", state="ok", what="none yet")
    for name in names:
        about = f"queue {name}"
        for warning in _advice(await jobs.stats(name), history=jobs.settings.postgres.url is not None):
            yield Finding(about=about, state="warning", what=warning)
        if not with_letters:
            yield Finding(about=about, state="warning", what="invariants not checked: Postgres is not ready")
            continue
        try:
            if moved := await set_back(jobs, name):
                yield Finding(about=about, state="failed", what=_told(moved))
            found = await violations(jobs, name)
        except JobQueueError as error:
            yield Finding(about=about, state="failed", what=f"invariants not checked: {error}")
            continue
        for each in found:
            yield Finding(about=about, state="failed", what=f"{each.rule} broken: {each.message}")
        if not found:
            yield Finding(about=about, state="ok", what="every invariant holds")


def _told(moved: SetBack) -> str:
    return (
        f"set back: Postgres has history up to {moved.there:%Y-%m-%d %H:%M:%S} UTC, Redis only up to "
        f"{moved.here:%Y-%m-%d %H:%M:%S}: an old backup was restored, or a crash lost the newest writes; "
        f"jobs enqueued since are lost, and jobs finished since run again"
    )


def _advice(stats: QueueStats, *, history: bool) -> Iterator[str]:
    if stats.next_due_ms is not None and stats.next_due_ms < -_OVERDUE_MS:
        yield "delayed jobs are overdue: no worker or scheduler is at work; start one"
    if stats.depth and not stats.workers:
        yield f"{counted(stats.depth, 'job')} {'waits' if stats.depth == 1 else 'wait'} and no worker serves it"
    if stats.paused and stats.depth:
        yield f"paused, with {counted(stats.depth, 'job')} waiting; `jobqueue queue resume {stats.queue}` lets them run"
    if stats.journal_dropped:
        yield f"{counted(stats.journal_dropped, 'entry', 'entries')} of history dropped while Postgres was away"
    if not history and stats.journal:
        batches = counted(stats.journal, "batch", "batches")
        yield f"{batches} of history waiting for Postgres, and DATABASE_URL is not set here"
