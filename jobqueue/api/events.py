"""`/events`: server-sent events.

Every event is a whole picture, so whoever missed some misses nothing: after a reconnect the newest is sent, unless
`Last-Event-ID` says that it was seen. A stream has no buffer of its own. One that does not read hears of nothing
until it does, and then of the newest; the server cuts one that does not read for long.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

from aiohttp import web

from jobqueue.api import view
from jobqueue.api.live import EVERYTHING, Live
from jobqueue.clock import Clock, SystemClock
from jobqueue.errors import BrokerError, JobQueueError
from jobqueue.job import JobState

HEARTBEAT_S: Final = 15.0
MOST_STREAMS: Final = 256
_LOOK_S = 1.0
_ALLOWED_S = 5.0
_RETRY_MS = 2000
_LAST_LOOKS = 3
_END = "-end"
_ENDED = frozenset({JobState.COMPLETED, JobState.DEAD, JobState.CANCELLED, JobState.EXPIRED})

Allowed = Callable[[], Awaitable[bool]]
"""Whether the caller may still listen: its key may have been revoked meanwhile."""


class Events:
    """The open streams of a process. Handlers may take as long as they like: leave them out of time limits."""

    def __init__(
        self, live: Live, *, clock: Clock | None = None, most: int = MOST_STREAMS, heartbeat_s: float = HEARTBEAT_S
    ) -> None:
        self._live = live
        self._clock = clock or SystemClock()
        self._most = most
        self._heartbeat_s = heartbeat_s
        self._closing = asyncio.Event()
        self._open: set[_Stream] = set()

    @property
    def open(self) -> int:
        """How many there are now."""
        return len(self._open)

    def close(self) -> None:
        """End every stream at once; for `app.on_shutdown`."""
        self._closing.set()
        for stream in self._open:
            stream.task.cancel()

    async def overview(
        self, request: web.Request, *, patterns: Sequence[str] = EVERYTHING, allowed: Allowed | None = None
    ) -> web.StreamResponse:
        """`overview` whenever it changes, at most once a second; `unavailable` while Redis is away.

        Raises:
            HTTPServiceUnavailable: there are too many streams; told as 429.
        """
        async with self._stream(request, allowed) as stream:
            with self._live.watched():
                await self._tell_overviews(stream, patterns, _seen(request))
        return stream.response

    async def job(
        self,
        request: web.Request,
        *,
        look: Callable[[], Awaitable[view.JobDetail | None]],
        allowed: Allowed | None = None,
    ) -> web.StreamResponse:
        """`job` whenever it changes, until it has ended; then `end`. 204 for one who has seen the end.

        Raises:
            HTTPNotFound: *look* finds no such job.
            HTTPServiceUnavailable: there are too many streams; told as 429.
        """
        if request.headers.get("Last-Event-ID", "").endswith(_END):
            return web.Response(status=204)  # which tells a browser not to come back
        if await look() is None:
            raise web.HTTPNotFound
        async with self._stream(request, allowed) as stream:
            await self._tell_job(stream, look)
        return stream.response

    async def _tell_overviews(self, stream: "_Stream", patterns: Sequence[str], seen: int) -> None:
        with suppress(BrokerError):
            await self._live.overview(patterns)  # not a picture from before anybody looked
        known, newest = "", self._live.sample
        if seen > newest.number:
            seen = 0  # from a process whose clock was ahead
        if seen == newest.number and newest.error is None:
            known = _content(self._live.shown(patterns))
        while await stream.may_go_on():
            sample = await self._live.newer(seen, within_s=stream.patience_s())
            if sample is None:
                continue
            seen = sample.number
            if sample.error is not None:
                if known != "unavailable":
                    await stream.send("unavailable", str(seen), _unavailable(sample.error))
                known = "unavailable"
                continue
            overview = self._live.shown(patterns)
            if (content := _content(overview)) != known:
                known = content
                await stream.send("overview", str(seen), overview.model_dump_json())

    async def _tell_job(self, stream: "_Stream", look: Callable[[], Awaitable[view.JobDetail | None]]) -> None:
        known, number, last_looks = "", 0, 0
        while await stream.may_go_on():
            number = max(self._clock.now_ms(), number + 1)
            try:
                detail = await look()
            except JobQueueError as error:
                if known != "unavailable":
                    await stream.send("unavailable", str(number), _unavailable(error))
                known = "unavailable"
                await asyncio.sleep(_LOOK_S)
                continue
            if detail is not None and (content := detail.model_dump_json()) != known:
                known = content
                await stream.send("job", str(number), content)
            if detail is None or detail.state in _ENDED:
                # Its history follows within a second or so.
                last_looks += 1
                if detail is None or detail.attempts or last_looks > _LAST_LOOKS:
                    await stream.send("end", f"{number}{_END}", "{}")
                    return
            await asyncio.sleep(_LOOK_S)

    @asynccontextmanager
    async def _stream(self, request: web.Request, allowed: Allowed | None) -> AsyncIterator["_Stream"]:
        if self._closing.is_set() or len(self._open) >= self._most:
            raise web.HTTPServiceUnavailable(headers={"Retry-After": "5"}, text="too many event streams")
        stream = _Stream(request, self._clock, self._heartbeat_s, allowed)
        self._open.add(stream)
        try:
            await stream.begin()
            yield stream
        except ConnectionError:
            pass  # the listener has gone
        except asyncio.CancelledError:
            if not self._closing.is_set():
                raise
        finally:
            self._open.discard(stream)


class _Stream:
    """One listener."""

    def __init__(self, request: web.Request, clock: Clock, heartbeat_s: float, allowed: Allowed | None) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.task = task
        self.response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream; charset=utf-8",
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",
            }
        )
        self._request = request
        self._monotonic = clock.monotonic
        self._heartbeat_s = heartbeat_s
        self._allowed = allowed
        self._asked_at = self._wrote_at = clock.monotonic()

    async def begin(self) -> None:
        """Send the head."""
        await self.response.prepare(self._request)
        await self._write(f"retry: {_RETRY_MS}\n\n")

    def patience_s(self) -> float:
        """How long to wait for news before looking after the stream."""
        return max(0.05, min(_ALLOWED_S, self._wrote_at + self._heartbeat_s - self._monotonic()))

    async def may_go_on(self) -> bool:
        """Send a heartbeat if it is time. False: the listener has gone, or may no longer listen."""
        now = self._monotonic()
        if self._request.transport is None or self._request.transport.is_closing():
            return False
        if self._allowed is not None and now - self._asked_at >= _ALLOWED_S:
            self._asked_at = now
            if not await self._allowed():
                return False
        if now - self._wrote_at >= self._heartbeat_s:
            await self._write(": heartbeat\n\n")
        return True

    async def send(self, event: str, number: str, data: str) -> None:
        """An event; *data* is one line of JSON."""
        await self._write(f"event: {event}\nid: {number}\ndata: {data}\n\n")

    async def _write(self, text: str) -> None:
        await self.response.write(text.encode())
        self._wrote_at = self._monotonic()


def _seen(request: web.Request) -> int:
    """The number in Last-Event-ID; 0: none, or none of ours."""
    text = request.headers.get("Last-Event-ID", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0


def _content(overview: view.Overview) -> str:
    return overview.model_dump_json(exclude={"at"})


def _unavailable(error: JobQueueError) -> str:
    what = "redis" if isinstance(error, BrokerError) else "postgres"
    return f'{{"unavailable": "{what}"}}'
