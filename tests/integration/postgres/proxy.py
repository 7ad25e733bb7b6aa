"""A TCP proxy that cuts the connection around a COMMIT, as a network does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Literal
from urllib.parse import urlsplit

Cut = Literal["before commit", "after commit"]


class CommitProxy:
    """Forwards to a server; when armed, cuts once: before COMMIT gets there, or before its answer gets back."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._upstream = (parts.hostname or "", parts.port or 0)
        self._url = url
        self._armed: Cut | None = None
        self.cuts = 0
        self.port = 0

    @property
    def url(self) -> str:
        return self._url.replace(f":{self._upstream[1]}/", f":{self.port}/")

    def arm(self, cut: Cut) -> None:
        """Cut at the next COMMIT."""
        self._armed = cut

    @asynccontextmanager
    async def running(self) -> AsyncIterator["CommitProxy"]:
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0) as server:
            self.port = server.sockets[0].getsockname()[1]
            yield self

    async def _serve(self, client_in: asyncio.StreamReader, client_out: asyncio.StreamWriter) -> None:
        server_in, server_out = await asyncio.open_connection(*self._upstream)
        answers = asyncio.create_task(_pump(server_in, client_out))
        try:
            while data := await client_in.read(65536):
                cut, self._armed = (self._armed, None) if b"COMMIT\0" in data else (None, self._armed)
                if cut:
                    answers.cancel()
                    await asyncio.wait([answers])
                    self.cuts += 1
                if cut == "after commit":
                    server_out.write(data)
                    await server_in.read(1)  # the server has answered; nobody will hear it
                if cut:
                    return
                server_out.write(data)
        finally:
            answers.cancel()
            for writer in (server_out, client_out):
                writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()
