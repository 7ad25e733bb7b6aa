"""The fault proxy, in front of a real Valkey and a real Postgres."""

import asyncio
import contextlib
import gc
import os
import socket
import struct
import time
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from jobqueue.embedded import RedisServer, start_postgres, start_redis
from testutil.eventually import eventually
from testutil.proxy import FaultProxy, ProxyHost, fault_proxy

SILENCE_S = 0.15
LIMIT_S = 20.0


class Client:
    """Speaks RESP by hand: what is sent in one write, and what comes back, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, *commands: str) -> None:
        self.writer.write(encoded(*commands))

    async def read(self, expected: bytes) -> None:
        assert await asyncio.wait_for(self.reader.readexactly(len(expected)), LIMIT_S) == expected

    async def say(self, command: str, expected: bytes) -> None:
        self.send(command)
        await self.read(expected)

    async def rest(self) -> bytes:
        """What still comes before the connection ends."""
        return await asyncio.wait_for(self.reader.read(-1), LIMIT_S)

    async def is_silent(self) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.reader.read(1), SILENCE_S)
            return False
        return True

    async def is_reset(self) -> bool:
        with pytest.raises(ConnectionResetError):
            await self.rest()
        return True


def encoded(*commands: str) -> bytes:
    return b"".join(_encoded(command.encode().split()) for command in commands)


def _encoded(words: list[bytes]) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


@pytest.fixture
async def proxy(redis_url: str) -> AsyncIterator[FaultProxy]:
    async with fault_proxy(redis_url) as proxy:
        yield proxy


@contextlib.asynccontextmanager
async def connected(proxy: FaultProxy, *, greet: bool = True) -> AsyncIterator[Client]:
    client = Client(*await asyncio.open_connection("127.0.0.1", proxy.port))
    try:
        if greet:
            await client.say("PING", b"+PONG\r\n")
        yield client
    finally:
        client.writer.close()


async def ask(proxy: FaultProxy, command: str, expected: bytes) -> None:
    async with connected(proxy) as client:
        await client.say(command, expected)


# Losses by command


async def test_the_nth_reply_of_a_pipeline_is_dropped_and_the_earlier_ones_arrive(
    proxy: FaultProxy, namespace: str
) -> None:
    async with connected(proxy) as client:
        proxy.drop_reply(b"incr", after=2)
        client.send(f"INCR {namespace}", f"ECHO {namespace}", *[f"INCR {namespace}"] * 4)

        assert await client.rest() == b":1\r\n$%d\r\n%s\r\n:2\r\n" % (len(namespace), namespace.encode())

    assert proxy.faults == 1
    await ask(proxy, f"GET {namespace}", b"$1\r\n5\r\n")


async def test_the_nth_request_of_a_pipeline_is_dropped_and_the_earlier_ones_are_answered(
    proxy: FaultProxy, namespace: str
) -> None:
    async with connected(proxy) as client:
        proxy.drop_request(b"INCR", after=2)
        client.send(*[f"INCR {namespace}"] * 5)

        assert await client.rest() == b":1\r\n:2\r\n"

    await ask(proxy, f"GET {namespace}", b"$1\r\n2\r\n")


async def test_a_swallowed_reply_and_all_after_it_never_come(proxy: FaultProxy, namespace: str) -> None:
    async with connected(proxy) as client:
        proxy.swallow_reply(b"INCR", after=1)
        client.send("PING", f"INCR {namespace}", f"INCR {namespace}", "PING")
        await client.read(b"+PONG\r\n:1\r\n")
        client.send(f"INCR {namespace}")

        assert await client.is_silent()

        await ask(proxy, f"GET {namespace}", b"$1\r\n3\r\n")
        proxy.heal()
        assert await client.is_reset()


@pytest.mark.parametrize("piece", [1, 2, 7, 30])
async def test_a_request_is_known_however_it_is_split(proxy: FaultProxy, namespace: str, piece: int) -> None:
    """Its payload holds the word, and RESP, and is longer than a read."""
    trap = "*1__$4__INCR__" + "x" * 200
    async with connected(proxy) as client:
        proxy.drop_reply(b"INCR", after=1)
        sent = encoded(f"SET {namespace}s {trap}", f"INCR {namespace}", f"INCR {namespace}")
        sent = sent.replace(b"__", b"\r\n")
        for start in range(0, len(sent), piece):
            client.writer.write(sent[start : start + piece])
            await client.writer.drain()
            await asyncio.sleep(0)

        assert await client.rest() == b"+OK\r\n:1\r\n"

    await ask(proxy, f"GET {namespace}", b"$1\r\n2\r\n")


async def test_a_script_is_known_by_its_sha(proxy: FaultProxy, namespace: str) -> None:
    script = "return{{1,{2}},{},false,ARGV[1]}"
    async with connected(proxy) as client:
        client.send(f"SCRIPT LOAD {script}")
        sha = (await client.reader.readexactly(47))[5:45].decode()
        other = "0" * 40
        proxy.drop_reply(sha.upper().encode(), after=1)
        client.send(f"EVALSHA {other} 0", f"EVALSHA {sha} 0 a", f"EVALSHA {sha} 0 b")

        first, _, rest = (await client.rest()).partition(b"\r\n")

    assert first.startswith(b"-NOSCRIPT")
    assert rest == b"*4\r\n*2\r\n:1\r\n*1\r\n:2\r\n*0\r\n$-1\r\n$1\r\na\r\n"


async def test_requests_are_known_on_a_connection_older_than_the_plan(proxy: FaultProxy, namespace: str) -> None:
    """Even when the plan comes in the middle of a request and of a reply."""
    value = b"INCR" * 100_000
    async with connected(proxy) as client:
        set_ = b"*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n" % (
            len(namespace),
            namespace.encode(),
            len(value),
            value,
        )
        client.writer.write(set_[:70_000])
        await client.writer.drain()
        proxy.swallow_reply(b"PING", after=1)
        client.writer.write(set_[70_000:])
        client.send(f"GET {namespace}", "PING", "PING")

        await client.read(b"+OK\r\n$%d\r\n%s\r\n+PONG\r\n" % (len(value), value))
        assert await client.is_silent()


async def test_pushed_messages_are_no_replies(proxy: FaultProxy, namespace: str) -> None:
    async with connected(proxy) as client, connected(proxy) as other:
        client.send("HELLO 3", "CLIENT TRACKING ON", f"GET {namespace}", "ECHO end")
        await asyncio.wait_for(client.reader.readuntil(b"_\r\n$3\r\nend\r\n"), LIMIT_S)
        proxy.drop_reply(b"GET")
        await other.say(f"SET {namespace} 1", b"+OK\r\n")
        pushed = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$%d\r\n%s\r\n" % (len(namespace), namespace.encode())
        await client.read(pushed)
        client.send("PING", f"GET {namespace}")

        assert await client.rest() == b"+PONG\r\n"


async def test_several_plans_are_carried_out_each_on_its_requests(proxy: FaultProxy, namespace: str) -> None:
    proxy.drop_reply(b"INCR", times=2)
    proxy.drop_request(b"DECR")
    for command in (f"INCR {namespace}", f"DECR {namespace}", f"INCR {namespace}"):
        async with connected(proxy) as client:
            client.send(command)
            assert await client.rest() == b""

    await ask(proxy, f"INCR {namespace}", b":3\r\n")
    assert proxy.faults == 3


async def test_something_can_happen_before_the_cut(proxy: FaultProxy, namespace: str) -> None:
    seen = asyncio.Event()

    async def look() -> None:
        await ask(proxy, f"GET {namespace}", b"$1\r\n1\r\n")
        seen.set()

    proxy.on_fault = look
    async with connected(proxy) as client:
        proxy.drop_reply(b"INCR")
        client.send(f"INCR {namespace}")

        assert await client.rest() == b""

    assert seen.is_set()


async def test_a_plan_that_is_healed_is_forgotten(proxy: FaultProxy, namespace: str) -> None:
    proxy.drop_reply(b"INCR")
    proxy.cut_replies_after(1)
    proxy.heal()

    await ask(proxy, f"INCR {namespace}", b":1\r\n")
    assert proxy.faults == 0


async def test_a_reply_is_cut_after_so_many_bytes(proxy: FaultProxy, namespace: str) -> None:
    async with connected(proxy) as client:
        await client.say(f"SET {namespace} {'x' * 100}", b"+OK\r\n")
        proxy.cut_replies_after(20)
        client.send("PING", "PING", "PING", f"GET {namespace}", "PING")

        assert await client.rest() == b"+PONG\r\n" * 3 + b"$100\r\n" + b"x" * 14

    assert proxy.faults == 1
    await ask(proxy, f"STRLEN {namespace}", b":100\r\n")


# Conditions


async def test_latency_delays_both_ways_in_order(proxy: FaultProxy, namespace: str) -> None:
    async with connected(proxy) as client:
        proxy.latency(0.05, jitter=0.02)
        began = time.monotonic()
        for _ in range(5):
            client.send(f"INCR {namespace}")
            await asyncio.sleep(0.002)

        await client.read(b":1\r\n:2\r\n:3\r\n:4\r\n:5\r\n")
        assert time.monotonic() - began > 0.095
        client.send("PING")
        proxy.heal()
        await client.read(b"+PONG\r\n")


async def test_a_stall_holds_bytes_until_it_is_healed(proxy: FaultProxy, namespace: str) -> None:
    async with connected(proxy) as client:
        proxy.stall()
        client.send(f"INCR {namespace}")
        async with connected(proxy, greet=False) as new:
            new.send("PING")
            assert await client.is_silent()
            assert await new.is_silent()

            proxy.heal()

            await client.read(b":1\r\n")
            await new.read(b"+PONG\r\n")


async def test_muted_requests_never_arrive_and_their_connection_is_reset(proxy: FaultProxy, namespace: str) -> None:
    async with connected(proxy) as client, connected(proxy) as idle, connected(proxy) as waiting:
        waiting.send(f"BLPOP {namespace}l 0")
        await eventually(lambda: _blocked(proxy), within_s=LIMIT_S)
        proxy.mute("requests")
        client.send(f"INCR {namespace}")
        assert await client.is_silent()

        async with fault_proxy(proxy.through("redis://127.0.0.1/0")) as other:
            other.upstream = proxy.upstream
            await ask(other, f"RPUSH {namespace}l v", b":1\r\n")
        await waiting.read(b"*2\r\n$%d\r\n%sl\r\n$1\r\nv\r\n" % (len(namespace) + 1, namespace.encode()))
        proxy.heal()

        assert await client.is_reset()
        await idle.say(f"EXISTS {namespace}", b":0\r\n")


async def _blocked(proxy: FaultProxy) -> bool:
    async with fault_proxy("redis://127.0.0.1/0") as other:
        other.upstream = proxy.upstream
        async with connected(other) as client:
            client.send("INFO clients")
            return b"blocked_clients:1\r\n" in await asyncio.wait_for(client.reader.read(4096), LIMIT_S)


async def test_muted_replies_do_not_come_though_the_requests_were_carried_out(
    proxy: FaultProxy, namespace: str
) -> None:
    async with connected(proxy) as client, connected(proxy) as idle:
        proxy.mute("replies")
        client.send(f"INCR {namespace}")
        assert await client.is_silent()

        proxy.heal()

        assert await client.is_reset()
        await idle.say(f"GET {namespace}", b"$1\r\n1\r\n")


async def test_a_half_open_connection_hears_nothing_not_even_the_end(namespace: str) -> None:
    with start_redis(appendonly=False) as server:
        async with fault_proxy(server.url) as proxy, connected(proxy) as client, connected(proxy) as idle:
            proxy.half_open()
            client.send(f"INCR {namespace}")
            async with connected(proxy, greet=False) as new:
                new.send("PING")
                server.kill()
                assert await new.is_silent()
                assert await client.is_silent()
                assert await idle.is_silent()
                server.restart()

                proxy.heal()

                assert await new.is_reset()
                assert await client.is_reset()
                assert await idle.is_reset()
            await ask(proxy, f"EXISTS {namespace}", b":0\r\n")


async def test_half_open_connections_that_lost_nothing_go_on(proxy: FaultProxy) -> None:
    async with connected(proxy) as client:
        proxy.half_open()
        proxy.heal()

        await client.say("PING", b"+PONG\r\n")


async def test_a_reset_is_a_reset_and_a_cut_is_an_end(proxy: FaultProxy) -> None:
    async with connected(proxy) as client:
        proxy.reset()
        assert await client.is_reset()
    async with connected(proxy) as client:
        proxy.cut()
        assert await client.rest() == b""
    await ask(proxy, "PING", b"+PONG\r\n")


async def test_new_connections_are_refused_and_old_ones_go_on(proxy: FaultProxy) -> None:
    async with connected(proxy) as old:
        proxy.refuse()
        async with connected(proxy, greet=False) as new:
            assert await new.is_reset()
        await old.say("PING", b"+PONG\r\n")

        proxy.heal()

        await ask(proxy, "PING", b"+PONG\r\n")


async def test_a_throttle_limits_the_bytes_of_a_second(proxy: FaultProxy, namespace: str) -> None:
    value = b"x" * 20_000
    async with connected(proxy) as client:
        await client.say(f"SET {namespace} {value.decode()}", b"+OK\r\n")
        proxy.throttle(100_000)
        began = time.monotonic()
        await client.say(f"GET {namespace}", b"$20000\r\n%s\r\n" % value)

        assert time.monotonic() - began > 0.15
        proxy.throttle(1000)
        client.send(f"GET {namespace}")
        await client.read(b"$")
        proxy.heal()
        await client.read(b"20000\r\n%s\r\n" % value)


async def test_conditions_add_up_and_end_one_by_one(proxy: FaultProxy) -> None:
    async with connected(proxy) as client, connected(proxy) as muted:
        proxy.latency(0.03)
        proxy.throttle(100_000)
        proxy.mute("replies")
        muted.send("PING")
        assert await muted.is_silent()
        proxy.heal("mute")
        assert await muted.is_reset()
        began = time.monotonic()
        await client.say("PING", b"+PONG\r\n")
        assert time.monotonic() - began > 0.055

        proxy.stall()
        client.send("PING")
        proxy.heal("latency", "throttle")
        assert await client.is_silent()
        proxy.heal("stall")

        await client.read(b"+PONG\r\n")


async def test_what_a_stalled_connection_was_sent_does_not_pile_up_in_the_proxy(
    proxy: FaultProxy, namespace: str
) -> None:
    """The sender's own buffers fill, as over a network; all arrives at heal."""
    value = b"y" * 8_000_000
    async with connected(proxy) as client:
        proxy.latency(30.0)
        client.writer.write(
            b"*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n" % (len(namespace), namespace.encode(), len(value), value)
        )
        assert await client.is_silent()
        assert sum(link.requests.held_bytes for link in proxy.links) < 3_000_000

        proxy.heal()

        await client.read(b"+OK\r\n")
    await ask(proxy, f"STRLEN {namespace}", b":8000000\r\n")


