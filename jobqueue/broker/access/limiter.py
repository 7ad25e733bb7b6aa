"""Token buckets in Redis, by its clock."""

from datetime import timedelta
from math import ceil, floor, isfinite

from jobqueue.broker import scripts
from jobqueue.broker.connection import Line
from jobqueue.broker.keys import AccessKeys


class RedisLimiter:
    """See `jobqueue.access.base.Limiter`."""

    def __init__(self, line: Line, namespace: str) -> None:
        self._line = line
        self._keys = AccessKeys.of(namespace)

    async def take(self, bucket: str, *, rate: float, burst: float, cost: float = 1.0) -> timedelta:
        if not (rate > 0 and 0 < cost <= burst and isfinite(burst / rate)):
            raise ValueError(f"a bucket needs rate > 0 and 0 < cost <= burst, got {rate=}, {burst=}, {cost=}")
        # Whole µs, rounded in the caller's favour: a full bucket gives all of its burst at one instant.
        command = scripts.TAKE.command(
            bucket=self._keys.bucket(bucket),
            cost_us=max(1, floor(cost / rate * 1_000_000)),
            depth_us=ceil(burst / rate * 1_000_000),
        )
        return timedelta(milliseconds=int(await self._line.call(command)))
