"""`jobqueue api` and the probes as people run them: real processes, a real Redis, real signals."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.error import HTTPError, URLError

import pytest
from aiohttp import ClientError, ClientSession

from jobqueue import JobQueue
from jobqueue.access.key import mint
from jobqueue.access.scope import Kind
from jobqueue.config import SETTINGS
from jobqueue.embedded import start_redis
from tests.acceptance.test_cli import free_port
from testutil.eventually import eventually

pytestmark = pytest.mark.timeout(120)

APP = """
from jobqueue import Registry

registry = Registry()

@registry.task("greet")
async def greet(name: str = "you") -> str:
    return f"hello {name}"
"""

_Value = TypeVar("_Value")


class Yard:
    """A user's folder, and the processes that run in it."""

    def __init__(self, folder: Path, redis_url: str, namespace: str) -> None:
        (folder / "shop.py").write_text(APP)
        self.folder, self.redis_url, self.namespace = folder, redis_url, namespace
        ours = {setting.env for setting in SETTINGS}
        self.environment = {name: value for name, value in os.environ.items() if name not in ours}
        self.environment |= {"REDIS_URL": redis_url, "JOBQUEUE_NAMESPACE": namespace, "LOG_FORMAT": "json"}
        self.started = 0

    @contextmanager
    def running(self, *arguments: str, **environment: str) -> Iterator["Process"]:
        self.started += 1
        out = self.folder / f"out{self.started}"
        with out.open("w") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "jobqueue", *arguments],
                cwd=self.folder,
                env=self.environment | environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield Process(process, out)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def queue(self) -> JobQueue:
        return JobQueue.connect(self.redis_url, namespace=self.namespace)