# Life


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    with start_redis(appendonly=False) as server:
        yield server


@contextlib.contextmanager
def no_warnings() -> Iterator[None]:
    """Warnings are errors, but not those of what earlier tests left to the garbage collector."""
    gc.collect()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


async def test_the_upstream_may_die_and_come_again(
    own_server: RedisServer, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with no_warnings():
        async with fault_proxy(own_server.url) as proxy, connected(proxy) as client:
            own_server.kill()
            with contextlib.suppress(ConnectionResetError):
                assert await client.rest() == b""
            client.writer.close()
            for _ in range(20):
                async with connected(proxy, greet=False) as refused:
                    refused.send("PING")
                    assert await refused.is_reset()
            await eventually(lambda: proxy.connections == 0, within_s=LIMIT_S)

            own_server.restart()

            await ask(proxy, "PING", b"+PONG\r\n")
    assert caplog.text == ""
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("rst", [0, 1])
async def test_a_client_that_goes_away_is_gone_at_the_server_too(proxy: FaultProxy, namespace: str, rst: int) -> None:
    async with connected(proxy) as client:
        client.send(f"BLPOP {namespace} 0")
        connection = client.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", rst, 0))
        client.writer.transport.abort()
    await eventually(lambda: proxy.connections == 0, within_s=LIMIT_S)

    async with connected(proxy, greet=False) as client:
        client.send("PING", "QUIT", "PING")
        assert (await client.rest()).startswith(b"+PONG\r\n+OK\r\n")
    await eventually(lambda: proxy.connections == 0, within_s=LIMIT_S)


async def test_what_was_sent_before_the_end_still_arrives(proxy: FaultProxy, namespace: str) -> None:
    async with connected(proxy, greet=False) as client:
        proxy.latency(0.02)
        client.send(f"INCR {namespace}")
        client.writer.write_eof()

        assert await client.rest() == b":1\r\n"


async def test_thousands_of_connections_leave_nothing_behind(redis_url: str) -> None:
    tasks, sockets = len(asyncio.all_tasks()), _sockets()
    async with fault_proxy(redis_url) as proxy:
        for round_ in range(30):
            async with contextlib.AsyncExitStack() as stack:
                clients = [await stack.enter_async_context(connected(proxy, greet=False)) for _ in range(100)]
                for client in clients:
                    client.send("PING")
                for client in clients:
                    await client.read(b"+PONG\r\n")
                assert proxy.connections == 100
                if round_ % 3 == 1:
                    proxy.reset()
                if round_ % 3 == 2:
                    proxy.half_open()
            proxy.heal()
            await eventually(lambda: proxy.connections == 0, within_s=LIMIT_S)

    await eventually(lambda: len(asyncio.all_tasks()) <= tasks, within_s=LIMIT_S)
    await eventually(lambda: _sockets() <= sockets, within_s=LIMIT_S)


def _sockets() -> int:
    fds = Path("/proc/self/fd")
    if not fds.exists():
        pytest.skip("counts its sockets in /proc")
    return sum("socket:" in _target(fds / name) for name in os.listdir(fds))


def _target(fd: Path) -> str:
    with contextlib.suppress(OSError):
        return os.readlink(fd)
    return ""


async def test_a_proxy_starts_again_on_its_port(redis_url: str) -> None:
    async with fault_proxy(redis_url) as proxy:
        port = proxy.port
        async with connected(proxy) as client:
            await proxy.stop()
            assert await client.rest() == b""
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)

        await proxy.start()

        assert proxy.port == port
        await ask(proxy, "PING", b"+PONG\r\n")


