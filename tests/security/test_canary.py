"""Secrets planted everywhere, and everything that comes out searched for them: real processes, at debug (S33, S39)."""

import asyncio
import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import chdir, suppress
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
import redis
from click.testing import CliRunner

from jobqueue.app import JobQueue
from jobqueue.cli.main import main
from jobqueue.config import SETTINGS, Settings
from jobqueue.embedded import RedisServer, start_redis
from jobqueue.job import Job
from tests.acceptance.test_cli import Shop, eventually

# Each is told apart, so that a failure says which one got out.
IN_PAYLOAD = "canary-payload-1b7f"
IN_RESULT = "canary-result-93ac"
IN_HEADER = "canary-header-55d0"
IN_REDIS_URL = "canary-redis-e01c"
IN_DATABASE_URL = "canary-database-77b2"
IN_ERROR_URL = "canary-error-url-4c9e"
IN_ERROR_HEADER = "canary-error-header-a2d8"
EVERYWHERE = (IN_REDIS_URL, IN_DATABASE_URL, IN_ERROR_URL, IN_ERROR_HEADER)
WHERE_NOT_ASKED_FOR = (*EVERYWHERE, IN_PAYLOAD, IN_RESULT, IN_HEADER)

TASKS = f"""
import asyncio
from pathlib import Path
from jobqueue import JobContext, Registry, RetryPolicy

registry = Registry()

@registry.task("fine")
async def fine(card: str) -> str:
    return {IN_RESULT!r}

@registry.task("fails", retry=RetryPolicy(max_retries=0))
async def fails(card: str) -> None:
    try:
        raise ConnectionError("no route to postgresql://shop:" + Path("in_url").read_text() + "@db/shop")
    except ConnectionError as error:
        raise RuntimeError("sent Authorization: Bearer " + Path("in_header").read_text()) from error

@registry.task("wrong", max_retries=0)
async def wrong(card: int) -> None: ...

@registry.task("slow")
async def slow(ctx: JobContext, card: str) -> None:
    ctx.progress({{"done": 1}})
    Path("slow.started").touch()
    await asyncio.sleep(600)
"""

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that wants the password."""
    users = tmp_path / "users.acl"
    users.write_text(f"user default on nopass ~* &* +@all\nuser shop on >{IN_REDIS_URL} ~* &* +@all\n")
    with start_redis(appendonly=False, extra_args=("--aclfile", str(users))) as server:
        yield server


@pytest.fixture
def shop(guarded: RedisServer, own_database_url: str, tmp_path: Path) -> Shop:
    parts = urlsplit(own_database_url)
    shop = Shop(
        tmp_path,
        REDIS_URL=f"redis://shop:{IN_REDIS_URL}@127.0.0.1:{guarded.port}/0",
        DATABASE_URL=f"postgresql://{parts.username}:{IN_DATABASE_URL}@127.0.0.1:{parts.port}{parts.path}",
        LOG_LEVEL="debug",
        JOBQUEUE_ENQUEUE_TIMEOUT="500ms",
        JOBQUEUE_REDIS_TIMEOUT="1s",
        JOBQUEUE_KEEP_PAYLOAD="0",
    )
    (tmp_path / "shop.py").write_text(TASKS)
    # Not in the source, lines of which are in tracebacks.
    (tmp_path / "in_url").write_text(IN_ERROR_URL)
    (tmp_path / "in_header").write_text(IN_ERROR_HEADER)
    return shop


def any_code(shop: Shop, *command: str, **environment: str) -> str:
    """All that a command says, however it ends; in this process, with nothing of its environment."""
    given = {name: shop.environment.get(name) for name in {setting.env for setting in SETTINGS}}
    with chdir(shop.folder):
        ran = CliRunner().invoke(main, list(command), env={**given, **environment})
    return ran.stdout + ran.stderr


def work(shop: Shop) -> str:
    """What a worker says that has run `fine`, `fails` and `slow`, was asked what it runs, and was ended."""
    with shop.running("worker", "-A", "shop") as worker:
        shop.until("job.dead", times=2)
        eventually(lambda: shop.has("slow.started"), "slow has started", explain=shop.output)
        os.kill(worker.pid, signal.SIGUSR2)
        shop.until("in slow")
        for _ in range(2):
            os.kill(worker.pid, signal.SIGTERM)
            shop.until("worker.stopping")
        worker.wait(30)
        return shop.output()


def ship(shop: Shop) -> str:
    """What a scheduler says that has brought history to Postgres."""
    with shop.running("scheduler") as scheduler:
        shop.until("scheduler.started")
        eventually(lambda: asyncio.run(_executions(shop)) >= 2, "history is in Postgres", explain=shop.output)
        os.kill(scheduler.pid, signal.SIGTERM)
        scheduler.wait(30)
        return shop.output()


async def _executions(shop: Shop) -> int:
    connection = await asyncpg.connect(shop.environment["DATABASE_URL"])
    count: int = await connection.fetchval("SELECT count(*) FROM jobqueue.executions WHERE outcome = 'dead'")
    await connection.close()
    return count


def enqueue(shop: Shop, *types: str) -> list[str]:
    async def send() -> list[str]:
        async with JobQueue.from_settings(Settings.load(shop.environment)) as queue:
            jobs = [Job(type, {"card": IN_PAYLOAD}, headers={"x-trace": IN_HEADER}) for type in types]
            return [queued.job_id for queued in await queue.enqueue_many(jobs)]

    return asyncio.run(send())


def leaked(text: str | bytes, secrets: tuple[str, ...]) -> list[str]:
    raw = text.encode() if isinstance(text, str) else text
    return [secret for secret in secrets if secret.encode() in raw]


@pytest.mark.parametrize("form", ["console", "json"])
def test_workers_and_schedulers_log_no_secret_at_debug(shop: Shop, form: str) -> None:
    shop.environment["LOG_FORMAT"] = form
    enqueue(shop, "fine", "fails", "wrong", "nobody.knows.it", "slow")

    said = work(shop) + ship(shop)

    assert "worker.joined" in said
    assert "job.dead" in said
    assert "scheduler.ended" in said
    assert leaked(said, WHERE_NOT_ASKED_FOR) == []


def test_commands_show_no_secret_that_was_not_asked_for(shop: Shop) -> None:
    fine, dead, _, waiting = enqueue(shop, "fine", "fails", "wrong", "slow")
    work(shop)
    ship(shop)
    commands = [
        *(("config", "show", "-o", form) for form in ("table", "json", "jsonl")),
        *(("queue", "ls", "-o", form) for form in ("table", "json")),
        *(("dlq", "ls", "-o", form) for form in ("table", "json")),
        *(("doctor",), ("check",), ("migrate", "status"), ("queue", "show", "default")),
        ("job", "show", fine),
    ]
    said = {command: any_code(shop, *command) for command in commands}
    asked = [any_code(shop, "dlq", "show", dead, "-o", "json"), any_code(shop, "job", "show", waiting)]

    assert {command: leaked(each, WHERE_NOT_ASKED_FOR) for command, each in said.items() if each} == {
        command: [] for command in said
    }
    assert [leaked(each, EVERYWHERE) for each in asked] == [[], []]
    assert all(IN_PAYLOAD in each for each in asked), "these two are asked for the payload"


def test_the_api_logs_no_key_no_session_and_no_request(shop: Shop) -> None:
    """Also of requests that are none: an HTTP server likes to quote those."""
    made = shop.run("keys", "create", "me", "--kind", "admin", "-o", "json")
    key = json.loads(made.stdout)["secret"]
    body = json.dumps({"type": "fine", "payload": {"card": IN_PAYLOAD}})
    heads = [
        f"GET /api/v1/jobs?q={IN_PAYLOAD} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}",
        f"GET /api/v1/jobs?key={key} HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {key}",
        f"GET /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {key}x",
        f"GET /api/v1/queues HTTP/1.1\r\nHost: localhost\r\nCookie: __Host-jobqueue={IN_HEADER}",
        f"GET /api/v1/queues HTTP/1.1\r\nHost: localhost\r\nX-Trace {IN_HEADER}",
        f"GET /api/v1/queues HTTP/1.1\r\nHost: {IN_HEADER}.example\r\nX-Trace: \0{IN_HEADER}",
        f"{IN_HEADER}\x16\x03 / HTTP/9.9\r\nAuthorization: Bearer {key}",
        f"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {key}\r\nContent-Type: application/json"
        f"\r\nContent-Length: {len(body) + 5}\r\n\r\n{body}",
        f"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {key}\r\nTransfer-Encoding: chunked"
        f"\r\n\r\n{IN_PAYLOAD}",
    ]

    with shop.running("api", "--port", "0") as api:
        shop.until("url=")
        found = re.search(r"url=http://127\.0\.0\.1:(\d+)", shop.output())
        assert found
        answers = [_exchange(int(found[1]), f"{head}\r\nConnection: close\r\n\r\n".encode("latin-1")) for head in heads]
        os.kill(api.pid, signal.SIGTERM)
        api.wait(30)
        said = shop.output()

    assert b" 200 " in answers[0]
    assert b" 401 " in answers[2]
    assert "api.ended" in said
    assert leaked(said, (*WHERE_NOT_ASKED_FOR, key, key[17:40])) == []
    assert [leaked(each, (key,)) for each in answers] == [[]] * len(answers)


def _exchange(port: int, request: bytes) -> bytes:
    """What the server answers, until it closes or is silent."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=2) as connection, suppress(OSError):
        connection.sendall(request)
        while data := connection.recv(65536):
            answer += data
    return answer


