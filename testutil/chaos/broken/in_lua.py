"""Mutations of scripts: one line less, or another one in its place."""

import hashlib

from jobqueue.broker import scripts
from jobqueue.broker.scripts import Script


def change(script: Script, was: str, becomes: str) -> None:
    """Replace a piece of a script's source, in this process.

    Raises:
        ValueError: the piece is not there exactly once, so that nothing would be broken, or something else.
    """
    if script.source.count(was) != 1:
        raise ValueError(f"{script.name}.lua holds {script.source.count(was)} times: {was}")
    del scripts.ALL[script.sha]
    script.source = script.source.replace(was, becomes)
    script.sha = hashlib.sha1(script.source.encode(), usedforsecurity=False).hexdigest()
    scripts.ALL[script.sha] = script


def no_fence() -> None:
    """A worker whose jobs were given away goes on, and what it settles is accepted."""
    change(scripts.BEAT, "redis.call('ZADD', workers, 'XX', ", "redis.call('ZADD', workers, ")
    change(scripts.SETTLE, "if fence == 'alive' and not deadline then return {0} end\n", "")
    # Without the lease, what is pending and what the index says would still tell the stale from the present.
    change(scripts.SETTLE, "local exact = acked ==", "local exact = fence == 'alive' or acked ==")


def group_at_the_end() -> None:
    """The consumer group is made by whoever finds a stream without one, at `$`: what was queued before is skipped."""
    change(scripts.DECLARE, "'workers', '0', 'MKSTREAM')", "'workers', '$')")
    change(scripts.DECLARE, "not string.find(made.err, '^BUSYGROUP')", "false")


def bounded_job_stream() -> None:
    """Job streams have a MAXLEN, so that they cannot grow for ever."""
    change(
        scripts.ENQUEUE,
        "rank .. call('XADD', streams[rank + 1], '*', 'i', id, 'b', body)",
        "rank .. call('XADD', streams[rank + 1], 'MAXLEN', 8, '*', 'i', id, 'b', body)",
    )


def enqueue_not_idempotent() -> None:
    """An enqueue whose reply was lost is sent again, and queues again."""
    change(scripts.ENQUEUE, "if done == number then", "if false then")
    change(scripts.ENQUEUE, "(alive[n] or seen[id])", "seen[id]")


def no_amnesty() -> None:
    """After an outage of Redis the first reaper buries everybody whose lease ran out meanwhile."""
    change(scripts.JANITOR, "if amnesty > now then return {0, amnesty - now} end\n", "")


def live_keys_expire() -> None:
    """Keys of a queue have a time to live, so that queues nobody uses clear themselves away."""
    change(
        scripts.ENQUEUE,
        "if size > 0 then\n",
        "if size > 0 then\n  for _, stream in ipairs(streams) do redis.call('PEXPIRE', stream, 600000) end\n",
    )


def promoted_early() -> None:
    """Delayed jobs are promoted by the tick: whatever is due before the next one."""
    change(scripts.PROMOTE, "'-inf', now, 'LIMIT'", "'-inf', now + 1000, 'LIMIT'")


def unique_not_held() -> None:
    """A unique key is written down by enqueue, and not looked at."""
    change(scripts.ENQUEUE, "if owner then return 'exists ' .. owner end", "")