def test_a_url_leads_through_the_proxy_with_all_else_kept() -> None:
    proxy = FaultProxy(("127.0.0.1", 1), port=99)

    assert proxy.url == "redis://127.0.0.1:99/0"
    assert proxy.through("postgresql://u:p%40w@localhost:5432/db?a=b") == "postgresql://u:p%40w@127.0.0.1:99/db?a=b"


async def test_a_replica_follows_through_it(own_server: RedisServer) -> None:
    """Its stream is no conversation in RESP: the snapshot has no end mark."""
    with start_redis(appendonly=False) as replica:
        async with fault_proxy(own_server.url) as proxy, fault_proxy(replica.url) as behind:
            proxy.drop_reply(b"NEVER")
            await ask(proxy, "SET a 1", b"+OK\r\n")
            await ask(behind, f"REPLICAOF 127.0.0.1 {proxy.port}", b"+OK\r\n")
            await eventually(lambda: _has(behind, "a"), within_s=LIMIT_S)
            await ask(proxy, "SET b 2", b"+OK\r\n")
            await eventually(lambda: _has(behind, "b"), within_s=LIMIT_S)


async def _has(proxy: FaultProxy, key: str) -> bool:
    async with connected(proxy) as client:
        client.send(f"EXISTS {key}")
        return await client.reader.readexactly(4) == b":1\r\n"