WRONG = {
    "nobody there": {"REDIS_URL": f"redis://shop:{IN_REDIS_URL}@127.0.0.1:1"},
    "no such port": {"REDIS_URL": f"redis://shop:{IN_REDIS_URL}@127.0.0.1:port"},
    "a slash in the password": {"REDIS_URL": f"redis://shop:a/{IN_REDIS_URL}@127.0.0.1:1"},
    "another scheme": {"REDIS_URL": f"http://shop:{IN_REDIS_URL}@127.0.0.1:1"},
    "an option that is none": {"REDIS_URL": f"redis://shop:{IN_REDIS_URL}@127.0.0.1:1/0?socket_timeout=x"},
    "password as an option": {"REDIS_URL": f"redis://127.0.0.1:1/0?password={IN_REDIS_URL}"},
    "sentinels away": {"REDIS_URL": f"redis+sentinel://shop:{IN_REDIS_URL}@127.0.0.1:1/name"},
    "cluster away": {"REDIS_URL": f"redis+cluster://shop:{IN_REDIS_URL}@127.0.0.1:1"},
    "no Postgres": {"DATABASE_URL": f"postgresql://shop:{IN_DATABASE_URL}@127.0.0.1:1/shop"},
    "no such mode": {"DATABASE_URL": f"postgresql://shop:{IN_DATABASE_URL}@127.0.0.1:1/shop?sslmode=none"},
    "no such database": {},
}


