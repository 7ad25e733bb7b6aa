"""The lease of one incarnation, renewed from a thread of its own.

A handler that blocks the event loop does not lose the lease: the thread beats on. It stops when the
loop has not turned for `max_block`, so that a dead loop is not held for ever.

While nothing runs it beats less often: the lease must hold, but there is nobody to stop.
"""

import asyncio
import math
import threading
from collections.abc import Callable, Mapping

import structlog

from jobqueue.broker.base import Beat, Heartbeat
from jobqueue.clock import Clock
from jobqueue.errors import BrokerError

_log = structlog.get_logger("jobqueue.worker")

_BEATS_PER_LEASE = 7.5
# Asleep, it beats after every second pause, 4 s of 15: a job that starts then must still outlive beats that fail, and
# a gap of half a lease would look like an outage.
_ASLEEP = 1.5
_MARGIN = 0.1

Progress = Mapping[str, Mapping[str, bytes]]


class LeaseKeeper:
    """Beats until it is stopped, fenced, or unconfirmed for a lease.

    *awake* is asked in the thread: whether it matters to hear soon what is asked of the worker. *heard* is
    called in the event loop with every answer; *lost* once, with the reason, when the lease is gone. The
    deadline counts from when a confirmed beat was sent, on the monotonic clock; it is judged only after a
    beat has failed, so that a process that was stopped for a while asks before it gives up.
    """

    def __init__(
        self,
        heartbeat: Heartbeat,
        *,
        lease_s: float,
        max_block_s: float,
        clock: Clock,
        awake: Callable[[], bool],
        progress: Callable[[], Progress],
        heard: Callable[[list[Beat]], None],
        lost: Callable[[str], None],
    ) -> None:
        self._heartbeat = heartbeat
        self._lease_s = lease_s
        self._pause_s = min(2.0, lease_s / _BEATS_PER_LEASE)
        self._max_block_s = max_block_s
        self._clock = clock
        self._awake = awake
        self._progress = progress
        self._heard = heard
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="jobqueue-lease", daemon=True)
        self._confirmed_at = -math.inf
        self._deadline = 0.0
        self._unconfirmed = False
        self._asked_loop_at: float | None = None
        self.gone = False
        """Known here before the event loop hears of it, which may have been blocked until now."""

    def start(self) -> None:
        """Begin to beat, at once. The lease was registered a moment ago."""
        self._deadline = self._clock.monotonic() + self._lease_s * (1 - _MARGIN)
        self._thread.start()

    def overdue(self, now: float) -> bool:
        """Whether beats have failed for so long that the broker may give our jobs away.

        Asked from the event loop, too: a beat that hangs must not hide that its time is over.
        """
        return self._unconfirmed and now > self._deadline

    def is_old(self, heard_at: float | None = None) -> bool:
        """Whether what was heard then, or else with the last beat, is older than beats are while something runs."""
        return self._clock.monotonic() - (self._confirmed_at if heard_at is None else heard_at) > self._pause_s

    async def stop(self) -> None:
        """Beat no more; returns when the thread has ended."""
        self._stopped.set()
        self._heartbeat.close()  # which cuts a beat short that is under way
        await asyncio.to_thread(self._thread.join)
        self._heartbeat.close()

    def _keep(self) -> None:
        while not self._stopped.is_set():
            lost = self._beat()
            if lost is not None:
                self.gone = True
                _log.error("lease.gone", reason=lost)
                self._tell(self._lost, lost)
                return
            self._stopped.wait(self._pause_s)

    def _beat(self) -> str | None:
        """One beat, if it is time. Returns why the lease is lost, if it is."""
        sent = self._clock.monotonic()
        if self._asked_loop_at is not None and sent - self._asked_loop_at > self._max_block_s:
            _log.error("lease.abandoned", reason="event loop blocked", seconds=round(sent - self._asked_loop_at, 1))
            return "the event loop was blocked for too long"
        if self._asked_loop_at is None:
            self._asked_loop_at = sent
            self._tell(self._turned)
        if sent - self._confirmed_at < self._pause_s * _ASLEEP and not self._awake():
            return None
        try:
            beats = self._heartbeat.beat(self._progress())
        except Exception as error:  # also what nobody foresaw: this thread must not end unheard
            if self._stopped.is_set():
                return None
            _log.warning("beat.failed", error=str(error), foreseen=isinstance(error, BrokerError))
            self._unconfirmed = True
            return "the broker did not confirm it in time" if self.overdue(self._clock.monotonic()) else None
        if not all(beat.alive for beat in beats):
            return "the reaper took it"
        self._confirm(sent)
        self._tell(self._heard, beats)
        return None

    def _confirm(self, sent: float) -> None:
        self._confirmed_at = sent
        self._deadline = sent + self._lease_s * (1 - _MARGIN)
        self._unconfirmed = False

    def _turned(self) -> None:
        """Runs in the event loop: it turns."""
        self._asked_loop_at = None

    def _tell(self, callback: Callable[..., None], *facts: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *facts)
        except RuntimeError:
            # The loop has been closed under us: nobody is left to hear it.
            self._stopped.set()
