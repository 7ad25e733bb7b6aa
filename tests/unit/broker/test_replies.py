"""A line against servers that misbehave on the wire."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from jobqueue.broker.connection import NoReply
from jobqueue.broker.dial import dial

Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(answer: Answer) -> AsyncIterator[tuple[str, list[int]]]:
    """A server that says OK to what redis-py sends first, and *answer* to what holds GET. Its URL, and its calls."""
    connections: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(1)
        while data := await reader.read(65536):
            if b"GET" in data:
                await answer(data, writer)
            else:
                writer.write(b"+OK\r\n" * data.count(b"*"))
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{listening.sockets[0].getsockname()[1]}/0", connections
    finally:
        listening.close()


async def test_what_nobody_asked_for_is_nobodys_reply() -> None:
    """One reply too many would else be read as the reply to the next call, and so on for ever."""

    async def answer(data: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"+mine\r\n+unasked\r\n")

    async with server(answer) as (url, connections):
        line = dial(url, timeout_s=5).line()
        replies = [await line.call(["GET", "k"]) for _ in range(3)]
        await line.close()

    assert replies == [b"mine"] * 3
    assert len(connections) == 3


async def test_a_reply_in_pieces_is_put_together() -> None:
    async def answer(data: bytes, writer: asyncio.StreamWriter) -> None:
        for piece in (b"$1", b"0\r\n01234", b"56789\r", b"\n:", b"7\r\n"):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.001)

    async with server(answer) as (url, _):
        line = dial(url, timeout_s=5).line()
        assert await line.exchange([["GET", "a"], ["GET", "b"]]) == [b"0123456789", 7]
        await line.close()


@pytest.mark.parametrize("junk", [b"", b"?what\r\n"], ids=["hangs up", "speaks no RESP"])
async def test_an_exchange_that_breaks_is_uncertain_and_the_next_is_on_a_new_connection(junk: bytes) -> None:
    answers = iter([junk, b"+fine\r\n"])

    async def answer(data: bytes, writer: asyncio.StreamWriter) -> None:
        said = next(answers)
        writer.write(said) if said else writer.close()

    async with server(answer) as (url, connections):
        line = dial(url, timeout_s=5).line()
        with pytest.raises(NoReply):
            await line.call(["GET", "k"])
        assert await line.call(["GET", "k"]) == b"fine"
        await line.close()

    assert len(connections) == 2


async def test_silence_ends_an_exchange_and_the_timer_of_an_earlier_one_does_not() -> None:
    async def answer(data: bytes, writer: asyncio.StreamWriter) -> None:
        if b"late" in data:
            await asyncio.sleep(0.6)
        if b"never" not in data:
            writer.write(b"+fine\r\n")

    async with server(answer) as (url, _):
        line = dial(url, timeout_s=5).line()
        assert await line.call(["GET", "k"]) == b"fine"  # which connects
        assert await line.call(["GET", "k"], timeout_s=0.5) == b"fine"
        assert await line.call(["GET", "late"]) == b"fine"
        with pytest.raises(NoReply):
            await line.call(["GET", "never"], timeout_s=0.1)
        await line.close()
