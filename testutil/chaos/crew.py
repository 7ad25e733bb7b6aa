"""The plant as processes: workers, producers and schedulers, started, killed, stopped, continued, replaced."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jobqueue.app import JobQueue
from jobqueue.cli.lifeline import Lifeline
from jobqueue.errors import JobQueueError
from jobqueue.repository.base import LetterFilter, LetterState
from testutil.chaos.history import Event, Writer, now
from testutil.eventually import eventually

Role = Literal["worker", "producer", "scheduler"]

QUEUES = ("alpha", "beta", "gamma")
"""The queues of the plant, as workers serve them. In a cluster of three they lie on three nodes."""
NAMESPACE = "chaos"
MAX_CRASHES = 6
MAX_BLOCK_S = 6.0
CANCEL_GRACE_S = 1.0
SHUTDOWN_S = 5.0
ENQUEUE_S = 5.0

_ROOT = Path(__file__).parents[2]
_DIES_S = 10
_STOP_PRODUCING = signal.SIGUSR1
_PROGRAMS: Mapping[Role, Sequence[str]] = {
    "worker": ("-m", "testutil.chaos.work"),
    "producer": ("-m", "testutil.chaos.produce"),
    "scheduler": ("-m", "jobqueue", "scheduler", "-A", "testutil.chaos.tasks:registry"),
}


@dataclass(slots=True, eq=False)
class Member:
    """One place in the crew; *generation* counts the processes that held it, from 1."""

    role: Role
    index: int
    process: "subprocess.Popen[bytes]"
    generation: int = 1
    stopped: bool = False
    killed: bool = False
    """By us: it stays dead until it is replaced."""

    @property
    def name(self) -> str:
        """`worker-3`"""
        return f"{self.role}-{self.index}"

    @property
    def alive(self) -> bool:
        return self.process.poll() is None


class Crew:
    """Every process of a run. Configured by the environment only, so that a member can be led through a proxy of
    its own: *urls* and *database_urls* name, by member (`worker-3`), what to use instead of *url* and *database_url*.

        crew = Crew(url, database_url, folder, seed=7)
        crew.start()
        crew.kill(crew.members[0]); crew.replace(crew.members[0])
        crew.heal(); await crew.finish_producing(); await crew.drain(60); await crew.shut_down()

    *programs* names, by role, what Python runs instead of the usual: `{"worker": ("-m", "testutil.chaos.work")}`.
    Whoever owns it calls `tend` now and then: some handlers kill their process. `close` ends everything at once.
    """

    def __init__(
        self,
        url: str,
        database_url: str,
        folder: Path,
        seed: int,
        *,
        workers: int = 6,
        slots: int = 8,
        producers: int = 3,
        schedulers: int = 2,
        lease_s: float = 3.0,
        rate: float = 200,
        durability: Sequence[str] = ("local",),
        schedules: Sequence[str] = (),
        direct_url: str | None = None,
        urls: Mapping[str, str] | None = None,
        database_urls: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        programs: Mapping[Role, Sequence[str]] | None = None,
    ) -> None:
        self.folder = folder
        self.seed = seed
        self.lease_s = lease_s
        self.reap_s = min(1.0, lease_s / 3)
        self.members: list[Member] = []
        self._url, self._database_url, self._direct_url = url, database_url, direct_url or url
        self._urls, self._database_urls = urls or {}, database_urls or {}
        self._programs = {**_PROGRAMS, **(programs or {})}
        self._counts: dict[Role, int] = {"scheduler": schedulers, "worker": workers, "producer": producers}
        folder.mkdir(parents=True, exist_ok=True)
        self._events = Writer(folder / "crew.jsonl")
        self._lifeline = Lifeline(grace_s=1.0)
        self._closed = False
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("JOBQUEUE_", "WORKER_"))},
            "JOBQUEUE_NAMESPACE": NAMESPACE,
            "JOBQUEUE_LEASE": _ms(lease_s),
            "JOBQUEUE_REAP_INTERVAL": _ms(self.reap_s),
            "JOBQUEUE_MAX_CRASHES": str(MAX_CRASHES),
            "JOBQUEUE_MAX_BLOCK": _ms(MAX_BLOCK_S),
            "JOBQUEUE_CANCEL_GRACE": _ms(CANCEL_GRACE_S),
            "JOBQUEUE_ENQUEUE_TIMEOUT": _ms(ENQUEUE_S),
            "WORKER_SHUTDOWN_TIMEOUT": _ms(SHUTDOWN_S),
            "WORKER_QUEUES": ",".join(QUEUES),
            "WORKER_CONCURRENCY": str(slots),
            "LOG_FORMAT": "json",
            "LOG_LEVEL": "info",
            "PYTHONUNBUFFERED": "1",
            "CHAOS_FOLDER": str(folder),
            "CHAOS_SEED": str(seed),
            "CHAOS_LEASE_S": str(lease_s),
            "CHAOS_RATE": str(rate / max(1, producers)),
            "CHAOS_DURABILITY": ",".join(durability),
            "CHAOS_SCHEDULES": ",".join(schedules),
            **self._lifeline.environment,
            **(environment or {}),
        }

    def start(self) -> None:
        """Start every process; returns at once."""
        for role, count in self._counts.items():
            self.members += [Member(role, index, self._spawn(role, index, 1)) for index in range(count)]

    def of(self, role: Role) -> list[Member]:
        """The members of one role."""
        return [member for member in self.members if member.role == role]

    def kill(self, member: Member) -> None:
        """kill -9; it stays dead until `replace` or `heal`."""
        if member.alive:
            # Written first: what it did not finish has a cause from here on.
            self._note("killed", member)
            member.process.kill()
            member.killed, member.stopped = True, False
            member.process.wait(timeout=_DIES_S)

    def stop(self, member: Member) -> None:
        """SIGSTOP."""
        if member.alive and not member.stopped:
            self._note("stopped", member)
            member.process.send_signal(signal.SIGSTOP)
            member.stopped = True

    def cont(self, member: Member) -> None:
        """SIGCONT."""
        if member.stopped:
            member.process.send_signal(signal.SIGCONT)
            member.stopped = False
            self._note("continued", member)

    def terminate(self, member: Member) -> None:
        """SIGTERM: an orderly end; it stays away until `replace` or `heal`."""
        if member.alive:
            self._note("terminated", member)
            member.killed = True
            member.process.terminate()

    def replace(self, member: Member) -> None:
        """A new process in the place of a dead one; one that still lives is killed first."""
        if member.alive:
            self.kill(member)
        member.generation += 1
        member.process = self._spawn(member.role, member.index, member.generation)
        member.killed = member.stopped = False

    def tend(self) -> list[Member]:
        """Replace whoever ended without our doing; returns them. Call it about once a second."""
        fallen = [member for member in self.members if not member.killed and not member.alive]
        for member in fallen:
            self._note("ended", member, code=member.process.returncode)
            self.replace(member)
        return fallen

    def heal(self) -> None:
        """Everybody alive and continued."""
        for member in self.members:
            if member.stopped:
                self.cont(member)
            if not member.alive:
                self.replace(member)

    async def finish_producing(self, timeout_s: float = 30) -> None:
        """Let the producers end what they have begun, and end; whoever does not in time is killed."""
        producers = self.of("producer")
        for producer in producers:
            producer.killed = True
            if producer.alive:
                producer.process.send_signal(_STOP_PRODUCING)
        await self._ended(producers, timeout_s)

    async def drain(self, timeout_s: float = 120) -> bool:
        """Wait until no job lives, none is on its way back from the dead letters, and Redis holds nothing to be
        shipped; False: not in time. Fallen members are replaced meanwhile.
        """
        deadline = time.monotonic() + timeout_s
        async with JobQueue.connect(self._direct_url, database_url=self._database_url, namespace=NAMESPACE) as queue:
            while time.monotonic() < deadline:
                self.tend()
                with suppress(JobQueueError, OSError, TimeoutError):
                    if await _is_idle(queue):
                        return True
                await asyncio.sleep(0.2)
        return False

    async def shut_down(self, timeout_s: float = 20) -> None:
        """SIGTERM to all, then wait; whoever does not end in time is killed."""
        for member in self.members:
            self.cont(member)
            self.terminate(member)
        await self._ended(self.members, timeout_s)
        self.close()

    def close(self) -> None:
        """Kill whoever still lives. Safe to repeat; nothing can be started after it."""
        for member in self.members:
            self.kill(member)
        if not self._closed:
            self._closed = True
            self._lifeline.close()
            self._events.close()

    async def _ended(self, members: Sequence[Member], timeout_s: float) -> None:
        with suppress(AssertionError):
            await eventually(lambda: not any(member.alive for member in members), within_s=timeout_s, poll_s=0.05)
        for member in members:
            self.kill(member)

    def _spawn(self, role: Role, index: int, generation: int) -> "subprocess.Popen[bytes]":
        name = f"{role}-{index}"
        environment = {
            **self._environment,
            "REDIS_URL": self._urls.get(name, self._url),
            "DATABASE_URL": self._database_urls.get(name, self._database_url),
            "CHAOS_MEMBER": name,
            "CHAOS_GENERATION": str(generation),
        }
        with (self.folder / f"{name}.{generation}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *self._program(role)],
                cwd=_ROOT,
                env=environment,
                stdout=log,
                stderr=log,
                pass_fds=(self._lifeline.read,),
            )
        self._events.write(Event(at=now(), what="started", member=name, generation=generation, pid=process.pid))
        return process

    def _program(self, role: Role) -> Sequence[str]:
        program = _PROGRAMS[role]
        return ("-m", "testutil.chaos.broken.member", *program[1:]) if "CHAOS_BROKEN" in self._environment else program

    def _note(self, what: str, member: Member, code: int | None = None) -> None:
        self._events.write(
            Event(
                at=now(), what=what, member=member.name, generation=member.generation, pid=member.process.pid, code=code
            )
        )


async def _is_idle(queue: JobQueue) -> bool:
    if await queue.dead_letters.count(LetterFilter(state=LetterState.REQUEUEING)):
        return False
    stats = [await queue.stats(name) for name in QUEUES]
    if any(each.live or each.journal or each.dead for each in stats):
        return False
    broker = queue.parts.redis
    assert broker is not None
    return not any([await broker.call(["XLEN", broker.keys(name).ticks]) for name in QUEUES])


def _ms(seconds: float) -> str:
    return f"{int(seconds * 1000)}ms"
