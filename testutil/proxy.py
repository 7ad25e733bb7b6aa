"""A TCP proxy in front of Redis that loses what it is told to lose.

async with fault_proxy(server.url) as proxy:
    proxy.drop_reply(b"EVALSHA", after=1)   # the second one is carried out, and its reply never comes
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

Fate = Literal["drop request", "drop reply", "swallow reply"]


@dataclass
class _Fault:
    word: bytes
    fate: Fate
    skip: int
    times: int


@dataclass
class FaultProxy:
    """Requests are matched by a word in them, such as `EVALSHA` or a script's sha, one read at a time.

    *faults* counts what was done. A connection whose reply was dropped is cut; one whose reply is
    swallowed stays open and says nothing more.
    """

    upstream: tuple[str, int]
    port: int = 0
    faults: int = 0
    refusing: bool = False
    on_fault: Callable[[], object] | None = None
    _plans: list[_Fault] = field(default_factory=list)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def drop_request(self, word: bytes, *, after: int = 0, times: int = 1) -> None:
        """Cut the connection instead of passing on a request with *word* in it."""
        self._plans.append(_Fault(word, "drop request", after, times))

    def drop_reply(self, word: bytes, *, after: int = 0, times: int = 1) -> None:
        """Pass such a request on and wait for its reply; then cut the connection."""
        self._plans.append(_Fault(word, "drop reply", after, times))

    def swallow_reply(self, word: bytes, *, after: int = 0, times: int = 1) -> None:
        """Pass such a request on; its reply, and every later one on its connection, never comes."""
        self._plans.append(_Fault(word, "swallow reply", after, times))

    def cut(self) -> None:
        """End every connection now."""
        for writer in self._writers:
            writer.transport.abort()

    def _fate_of(self, data: bytes) -> Fate | None:
        for plan in self._plans:
            if plan.word in data and plan.times:
                if plan.skip:
                    plan.skip -= 1
                    continue
                plan.times -= 1
                self.faults += 1
                return plan.fate
        return None

    async def serve(self, client_in: asyncio.StreamReader, client_out: asyncio.StreamWriter) -> None:
        if self.refusing:
            client_out.transport.abort()
            return
        server_in, server_out = await asyncio.open_connection(*self.upstream)
        self._writers |= {client_out, server_out}
        mute = asyncio.Event()
        replies = asyncio.create_task(_pump(server_in, client_out, mute))
        with suppress(ConnectionError):
            await self._requests(client_in, server_out, replies, mute)
        replies.cancel()
        for writer in (client_out, server_out):
            writer.transport.abort()
            self._writers.discard(writer)

    async def _requests(
        self,
        client_in: asyncio.StreamReader,
        server_out: asyncio.StreamWriter,
        replies: "asyncio.Task[None]",
        mute: asyncio.Event,
    ) -> None:
        while data := await client_in.read(2**20):
            fate = self._fate_of(data)
            if fate == "drop request":
                return
            if fate is not None:
                mute.set()
            server_out.write(data)
            await server_out.drain()
            if fate == "drop reply":
                # A request may come in several reads; the first reply to it ends the pump.
                rest = asyncio.create_task(_forward(client_in, server_out))
                await asyncio.wait([replies])
                rest.cancel()
            if fate is not None and self.on_fault is not None:
                answer = self.on_fault()
                if asyncio.iscoroutine(answer):
                    await answer
            if fate == "drop reply":
                return


async def _pump(server_in: asyncio.StreamReader, client_out: asyncio.StreamWriter, mute: asyncio.Event) -> None:
    with suppress(ConnectionError):
        while data := await server_in.read(2**20):
            if mute.is_set():
                return
            client_out.write(data)
            await client_out.drain()


async def _forward(client_in: asyncio.StreamReader, server_out: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await client_in.read(2**20):
            server_out.write(data)
            await server_out.drain()


@asynccontextmanager
async def fault_proxy(url: str) -> AsyncIterator[FaultProxy]:
    """A proxy in front of the Redis at *url*."""
    parts = urlsplit(url)
    proxy = FaultProxy((parts.hostname or "127.0.0.1", parts.port or 6379))
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        proxy.cut()
        await server.wait_closed()