# In a thread


def test_proxies_in_a_thread_work_while_their_user_blocks(redis_url: str, namespace: str) -> None:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    once = Retry(NoBackoff(), 0)
    with ProxyHost() as host:
        first, second = host.add(redis_url), host.add(("127.0.0.1", 1))
        with redis.Redis.from_url(first.url, socket_timeout=LIMIT_S, retry=once) as client:
            assert client.incr(namespace) == 1
            first.drop_reply(b"INCRBY")
            with pytest.raises(redis.ConnectionError):
                client.incr(namespace)
            first.latency(0.05)
            first.heal()
            assert client.get(namespace) == b"2"
            assert first.connections == 1
        with redis.Redis.from_url(second.url, retry=once) as nobody, pytest.raises(redis.ConnectionError):
            nobody.ping()
        host.remove(second)
        with pytest.raises(ConnectionRefusedError):
            _connect(second.port)
    host.close()

    with pytest.raises(ConnectionRefusedError):
        _connect(first.port)


def _connect(port: int) -> None:
    socket.create_connection(("127.0.0.1", port), LIMIT_S).close()


async def test_a_proxy_in_a_thread_obeys_from_a_running_loop(redis_url: str) -> None:
    with ProxyHost() as host:
        proxy = host.add(redis_url)
        async with connected(proxy) as client, connected(proxy) as lost:
            proxy.stall()
            client.send("PING")
            assert await client.is_silent()
            proxy.heal()
            await client.read(b"+PONG\r\n")
            proxy.half_open()
            lost.send("PING")
            assert await lost.is_silent()
            proxy.heal()
            assert await lost.is_reset()
            proxy.reset()
            assert await client.is_reset()
        await eventually(lambda: proxy.connections == 0, within_s=LIMIT_S)


