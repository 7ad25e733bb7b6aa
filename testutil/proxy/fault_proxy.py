"""A TCP proxy that does to its connections what networks do, and loses the requests and replies it is told to lose."""

import asyncio
import functools
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar
from urllib.parse import urlsplit

from testutil.proxy.condition import HEALTHY, Conditions, Direction
from testutil.proxy.link import Link
from testutil.proxy.plan import Fate, Plans

Condition = Literal["latency", "stall", "mute", "half_open", "throttle", "refuse"]

_HOST = "127.0.0.1"
_BACKLOG = 1024
_CALL_LIMIT_S = 30.0

_P = ParamSpec("_P")
_R = TypeVar("_R")


@asynccontextmanager
async def fault_proxy(url: str) -> AsyncIterator["FaultProxy"]:
    """A proxy in front of the Redis or Postgres at *url*."""
    proxy = FaultProxy(address_of(url), upstream_url=url)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()


def address_of(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or _HOST, parts.port or (6379 if parts.scheme.startswith("redis") else 5432)


def _in_its_loop(
    method: Callable[Concatenate["FaultProxy", _P], _R],
) -> Callable[Concatenate["FaultProxy", _P], _R]:
    """Callable from every thread: carried out in the proxy's own, and done when it returns."""

    @functools.wraps(method)
    def call(self: "FaultProxy", /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        async def run() -> _R:
            return method(self, *args, **kwargs)

        home = self.home
        if home is None or home[1] == threading.get_ident():
            return method(self, *args, **kwargs)
        return asyncio.run_coroutine_threadsafe(run(), home[0]).result(_CALL_LIMIT_S)

    return call


@dataclass(eq=False)
class FaultProxy:
    """Conditions hold for all connections, present and future, until `heal`; they may be combined.

    With *commands* it reads RESP, and knows the reply of every request, also in pipelines; what is not RESP is
    recognised, and its reads are then taken for requests and replies. `upstream` may be changed, and may be down.
    *on_fault* is called in the proxy's loop when a planned loss has happened, before the connection is cut; it may
    return an awaitable.

    Every method but `start` and `stop` may be called from any thread.
    """

    upstream: tuple[str, int]
    port: int = 0
    refusing: bool = False
    on_fault: Callable[[], object] | None = None
    commands: bool = True
    upstream_url: str = "redis://127.0.0.1/0"
    conditions: Conditions = field(default=HEALTHY, init=False)
    plans: Plans = field(default_factory=Plans, init=False)
    links: set[Link] = field(default_factory=set, init=False)
    home: tuple[asyncio.AbstractEventLoop, int] | None = field(default=None, init=False)  # and its thread
    _server: asyncio.Server | None = field(default=None, init=False)
    _tasks: "set[asyncio.Task[None]]" = field(default_factory=set, init=False)
    _no_links: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    @property
    def url(self) -> str:
        return self.through(self.upstream_url)

    def through(self, url: str) -> str:
        """The same *url*, but with this proxy's address."""
        parts = urlsplit(url)
        account, at, _ = parts.netloc.rpartition("@")
        return parts._replace(netloc=f"{account}{at}{_HOST}:{self.port}").geturl()

    @property
    def faults(self) -> int:
        """How many requests and replies were chosen to be lost or cut."""
        return self.plans.chosen

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self.links)

    async def start(self) -> None:
        """Listen, on *port* where it is given; the upstream need not be there."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Link(self).client, _HOST, self.port, backlog=_BACKLOG)
        self.port = self._server.sockets[0].getsockname()[1]
        self.home = loop, threading.get_ident()

    async def stop(self) -> None:
        """End every connection and listen no more; `start` begins again on the same port."""
        if self._server is None:
            return
        self._server.close()
        self.home = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.cut()
        while self.links:
            self._no_links.clear()
            await self._no_links.wait()
        await self._server.wait_closed()
        self._server = None

    @_in_its_loop
    def drop_request(self, word: bytes, *, after: int = 0, times: int = 1) -> None:
        """Cut the connection instead of passing on a request for *word*.

        *word* is the command or its first argument, such as a script's sha. Requests before it are answered.
        *after* so many, that happens *times* times; a connection is cut once.
        """
        self._plan("drop request", word, after, times)

    @_in_its_loop
    def drop_reply(self, word: bytes, *, after: int = 0, times: int = 1) -> None:
        """Pass such a request on and wait for its reply; then cut the connection. Earlier replies are delivered."""
        self._plan("drop reply", word, after, times)

    @_in_its_loop
    def swallow_reply(self, word: bytes, *, after: int = 0, times: int = 1) -> None:
        """Pass such a request on; its reply, and every later one on its connection, never comes."""
        self._plan("swallow reply", word, after, times)

    @_in_its_loop
    def cut_replies_after(self, n_bytes: int, times: int = 1) -> None:
        """Cut the connection after *n_bytes* bytes of the next reply that is longer, and so on *times* times."""
        self.plans.shorten(n_bytes, times=times)

    @_in_its_loop
    def latency(self, seconds: float, jitter: float = 0.0) -> None:
        """Deliver everything so much later, in order: a round trip takes twice as long."""
        self._set(latency_s=seconds, jitter_s=jitter)

    @_in_its_loop
    def throttle(self, bytes_per_second: float) -> None:
        """Deliver no more than this, per connection and direction."""
        self._set(bytes_per_second=bytes_per_second)

    @_in_its_loop
    def stall(self) -> None:
        """Deliver nothing; what is sent meanwhile comes when healed."""
        self._set(stalled=True)

    @_in_its_loop
    def mute(self, direction: Direction) -> None:
        """Lose what is sent that way, also the end of the connection."""
        if direction == "requests":
            self._set(mute_requests=True)
        else:
            self._set(mute_replies=True)

    @_in_its_loop
    def half_open(self) -> None:
        """Lose everything both ways, also the ends of connections; new ones are accepted and hear nothing."""
        self._set(half_open=True)

    @_in_its_loop
    def refuse(self) -> None:
        """Reset new connections."""
        self.refusing = True

    @_in_its_loop
    def heal(self, *conditions: Condition) -> None:
        """End these conditions, or all and what is planned. A connection that has lost bytes is reset."""
        ends = conditions or ("latency", "stall", "mute", "half_open", "throttle", "refuse")
        if not conditions:
            self.plans.forget()
            for link in self.links:
                link.has_lost |= link.conversation.has_fate
        if "refuse" in ends:
            self.refusing = False
        self._set(**{name: value for each in ends for name, value in _HEALED[each].items()})
        for link in list(self.links):
            link.healed()

    @_in_its_loop
    def cut(self) -> None:
        """End every connection now."""
        self._abort(rst=False)

    @_in_its_loop
    def reset(self) -> None:
        """End every connection now with a RST to both sides."""
        self._abort(rst=True)

    def forget(self, link: Link) -> None:
        self.links.discard(link)
        if not self.links:
            self._no_links.set()

    def own(self, task: "asyncio.Task[None]") -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _plan(self, fate: Fate, word: bytes, after: int, times: int) -> None:
        self.plans.add(word, fate, after=after, times=times)

    def _set(self, **changes: Any) -> None:
        conditions = replace(self.conditions, **changes)
        self.conditions = HEALTHY if conditions == HEALTHY else conditions
        for link in list(self.links):
            link.regulate()

    def _abort(self, *, rst: bool) -> None:
        for link in list(self.links):
            link.abort(rst=rst)


_HEALED: dict[Condition, dict[str, object]] = {
    "latency": {"latency_s": 0.0, "jitter_s": 0.0},
    "throttle": {"bytes_per_second": None},
    "stall": {"stalled": False},
    "mute": {"mute_requests": False, "mute_replies": False},
    "half_open": {"half_open": False},
    "refuse": {},
}
