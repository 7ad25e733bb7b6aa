"""What an operator's command can break and no reaper mends. It never deletes a job: it queues again."""

from redis.exceptions import ResponseError

from jobqueue.broker import scripts
from jobqueue.broker.keys import GROUP
from jobqueue.broker.redis_streams import RedisStreamsBroker

_PAGE = 500


async def readd_stranded(broker: RedisStreamsBroker, queue: str) -> list[str]:
    """Queue again what was delivered and is pending with nobody. Returns the ids of the jobs.

    That is what XGROUP DELCONSUMER leaves of a consumer with running jobs. A worker that still runs one of them
    settles in vain, so the job runs twice; it is not lost.

    Raises:
        BrokerUnavailable: Redis cannot be reached; what was queued again stays so.
    """
    keys = broker.keys(queue)
    readded: list[str] = []
    for rank, stream in enumerate(keys.streams):
        after, upto = "-", await _delivered_upto(broker, stream)
        while page := await broker.call(["XRANGE", stream, after, upto, "COUNT", _PAGE]):
            commands = [
                scripts.READD.command(keys, stream=stream, rank=rank, entry=entry_id.decode()) for entry_id, _ in page
            ]
            readded += [job_id.decode() for job_id in await broker.call_each(commands) if job_id]
            after = f"({page[-1][0].decode()}"
    return readded


async def _delivered_upto(broker: RedisStreamsBroker, stream: str) -> str:
    (groups,) = await broker.call_each([["XINFO", "GROUPS", stream]])
    for group in [] if isinstance(groups, ResponseError) else groups:
        facts = dict(zip(group[::2], group[1::2], strict=True))
        if facts[b"name"] == GROUP.encode():
            upto: str = facts[b"last-delivered-id"].decode()
            return upto
    return "0-0"