# Postgres


async def test_postgres_works_through_it_and_loses_the_answer_to_a_commit() -> None:
    with start_postgres() as server:
        async with fault_proxy(server.url) as proxy:
            mine = await asyncpg.connect(proxy.url, timeout=LIMIT_S, command_timeout=LIMIT_S)
            await mine.execute("CREATE TABLE t (n int)")
            await mine.executemany("INSERT INTO t VALUES ($1)", [(n,) for n in range(1000)])
            assert await mine.fetchval("SELECT count(*) FROM t WHERE repeat('x', 500) <> ''") == 1000

            proxy.drop_reply(b"COMMIT")
            with pytest.raises((asyncpg.PostgresConnectionError, ConnectionError)):
                async with mine.transaction():
                    await mine.execute("INSERT INTO t VALUES (-1)")

            direct = await asyncpg.connect(server.url, timeout=LIMIT_S)
            assert await direct.fetchval("SELECT count(*) FROM t") == 1001
            await direct.close()
            proxy.latency(0.01)
            again = await asyncpg.connect(proxy.url, timeout=LIMIT_S, command_timeout=LIMIT_S)
            assert await again.fetchval("SELECT 1") == 1
            proxy.half_open()
            with pytest.raises(TimeoutError):
                await again.fetchval("SELECT 1", timeout=0.3)
            proxy.heal()
            with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, ConnectionError)):
                await again.fetchval("SELECT 1")
        assert proxy.faults == 1
