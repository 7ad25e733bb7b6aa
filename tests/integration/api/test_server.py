"""The server against peers that are slow, many, lying or gone."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import psutil
import pytest
import uvloop
from aiohttp import ClientSession, web

from jobqueue.api.server import Bounds, serving
from jobqueue.errors import ConfigError
from testutil.eventually import eventually

pytestmark = pytest.mark.timeout(60)

BODY_LIMIT = 64 * 1024
HELD, RELEASE, FLOODED = (web.AppKey(name, asyncio.Event) for name in ("held", "release", "flooded"))
HEAD = b"GET /hello HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture(
    scope="module", params=[asyncio.DefaultEventLoopPolicy, uvloop.EventLoopPolicy], ids=["asyncio", "uvloop"]
)
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    """`jobqueue api` runs on uvloop where it is installed; an application that mounts us, on either."""
    policy: asyncio.AbstractEventLoopPolicy = request.param()
    return policy


def application() -> web.Application:
    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    async def read(request: web.Request) -> web.Response:
        size = 0
        try:
            async with asyncio.timeout(1):
                async for chunk in request.content.iter_any():
                    size += len(chunk)
                    if size > BODY_LIMIT:
                        raise web.HTTPRequestEntityTooLarge(max_size=BODY_LIMIT, actual_size=size)
        except TimeoutError:
            raise web.HTTPRequestTimeout from None
        return web.Response(text=str(size))

    async def hold(request: web.Request) -> web.Response:
        request.app[HELD].set()
        await request.app[RELEASE].wait()
        return web.Response(text="held")

    async def flood(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 65536)
        finally:
            request.app[FLOODED].set()

    app = web.Application()
    for key in (HELD, RELEASE, FLOODED):
        app[key] = asyncio.Event()
    app.add_routes(
        [web.get("/hello", hello), web.post("/read", read), web.get("/hold", hold), web.get("/flood", flood)]
    )
    return app


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


@asynccontextmanager
async def connection(url: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(url))
    try:
        yield reader, writer
    finally:
        writer.close()


@asynccontextmanager
async def peer(
    app: web.Application, bounds: Bounds
) -> AsyncIterator[tuple[str, asyncio.StreamReader, asyncio.StreamWriter]]:
    """A server, and a connection to it."""
    async with serving(app, host="127.0.0.1", port=0, bounds=bounds) as url, connection(url) as (reader, writer):
        yield url, reader, writer


async def answer_to(url: str, request: bytes) -> bytes:
    async with connection(url) as (reader, writer):
        writer.write(request)
        return await rest_of(reader)


async def rest_of(reader: asyncio.StreamReader) -> bytes:
    """Everything until the server closes; an abort is an end, too."""
    read = b""
    try:
        while chunk := await reader.read(65536):
            read += chunk
    except ConnectionError:
        pass
    return read


async def test_slow_heads_are_closed_and_normal_requests_go_on() -> None:
    bounds = Bounds(connections=1000, head_s=0.5)
    async with serving(application(), host="127.0.0.1", port=0, bounds=bounds) as url, AsyncExitStack() as stack:
        slow = [await stack.enter_async_context(connection(url)) for _ in range(200)]

        async def drip(writer: asyncio.StreamWriter) -> None:
            writer.write(HEAD)
            while not writer.is_closing():
                writer.write(b"X-A: b\r\n")
                await asyncio.sleep(0.05)

        dripping = [asyncio.create_task(drip(writer)) for _, writer in slow]
        async with ClientSession() as client:
            for _ in range(50):
                async with client.get(f"{url}/hello") as response:
                    assert await response.text() == "hello"
        ended = await asyncio.gather(*(rest_of(reader) for reader, _ in slow))
        for task in dripping:
            task.cancel()

    assert ended == [b""] * 200


async def test_a_silent_connection_is_closed() -> None:
    async with serving(application(), host="127.0.0.1", port=0, bounds=Bounds(head_s=0.2)) as url:
        assert await answer_to(url, b"") == b""


async def test_a_slow_head_after_a_good_request_is_closed_too() -> None:
    async with peer(application(), Bounds(head_s=0.2)) as (_, reader, writer):
        writer.write(HEAD + b"\r\n")
        first = await reader.readuntil(b"hello")
        writer.write(HEAD)
        rest = await rest_of(reader)

    assert b"200 OK" in first
    assert rest == b""


async def test_a_request_that_came_while_we_were_stopped_is_answered() -> None:
    """It waited in the socket for longer than a head may take, and was cut unread."""
    async with peer(application(), Bounds(head_s=0.2)) as (_, reader, writer):
        time.sleep(0.5)  # noqa: ASYNC251 - as a process that is stopped
        writer.write(HEAD + b"\r\n")

        assert b"200 OK" in await reader.readuntil(b"hello")


async def test_an_idle_connection_is_closed_and_a_quick_one_kept() -> None:
    async with peer(application(), Bounds(head_s=0.2, idle_s=1.0)) as (_, reader, writer):
        for _ in range(3):
            writer.write(HEAD + b"\r\n")
            assert b"200 OK" in await reader.readuntil(b"hello")
        assert await rest_of(reader) == b""


async def test_a_long_request_is_not_cut_by_the_times_of_heads() -> None:
    app = application()
    async with peer(app, Bounds(head_s=0.1, idle_s=0.1)) as (_, reader, writer):
        writer.write(b"GET /hold HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        await app[HELD].wait()
        await asyncio.sleep(0.6)  # several times what an idle connection is given
        app[RELEASE].set()
        assert (await rest_of(reader)).endswith(b"held")


async def test_when_full_the_longest_idle_makes_room() -> None:
    bounds = Bounds(connections=20)
    async with serving(application(), host="127.0.0.1", port=0, bounds=bounds) as url, AsyncExitStack() as stack:
        slow = [await stack.enter_async_context(connection(url)) for _ in range(20)]
        for _, writer in slow:
            writer.write(HEAD)
        async with ClientSession() as client, client.get(f"{url}/hello") as response:
            assert await response.text() == "hello"

        assert await rest_of(slow[0][0]) == b""


async def test_when_all_are_busy_a_new_one_is_told_so() -> None:
    app = application()
    async with peer(app, Bounds(connections=1)) as (url, reader, writer):
        writer.write(b"GET /hold HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        await app[HELD].wait()

        refused = await answer_to(url, b"")

        app[RELEASE].set()
        assert (await rest_of(reader)).endswith(b"held")
    assert refused.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 1" in refused


async def test_bodies_that_do_not_come_take_nobodys_place() -> None:
    """Who sends one needs no key yet: `POST /session` reads its body before it knows who asks."""
    app = application()
    async with serving(app, host="127.0.0.1", port=0, bounds=Bounds(connections=3)) as url, AsyncExitStack() as stack:
        for _ in range(3):
            reader, writer = await stack.enter_async_context(connection(url))
            writer.write(b"POST /read HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n")
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"

        answer = await answer_to(url, HEAD + b"Connection: close\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_a_request_that_has_come_whole_keeps_its_place() -> None:
    app = application()

    async def hold(request: web.Request) -> web.Response:
        await request.read()
        app[HELD].set()
        await app[RELEASE].wait()
        return web.Response(text="held")

    app.router.add_post("/hold", hold)
    async with peer(app, Bounds(connections=1)) as (url, reader, writer):
        writer.write(b"POST /hold HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\n\r\nab")
        await writer.drain()
        writer.write(b"cd")
        await app[HELD].wait()

        refused = await answer_to(url, b"")

        app[RELEASE].set()
        assert (await rest_of(reader)).endswith(b"held")
    assert refused.startswith(b"HTTP/1.1 503 ")


async def test_who_does_not_read_is_cut() -> None:
    app = application()
    async with peer(app, Bounds(stalled_s=0.3)) as (_, _, writer):
        writer.write(b"GET /flood HTTP/1.1\r\nHost: x\r\n\r\n")

        await asyncio.wait_for(app[FLOODED].wait(), 30)


@pytest.mark.parametrize("path", ["/" + "x" * 20_000, "/hello"])
async def test_a_head_too_large_is_refused(path: str) -> None:
    async with serving(application(), host="127.0.0.1", port=0) as url:
        answer = await answer_to(url, f"GET {path} HTTP/1.1\r\nHost: x\r\nX: {'y' * 20_000}\r\n\r\n".encode())

    assert answer.startswith(b"HTTP/1.0 400 ")


async def test_a_head_of_too_many_lines_is_refused_without_a_word_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(application(), host="127.0.0.1", port=0) as url:
        answer = await answer_to(url, HEAD + b"X-A: b\r\n" * 500 + b"\r\n")

    assert answer.startswith(b"HTTP/1.0 400 ")
    assert caplog.records == []


async def test_peers_that_break_off_in_a_body_leave_no_word_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    app = application()
    ended = asyncio.Event()

    async def told(request: web.Request) -> web.Response:
        try:
            await request.read()
        finally:
            ended.set()
        return web.Response()

    app.router.add_post("/told", told)
    async with serving(app, host="127.0.0.1", port=0) as url:
        for _ in range(3):
            ended.clear()
            async with connection(url) as (_, writer):
                writer.write(b"POST /told HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n0123456789")
                await writer.drain()
                await asyncio.sleep(0)
                writer.transport.abort()
            async with asyncio.timeout(30):
                await ended.wait()

    assert caplog.records == []


async def test_a_body_shorter_than_it_says_ends_with_the_applications_time() -> None:
    async with serving(application(), host="127.0.0.1", port=0) as url:
        answer = await answer_to(url, b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n0123456789")

    assert answer.startswith(b"HTTP/1.1 408 ")


async def test_a_gigabyte_in_chunks_is_refused_early_and_not_kept() -> None:
    process = psutil.Process(os.getpid())
    before = process.memory_info().rss
    async with serving(application(), host="127.0.0.1", port=0) as url, connection(url) as (reader, writer):
        writer.write(b"POST /read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        sent = 0
        answering = asyncio.create_task(rest_of(reader))
        try:
            while sent < 1 << 30 and not answering.done():
                writer.write(chunk)
                await writer.drain()
                sent += 65536
        except ConnectionError:
            pass
        await answering

    assert sent < 1 << 30
    assert process.memory_info().rss - before < 64 << 20


async def test_the_end_lets_running_requests_finish_and_closes_the_rest() -> None:
    app = application()
    app.on_shutdown.append(release)
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(serving(app, host="127.0.0.1", port=0))
        idle_reader, _ = await stack.enter_async_context(connection(url))
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(url))
        writer.write(b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n")
        await app[HELD].wait()
        ending = asyncio.create_task(stack.aclose())

        assert await rest_of(idle_reader) == b""
        assert (await rest_of(reader)).endswith(b"held")
        await ending
        writer.close()


async def release(app: web.Application) -> None:
    app[RELEASE].set()


async def test_a_request_that_does_not_end_is_left_behind_after_its_grace() -> None:
    app = application()
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(serving(app, host="127.0.0.1", port=0, bounds=Bounds(grace_s=0.4)))
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(url))
        writer.write(b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n")
        await app[HELD].wait()
        await stack.aclose()

        assert b"held" not in await rest_of(reader)
        writer.close()


async def test_a_port_that_is_taken_is_named() -> None:
    async with serving(application(), host="127.0.0.1", port=0) as url:
        with pytest.raises(ConfigError, match=rf"cannot listen on 127\.0\.0\.1:{port_of(url)}: .*in use"):
            async with serving(application(), host="127.0.0.1", port=port_of(url)):
                pass


async def test_nothing_is_kept_of_connections_that_are_gone() -> None:
    async with serving(application(), host="127.0.0.1", port=0, bounds=Bounds(connections=5)) as url:
        for _ in range(20):
            assert b"200 OK" in await answer_to(url, HEAD + b"Connection: close\r\n\r\n")

        async def answered() -> bool:
            return b"200 OK" in await answer_to(url, HEAD + b"Connection: close\r\n\r\n")

        await eventually(answered)
