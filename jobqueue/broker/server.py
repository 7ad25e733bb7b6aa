"""What the server is and whether it is fit to hold jobs."""

import time
from collections.abc import Mapping
from typing import Any

import msgspec

from jobqueue.broker.connection import Line
from jobqueue.errors import BrokerError, ConfigError

OLDEST_REDIS = (7, 0)
OLDEST_VALKEY = (7, 2)
# The release of each line that fixes CVE-2025-49844 (a script can break out of Lua), 46817, 46818 and 46819;
# None: its makers fixed it in no release, distributions may have. Newer lines were never without the fix.
LUA_FIXES: Mapping[str, Mapping[tuple[int, ...], int | None]] = {
    "redis": {(7, 0): None, (7, 2): 11, (7, 4): 6, (8, 0): 4, (8, 2): 2},
    "valkey": {(7, 2): 11, (8, 0): 6, (8, 1): 4},
}


class ServerFacts(msgspec.Struct, kw_only=True):
    """A server as INFO tells; None where it would not say."""

    flavour: str = "redis"
    version: str = ""
    role: str | None = None
    eviction: str | None = None
    maxmemory: int | None = None
    used_memory: int | None = None
    aof: bool | None = None
    rdb_last_ok: bool | None = None
    now_ms: int = 0
    skew_ms: float = 0.0
    """How far its clock is ahead of this machine's."""

    @property
    def may_evict(self) -> bool:
        """Whether jobs can vanish when memory is full."""
        return bool(self.maxmemory) and self.eviction not in (None, "noeviction")

    @property
    def numbers(self) -> tuple[int, ...]:
        """Its version as numbers; empty where it would not say."""
        return tuple(int(part) for part in self.version.split(".") if part.isdigit())

    @property
    def lua_may_be_broken_out_of(self) -> bool:
        """Whether its version is older than the fix of CVE-2025-49844, which a distribution may have added to it."""
        fixes = LUA_FIXES.get(self.flavour, {})
        line, patch = self.numbers[:2], self.numbers[2:3]
        if not line or line not in fixes:
            return False
        fixed = fixes[line]
        return fixed is None or patch < (fixed,)

    def check(self, *, allow_eviction: bool) -> None:
        """Refuse a server that cannot hold jobs.

        Raises:
            ConfigError: too old, or set to evict keys.
        """
        oldest = OLDEST_VALKEY if self.flavour == "valkey" else OLDEST_REDIS
        if self.numbers and self.numbers[:2] < oldest:
            raise ConfigError(
                f"{self.flavour} {self.version} is too old; jobqueue needs Redis 7.0 or Valkey 7.2, or newer"
            )
        if self.may_evict and not allow_eviction:
            raise ConfigError(
                f"maxmemory-policy is {self.eviction!r}: a full {self.flavour} would evict jobs; "
                f"set it to noeviction, or set JOBQUEUE_ALLOW_EVICTION=true and accept lost jobs"
            )


async def ask_server(line: Line) -> ServerFacts:
    """Read the facts; a server that forbids INFO leaves them empty."""
    await line.call(["PING"])  # the first call connects, which takes its time
    before = time.time()
    seconds, micros = await line.call(["TIME"])
    here_ms = (before + time.time()) / 2 * 1000
    now_ms = int(seconds) * 1000 + int(micros) / 1000
    facts = ServerFacts(now_ms=int(now_ms), skew_ms=now_ms - here_ms)
    try:
        info = _parse(await line.call(["INFO"]))
    except BrokerError:
        return facts
    facts.flavour = info.get("server_name", "redis")
    facts.version = info.get("valkey_version") or info.get("redis_version", "")
    facts.role = info.get("role")
    facts.eviction = info.get("maxmemory_policy")
    facts.maxmemory = _whole(info.get("maxmemory"))
    facts.used_memory = _whole(info.get("used_memory"))
    facts.aof = _flag(info.get("aof_enabled"), "1")
    facts.rdb_last_ok = _flag(info.get("rdb_last_bgsave_status"), "ok")
    return facts


def _parse(text: Any) -> dict[str, str]:
    pairs = (line.partition(":") for line in text.decode().splitlines() if ":" in line)
    return {name: value for name, _, value in pairs}


def _whole(text: str | None) -> int | None:
    return None if text is None else int(text)


def _flag(text: str | None, true: str) -> bool | None:
    return None if text is None else text == true
