"""`/executions`: what has run, how it went, how long it took."""

from datetime import UTC, datetime, timedelta

from jobqueue.api import query, show, view
from jobqueue.api.call import Call
from jobqueue.api.problem import Refusal
from jobqueue.clock import to_ms
from jobqueue.repository.base import ExecutionFilter, Executions

_LAST_HOUR = timedelta(hours=1)
_LAST_DAY = timedelta(hours=24)
_SHORTEST = timedelta(seconds=1)
_MINUTE = timedelta(minutes=1)
_MOST_BY_ROWS = timedelta(minutes=20)
_MOST_BUCKETS = 1000


async def ls(call: Call) -> view.ExecutionPage:
    """A page, newest first."""
    asked: query.ExecutionsQuery = call.query
    where = ExecutionFilter(
        queue=asked.queue,
        queues=await call.visible(),
        type=asked.type,
        outcome=asked.outcome,
        q=asked.q,
        since=asked.since,
        until=asked.until,
    )
    rows, more = await _history(call).search(where, limit=asked.limit, after=call.cursor())
    return view.ExecutionPage(items=[show.execution(each) for each in rows], next_cursor=call.next_cursor(more))


async def stats(call: Call) -> view.Statistics:
    """How many executions ended how, by time."""
    asked: query.StatisticsQuery = call.query
    until = datetime.now(UTC)
    since = asked.since or until - _LAST_HOUR
    _check_buckets(until - since, asked.bucket)
    history, queues = _history(call), await _queues(call, asked.queue)
    buckets = (
        await history.series(queues=queues, since=since, until=until, bucket=asked.bucket) if since < until else []
    )
    outcomes: dict[str, int] = {}
    for each in buckets:
        for outcome, count in each.outcomes.items():
            outcomes[outcome] = outcomes.get(outcome, 0) + count
    return view.Statistics(
        bucket_ms=to_ms(asked.bucket), buckets=[show.bucket(each) for each in buckets], outcomes=outcomes
    )


async def errors(call: Call) -> view.ErrorGroups:
    """What failed, most frequent first."""
    asked: query.ErrorsQuery = call.query
    since = asked.since or datetime.now(UTC) - _LAST_DAY
    found = await _history(call).errors(queues=await _queues(call, asked.queue), since=since, limit=asked.limit)
    return view.ErrorGroups(items=[show.error_group(each) for each in found])


def _history(call: Call) -> Executions:
    if call.queue.parts.executions is None:
        raise Refusal("not-configured", "there is no history without Postgres; start the API with DATABASE_URL set")
    return call.queue.parts.executions


async def _queues(call: Call, queue: str | None) -> tuple[str, ...] | None:
    """The queues to be looked at; None: all."""
    if queue is None:
        return await call.visible()
    return (queue,) if call.caller.sees(queue) else ()


def _check_buckets(span: timedelta, bucket: timedelta) -> None:
    if bucket < _SHORTEST:
        _refuse("bucket", "must be at least 1s")
    if bucket % _MINUTE and span > _MOST_BY_ROWS:
        _refuse("bucket", "must be whole minutes, such as 1m or 3h, when `since` is more than 20 minutes ago")
    if span / bucket > _MOST_BUCKETS:
        _refuse("bucket", f"is too short: from `since` to now there would be more than {_MOST_BUCKETS}")


def _refuse(name: str, rule: str) -> None:
    raise Refusal("invalid-request", f"query.{name}: {rule}", errors=[{"loc": ["query", name], "msg": rule}])
