"""Server-sent events over a real server, from queues in memory."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import ClientPayloadError, ClientResponse, ClientSession, web

from jobqueue import Job, JobQueue
from jobqueue.api import view
from jobqueue.api.events import Events
from jobqueue.api.health import Readiness
from jobqueue.api.live import Live
from jobqueue.api.server import Bounds, serving
from jobqueue.clock import SystemClock
from jobqueue.errors import BrokerUnavailable
from jobqueue.job import JobState
from jobqueue.testing.queue import memory_queue
from testutil.eventually import eventually

pytestmark = pytest.mark.timeout(60)


@dataclass
class Stage:
    queue: JobQueue
    live: Live
    events: Events
    url: str
    client: ClientSession
    allowed: bool = True
    detail: view.JobDetail | None = None
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def enqueue(self, n: int = 1, queue: str = "mail") -> None:
        await self.queue.enqueue_many(Job("email.send", {}).replace(queue=queue) for _ in range(n))

    @asynccontextmanager
    async def listening(self, path: str = "/events", **headers: str) -> AsyncIterator["Listener"]:
        async with self.client.get(self.url + path, headers=headers) as response:
            yield Listener(response)


@dataclass
class Listener:
    response: ClientResponse

    async def event(self) -> tuple[str, int | str, Any]:
        """The next one: its name, its id, its data; a comment is one, too."""
        lines: dict[str, str] = {}
        while True:
            line = (await self.response.content.readline()).decode()
            if not line:
                raise EOFError
            if line.startswith(":"):
                return "comment", 0, line[1:].strip()
            if line == "\n":
                if "event" in lines:
                    return lines["event"], lines["id"], json.loads(lines["data"])
                lines.clear()
                continue
            name, _, value = line.rstrip("\n").partition(": ")
            lines[name] = value

    async def until(self, event: str) -> Any:
        while True:
            name, _, data = await asyncio.wait_for(self.event(), 30)
            if name == event:
                return data

    async def until_ready(self, n: int) -> Any:
        """The picture with so many jobs that are ready."""
        while (overview := await self.until("overview"))["ready"] != n:
            pass
        return overview


async def nothing_to_check() -> Mapping[str, bool]:
    return {}


@asynccontextmanager
async def staged(*, heartbeat_s: float = 15.0, most: int = 10, bounds: Bounds | None = None) -> AsyncIterator[Stage]:
    queue = memory_queue(clock=SystemClock())
    live = Live(queue, Readiness(nothing_to_check))
    events = Events(live, heartbeat_s=heartbeat_s, most=most)
    stage: Stage

    async def allowed() -> bool:
        return stage.allowed

    async def overview(request: web.Request) -> web.StreamResponse:
        patterns = request.query.get("patterns", "*").split(",")
        return await events.overview(request, patterns=patterns, allowed=allowed)

    async def look() -> view.JobDetail | None:
        return stage.detail

    async def job(request: web.Request) -> web.StreamResponse:
        return await events.job(request, look=look)

    async def end(_: web.Application) -> None:
        events.close()

    app = web.Application()
    app.add_routes([web.get("/events", overview), web.get("/job", job)])
    app.on_shutdown.append(end)
    async with AsyncExitStack() as stack:
        running = asyncio.create_task(live.run())
        stack.callback(running.cancel)
        client = await stack.enter_async_context(ClientSession())
        server = AsyncExitStack()
        await stack.enter_async_context(server)
        url = await server.enter_async_context(serving(app, host="127.0.0.1", port=0, bounds=bounds))
        stage = Stage(queue, live, events, url, client, stack=server)
        yield stage


async def test_a_listener_gets_the_picture_and_every_change_of_it() -> None:
    async with staged() as stage:
        await stage.enqueue()
        async with stage.listening() as listener:
            await listener.until_ready(1)
            await stage.enqueue()

            await listener.until_ready(2)
            assert listener.response.headers["Content-Type"].startswith("text/event-stream")
            assert listener.response.headers["Cache-Control"] == "no-store"


async def test_a_caller_hears_of_its_own_queues_only() -> None:
    async with staged() as stage:
        await stage.enqueue(queue="mail")
        await stage.enqueue(queue="secret")
        async with stage.listening("/events?patterns=mail") as listener:
            overview = await listener.until_ready(1)

    assert [each["name"] for each in overview["queues"]] == ["mail"]


async def test_ids_grow_and_who_has_seen_the_newest_is_not_sent_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(heartbeat_s=0.05) as stage:
        await stage.live.overview()
        looks = stage.live._look_once
        monkeypatch.setattr(stage.live, "_look_once", nothing_new)
        async with stage.listening(**{"Last-Event-ID": str(stage.live.sample.number)}) as listener:
            first, _, _ = await listener.event()
            monkeypatch.setattr(stage.live, "_look_once", looks)
            seen = stage.live.sample.number
            await stage.enqueue(7)
            await looks()
            name, later, overview = await listener.event()
            while name == "comment":
                name, later, overview = await listener.event()

    assert first == "comment"
    assert int(later) > seen
    assert overview["ready"] == 7


async def nothing_new() -> None: ...


@pytest.mark.parametrize("seen", ["0", "1", "99999999999999", "nonsense", "-5", "\u0663"])
async def test_who_missed_something_or_says_nonsense_gets_the_whole_picture(seen: str) -> None:
    async with staged() as stage:
        await stage.enqueue(3)
        async with stage.listening(**{"Last-Event-ID": seen}) as listener:
            await listener.until_ready(3)


async def test_silence_is_filled_with_heartbeats() -> None:
    async with staged(heartbeat_s=0.1) as stage, stage.listening() as listener:
        assert await listener.until("comment") == "heartbeat"
        assert await listener.until("comment") == "heartbeat"


async def test_an_outage_is_an_event_and_then_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unreachable() -> list[str]:
        raise BrokerUnavailable("redis://user:secret@host is away")

    async with staged() as stage:
        await stage.enqueue()
        async with stage.listening() as listener:
            await listener.until("overview")
            with monkeypatch.context() as away:
                away.setattr(stage.queue, "queues", unreachable)
                told = await listener.until("unavailable")

            await listener.until_ready(1)
    assert told == {"unavailable": "redis"}


async def test_streams_are_counted_and_one_too_many_is_refused() -> None:
    async with staged(most=2) as stage:
        async with stage.listening() as one, stage.listening() as two:
            await one.until("overview")
            await two.until("overview")
            async with stage.client.get(f"{stage.url}/events") as refused:
                assert refused.status == 503
                assert refused.headers["Retry-After"]
        await eventually(lambda: stage.events.open == 0)
        async with stage.listening() as again:
            await again.until("overview")


async def test_a_key_that_is_revoked_meanwhile_ends_its_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobqueue.api.events._ALLOWED_S", 0.1)
    async with staged() as stage, stage.listening() as listener:
        await listener.until("overview")
        stage.allowed = False
        with pytest.raises(EOFError):
            await listener.until("never")


async def test_the_end_of_the_server_ends_streams_at_once() -> None:
    async with staged(bounds=Bounds(grace_s=60)) as stage, stage.listening() as listener:
        await listener.until("overview")

        await asyncio.wait_for(stage.stack.aclose(), 30)

        with pytest.raises((EOFError, ClientPayloadError)):
            await listener.until("never")


async def test_a_stream_that_nobody_reads_is_cut() -> None:
    async with staged(bounds=Bounds(stalled_s=0.3), heartbeat_s=0.05) as stage:
        for n in range(400):
            await stage.enqueue(queue=f"a-queue-with-a-long-name-{n}")
        host, port = stage.url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port), limit=1024)
        writer.write(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        await eventually(lambda: stage.events.open == 1)
        changing = asyncio.create_task(keep_changing(stage))

        await eventually(lambda: stage.events.open == 0, within_s=40)

        changing.cancel()
        writer.close()


async def keep_changing(stage: Stage) -> None:
    while True:
        await stage.enqueue()
        await stage.live._look_once()
        await asyncio.sleep(0.001)


def a_job(state: JobState, **changes: Any) -> view.JobDetail:
    known: dict[str, Any] = dict.fromkeys(view.JobDetail.model_fields)
    known |= {"id": "x", "type": "t", "queue": "q", "priority": "medium", "attempt": 1, "attempts": [], "can": []}
    known |= {"payload_kept": False, "cancel_requested": False, "state": state}
    return view.JobDetail(**(known | changes))


async def test_a_job_is_followed_until_it_has_ended() -> None:
    async with staged() as stage:
        stage.detail = a_job(JobState.QUEUED)
        async with stage.listening("/job") as listener:
            assert (await listener.until("job"))["state"] == "queued"
            stage.detail = a_job(JobState.RUNNING, worker="w")
            assert (await listener.until("job"))["state"] == "running"
            stage.detail = a_job(JobState.COMPLETED)
            assert (await listener.until("job"))["state"] == "completed"
            name, last, _ = await asyncio.wait_for(listener.event(), 30)
            with pytest.raises(EOFError):
                await listener.event()
        async with stage.client.get(f"{stage.url}/job", headers={"Last-Event-ID": str(last)}) as again:
            assert again.status == 204

    assert name == "end"


async def test_a_job_that_is_not_there_is_not_found() -> None:
    async with staged() as stage, stage.client.get(f"{stage.url}/job") as response:
        assert response.status == 404
