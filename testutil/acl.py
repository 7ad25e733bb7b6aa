"""The Redis user of docs/how-to/restrict-redis-user.md: servers that know it, and clients that are it.

server = start_redis(extra_args=acl_args(folder))
broker = RedisStreamsBroker(restricted(server.url), namespace=namespace)
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import pytest
import redis
import redis.asyncio

from jobqueue.broker.redis_streams import RedisStreamsBroker
from jobqueue.embedded import RedisServer

SWITCH: Final = "JOBQUEUE_TEST_ACL"
"""Environment variable: set, every broker of the test session is the restricted user."""

ACL_FILE: Final = Path(__file__).parent.parent / "docs" / "reference" / "redis-acl.conf"
OPERATORS_OWN: Final = {
    "test_a_cluster_runs_every_script": "SET",
    "test_f02_no_command_is_sent_twice_behind_our_back": "INCR",
    "test_f03_random_cancellations_of_a_brokers_calls_never_cross_replies": "ECHO",
    "test_f37_a_flush_ends_what_was_and_work_goes_on_without_spinning": "FLUSHALL",
    "test_f31_a_server_that_stops_writing_through_is_noticed": "CONFIG SET",
    "test_a_server_that_forgot_the_script_waits_after_it_was_loaded": "SCRIPT FLUSH",
    "test_f76_history_beyond_its_bound_is_dropped_and_counted_and_no_dead_letter_is": "MEMORY USAGE",
}
"""Tests that send through a broker what jobqueue itself never sends, with the command."""

USER: Final = "jobqueue"
PASSWORD: Final = "change-me"
_BY_SETTING: Final = {"redis-server": "+config|get", "valkey": "+config|get +waitaof"}
"""What the page adds for durability `fsync`. Debian's Redis 7.0 has no WAITAOF and would not start."""


def acl_args(folder: Path, *, namespace: str = "*", more: str = "") -> tuple[str, str]:
    """Arguments of a server that knows the user, in *namespace* (`*`: any), with *more* rules."""
    text = ACL_FILE.read_text(encoding="utf-8").strip()
    text = text.replace("~{jq:*}:*", f"~{{{namespace}:*}}:*").replace("~jq:queues", f"~{namespace}:queues")
    file = folder / "users.acl"
    file.write_text(f"{text} {more}\n", encoding="utf-8")
    return ("--aclfile", str(file))


def restricted(url: str) -> str:
    """*url* as the restricted user; one that names a user already stays as it is."""
    parts = urlsplit(url)
    if "@" in parts.netloc or parts.scheme not in ("redis", "redis+cluster", "redis+sentinel"):
        return url
    return urlunsplit(parts._replace(netloc=f"{USER}:{PASSWORD}@{parts.netloc}"))


def unrestricted(url: str) -> str:
    """*url* as the default user, who may do anything."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


@contextmanager
def restricted_session(folder: Path) -> Iterator[None]:
    """Every private server of this process knows the user, every broker is it; plain redis-py clients are not."""
    make_broker, argv = RedisStreamsBroker.__init__, RedisServer._argv
    args = {}
    for binary, more in _BY_SETTING.items():
        (folder / binary).mkdir()
        args[binary] = acl_args(folder / binary, more=more)

    def restricted_broker(self: RedisStreamsBroker, url: str, **options: Any) -> None:
        make_broker(self, restricted(url), **options)

    def argv_with_acl(self: RedisServer) -> list[str]:
        if "--aclfile" in argv(self):
            return argv(self)
        return [*argv(self), *args["redis-server" if self._binary.name == "redis-server" else "valkey"]]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RedisStreamsBroker, "__init__", restricted_broker)
        patch.setattr(RedisServer, "_argv", argv_with_acl)
        for client in (redis.Redis, redis.asyncio.Redis):
            patch.setattr(client, "from_url", _as_default_user(client.from_url))
        yield


def _as_default_user(from_url: Callable[..., Any]) -> Callable[..., Any]:
    def unrestricted_from_url(url: str, **options: Any) -> Any:
        return from_url(unrestricted(url), **options)

    return unrestricted_from_url