class Process:
    def __init__(self, process: "subprocess.Popen[bytes]", out: Path) -> None:
        self.process, self.out = process, out

    def lines(self) -> list[dict[str, Any]]:
        found = []
        for line in self.out.read_text().splitlines():
            with suppress(ValueError):
                found.append(json.loads(line))
        return found

    def said(self, event: str, *, times: int = 1) -> list[dict[str, Any]]:
        """Wait until it has told this so often."""

        def look() -> list[dict[str, Any]]:
            found = [line for line in self.lines() if line["event"] == event]
            return found if len(found) >= times else []

        return soon(look, f"{event} x{times}", self.out.read_text)

    def url(self) -> str:
        url: str = self.said("api.started")[0]["url"]
        return url

    def ends(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


def soon(look: Callable[[], _Value], what: str, explain: Callable[[], str] = lambda: "") -> _Value:
    deadline = time.monotonic() + 30
    while not (found := look()):
        assert time.monotonic() < deadline, f"not in time: {what}\n{explain()}"
        time.sleep(0.05)
    return found


def get(url: str, key: str | None = None) -> tuple[int, bytes]:
    """Status and body; 0 where nobody answers."""
    request = urllib.request.Request(url, headers={"X-API-Key": key} if key else {})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.read()
    except HTTPError as error:
        with error:
            return error.code, error.read()
    except (URLError, OSError):
        return 0, b""


@pytest.fixture
def yard(tmp_path: Path, redis_url: str, namespace: str) -> Yard:
    return Yard(tmp_path, redis_url, f"serving_{namespace}_{os.getpid()}")


def test_the_api_serves_tells_its_url_and_ends_on_a_signal(yard: Yard) -> None:
    with yard.running("api", "-A", "shop", "--port", "0") as api:
        assert get(f"{api.url()}/health")[0] == 200
        assert get(f"{api.url()}/ready")[0] == 200
        assert get(f"{api.url()}/api/v1/overview")[0] == 200
        assert b"jobqueue_redis_up 1.0" in get(f"{api.url()}/metrics")[1]
        assert api.said("api.open")

        assert api.ends(signal.SIGTERM) == 0
        assert [line["event"] for line in api.lines()][-2:] == ["api.stopping", "api.ended"]


def test_the_api_ends_at_once_though_somebody_listens_to_events(yard: Yard) -> None:
    with (
        yard.running("api", "--port", "0", API_TIMEOUT="10m") as api,
        urllib.request.urlopen(f"{api.url()}/api/v1/events", timeout=20) as stream,
    ):
        while not stream.readline().startswith(b"data:"):
            pass
        assert api.ends(signal.SIGINT) == 0
        stream.read()


def test_a_second_signal_does_not_wait_for_requests_under_way(yard: Yard) -> None:
    with yard.running("api", "--port", "0", API_TIMEOUT="10m") as api:
        host, port = api.url().removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as client:
            client.sendall(b"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
            client.sendall(b"Content-Length: 100\r\n\r\n{")
            get(f"{api.url()}/health")
            api.process.send_signal(signal.SIGTERM)
            api.said("api.stopping")

            assert api.ends(signal.SIGTERM) == 0
            assert api.said("api.hurrying")


def test_a_name_by_which_others_come_needs_a_key_first(yard: Yard) -> None:
    """A proxy on this machine was served like the machine itself: everybody who reached the proxy could do all."""
    names = {"API_ALLOWED_HOSTS": "jobs.example.org"}
    with yard.running("api", "--port", "0", **names) as refused:
        assert refused.process.wait(30) == 1
        assert "API_ALLOWED_HOSTS jobs.example.org is a name by which others come" in refused.out.read_text()

    secret = asyncio.run(a_key(yard))
    with yard.running("api", "--port", "0", **names) as api:
        assert get(f"{api.url()}/api/v1/overview")[0] == 401
        assert get(f"{api.url()}/api/v1/overview", secret)[0] == 200


def test_others_are_not_served_before_there_is_a_key(yard: Yard) -> None:
    with yard.running("api", "--host", "0.0.0.0", "--port", "0") as refused:
        assert refused.process.wait(30) == 1
        text = refused.out.read_text()
        assert "API_HOST 0.0.0.0 is open to others, and no API key was ever made" in text
        assert "jobqueue keys create" in text

    secret = asyncio.run(a_key(yard))
    with yard.running("api", "--host", "0.0.0.0", "--port", "0") as api:
        port = api.url().rpartition(":")[2]
        assert get(f"http://127.0.0.1:{port}/api/v1/overview")[0] == 401
        assert get(f"http://127.0.0.1:{port}/api/v1/overview", secret)[0] == 200
        assert get(f"http://127.0.0.1:{port}/metrics")[0] == 401
        assert "api.open" not in api.out.read_text()


async def a_key(yard: Yard) -> str:
    secret, key = mint("admin", kind=Kind.ADMIN, created_by="test", now=datetime.now(UTC))
    async with yard.queue() as queue:
        assert queue.parts.access is not None
        await queue.parts.access.keys.add(key)
    return secret


def test_a_port_that_is_taken_is_one_line_and_exit_1(yard: Yard) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with yard.running("api", "--port", str(port)) as api:
            assert api.process.wait(30) == 1
            assert f"cannot listen on 127.0.0.1:{port}" in api.out.read_text()
            assert "Traceback" not in api.out.read_text()


def test_the_api_says_that_redis_is_away_and_heals(tmp_path: Path) -> None:
    with start_redis() as redis:
        yard = Yard(tmp_path, redis.url, "away")
        with yard.running("api", "--port", "0") as api:
            url = api.url()
            assert get(f"{url}/ready")[0] == 200
            redis.kill()

            soon(lambda: get(f"{url}/ready")[0] == 503, "not ready")
            assert get(f"{url}/health")[0] == 200
            assert get(f"{url}/api/v1/overview")[0] == 503
            redis.restart()

            soon(lambda: get(f"{url}/ready")[0] == 200, "ready again")
            soon(lambda: get(f"{url}/api/v1/overview")[0] == 200, "overview again")


async def test_kill_9_under_load_costs_errors_and_no_job_that_was_answered(yard: Yard) -> None:
    answered: list[str] = []
    failed = 0

    async def enqueue_on(client: ClientSession, url: str) -> None:
        nonlocal failed
        while True:
            try:
                async with client.post(f"{url}/api/v1/jobs", json={"type": "greet", "payload": {}}) as response:
                    assert response.status == 201, await response.text()
                    answered.append((await response.json())["id"])
            except (ClientError, OSError):
                failed += 1
                return

    with yard.running("api", "--port", "0") as api:
        url = await asyncio.to_thread(api.url)
        async with ClientSession() as client:
            clients = [asyncio.create_task(enqueue_on(client, url)) for _ in range(8)]
            await eventually(lambda: len(answered) >= 200, within_s=60)
            api.process.kill()
            await asyncio.wait_for(asyncio.gather(*clients), 30)

    assert failed == 8
    async with yard.queue() as queue:
        found = [await queue.get(job_id, queue="default") for job_id in answered]
        stats = await queue.stats("default")
    assert None not in found
    assert len(answered) <= stats.enqueued <= len(answered) + 8
    assert stats.drift == 0


def test_worker_processes_have_a_probe_each(yard: Yard) -> None:
    port = free_port(neighbours=1)
    with yard.running(
        "worker", "-A", "shop", "--queues=default", "--processes=2", f"--probe-port={port}", JOBQUEUE_PROBE_PORT="1"
    ) as workers:
        workers.said("worker.joined", times=2)
        for each in (port, port + 1):
            assert get(f"http://127.0.0.1:{each}/health")[0] == 200
            soon(lambda each=each: get(f"http://127.0.0.1:{each}/ready")[0] == 200, "ready")  # type: ignore[misc]
            assert b'jobqueue_worker_slots{state="free"}' in get(f"http://127.0.0.1:{each}/metrics")[1]

        assert workers.ends() == 0


def test_the_scheduler_has_a_probe_from_its_settings(yard: Yard) -> None:
    with yard.running("scheduler", JOBQUEUE_PROBE_PORT="0") as scheduler:
        url = scheduler.said("probe.started")[0]["url"]

        soon(lambda: get(f"{url}/ready")[0] == 200, "ready")
        assert json.loads(get(f"{url}/health")[1])["status"] == "ok"
        assert b"jobqueue_loop_failures_total" in get(f"{url}/metrics")[1]
        assert b"jobqueue_queue_depth" not in get(f"{url}/metrics")[1]
        assert scheduler.ends() == 0


def test_without_a_probe_a_worker_listens_nowhere(yard: Yard) -> None:
    with yard.running("worker", "-A", "shop", "--queues=default") as worker:
        worker.said("worker.joined")

        assert "probe.started" not in worker.out.read_text()
        assert worker.ends() == 0


def test_a_suspended_worker_fails_its_probe(yard: Yard) -> None:
    with yard.running("worker", "-A", "shop", "--queues=default", "--probe-port=0") as worker:
        url = worker.said("probe.started")[0]["url"]
        assert get(f"{url}/health")[0] == 200
        worker.process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(TimeoutError):
                urllib.request.urlopen(f"{url}/health", timeout=1)
        finally:
            worker.process.send_signal(signal.SIGCONT)
