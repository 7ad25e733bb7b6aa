"""The lease of one incarnation, renewed from a thread of its own.

A handler that blocks the event loop does not lose the lease: the thread beats on. It stops when the
loop has not turned for `max_block`, so that a dead loop is not held for ever.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping

import structlog

from jobqueue.broker.base import Beat, Heartbeat
from jobqueue.clock import Clock
from jobqueue.errors import BrokerError

_log = structlog.get_logger("jobqueue.worker")

_BEATS_PER_LEASE = 7.5
_MARGIN = 0.1

Progress = Mapping[str, Mapping[str, bytes]]


class LeaseKeeper:
    """Beats until it is stopped, fenced, or unconfirmed for a lease.

    *heard* is called in the event loop with every answer; *lost* once, with the reason, when the lease
    is gone. The deadline counts from when a confirmed beat was sent, on the monotonic clock; it is judged
    only after a beat has failed, so that a process that was stopped for a while asks before it gives up.
    """

    def __init__(
        self,
        heartbeat: Heartbeat,
        *,
        lease_s: float,
        max_block_s: float,
        clock: Clock,
        progress: Callable[[], Progress],
        heard: Callable[[list[Beat]], None],
        lost: Callable[[str], None],
    ) -> None:
        self._heartbeat = heartbeat
        self._lease_s = lease_s
        self._pause_s = min(2.0, lease_s / _BEATS_PER_LEASE)
        self._max_block_s = max_block_s
        self._clock = clock
        self._progress = progress
        self._heard = heard
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="jobqueue-lease", daemon=True)
        self._deadline = self._turned = clock.monotonic()

    def start(self) -> None:
        """Begin to beat. The lease was registered a moment ago."""
        self._deadline = self._clock.monotonic() + self._lease_s * (1 - _MARGIN)
        self._thread.start()

    async def stop(self) -> None:
        """Beat no more; returns when the thread has ended."""
        self._stopped.set()
        await asyncio.to_thread(self._thread.join)
        self._heartbeat.close()

    def _keep(self) -> None:
        while not self._stopped.wait(self._pause_s):
            sent = self._clock.monotonic()
            if sent - self._turned > self._max_block_s:
                _log.error("lease.abandoned", reason="event loop blocked", seconds=round(sent - self._turned, 1))
                self._tell(self._lost, "the event loop was blocked for too long")
                return
            try:
                beats = self._heartbeat.beat(self._progress())
            except BrokerError as error:
                _log.warning("beat.failed", error=str(error))
                if self._clock.monotonic() > self._deadline:
                    self._tell(self._lost, "the broker did not confirm it in time")
                    return
                continue
            if not all(beat.alive for beat in beats):
                self._tell(self._lost, "the reaper took it")
                return
            self._deadline = sent + self._lease_s * (1 - _MARGIN)
            self._tell(self._turn, beats)

    def _turn(self, beats: list[Beat]) -> None:
        self._turned = self._clock.monotonic()
        self._heard(beats)

    def _tell(self, callback: Callable[..., None], fact: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, fact)
        except RuntimeError:
            # The loop has been closed under us: nobody is left to hear it.
            self._stopped.set()