@pytest.mark.parametrize("wrong", WRONG)
def test_no_error_and_no_traceback_shows_a_password(shop: Shop, wrong: str) -> None:
    environment = WRONG[wrong] or {"DATABASE_URL": f"{shop.environment['DATABASE_URL']}_not"}

    said = [
        any_code(shop, "--debug", *command, **environment)
        for command in (("dlq", "ls"), ("doctor",), ("migrate",), ("enqueue", "t"), ("queue", "ls"))
    ]

    assert any("Traceback" in each or "failed" in each for each in said)
    assert [leaked(each, EVERYWHERE) for each in said] == [[]] * len(said)


@pytest.mark.parametrize(
    "payload", ['{"card": "%s"}', '{"card": %s', '{"cart": "%s"}', '["%s"]', '"%s"', '{"card": {"%s": 1}}']
)
def test_a_refused_payload_is_not_repeated(shop: Shop, payload: str) -> None:
    said = any_code(shop, "--debug", "enqueue", "-A", "shop", "wrong", payload.replace("%s", IN_PAYLOAD))

    assert "Traceback" in said
    assert leaked(said, (IN_PAYLOAD,)) == []


def test_what_is_stored_holds_no_password_and_no_key(shop: Shop, guarded: RedisServer) -> None:
    enqueue(shop, "fine", "fails", "wrong", "slow")
    work(shop)
    with redis.Redis.from_url(guarded.url) as client:
        stored = b"".join(_content(client, key) for key in client.scan_iter())
    ship(shop)
    stored += asyncio.run(_rows(shop))

    assert leaked(stored, (IN_PAYLOAD,)) == [IN_PAYLOAD], "this finds what is there"
    assert b"RuntimeError" in stored
    assert leaked(stored, EVERYWHERE) == []


def _content(client: "redis.Redis", key: bytes) -> bytes:
    read = {
        b"stream": lambda: client.xrange(key),
        b"hash": lambda: client.hgetall(key),
        b"zset": lambda: client.zrange(key, 0, -1),
        b"set": lambda: client.smembers(key),
        b"list": lambda: client.lrange(key, 0, -1),
        b"string": lambda: client.get(key),
    }
    return repr(read[client.type(key)]()).encode()


async def _rows(shop: Shop) -> bytes:
    """All of the schema, as text; bodies, too."""
    connection = await asyncpg.connect(shop.environment["DATABASE_URL"])
    await connection.execute("SET bytea_output = 'escape'")
    tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'jobqueue'")
    rows = [
        row[0]
        for table in tables
        for row in await connection.fetch(f'SELECT each::text FROM jobqueue."{table["tablename"]}" each')
    ]
    await connection.close()
    return "\n".join(rows).encode()
