"""Child processes of one parent: started, started again when they crash, ended together.

No child outlives its parent (`lifeline`). What they print is passed on, or goes where the parent's goes.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from jobqueue.cli.exit import FAILED, OK, USAGE
from jobqueue.cli.lifeline import Lifeline

_log = structlog.get_logger("jobqueue.processes")

_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 30.0
_SETTLED_AFTER_S: Final = 5.0
_FIRST_SECONDS_S: Final = 15.0  # on a busy machine a start takes some
_LONGEST_LINE: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A child to run: `jobqueue` with these arguments."""

    name: str
    arguments: Sequence[str]

    @property
    def argv(self) -> list[str]:
        return [sys.executable, "-m", "jobqueue", *self.arguments]


@dataclass(slots=True, kw_only=True)
class Crew:
    """Runs its members until stopped; `run` returns the exit code of the whole.

    A member that ends is started again, after a pause that grows while it keeps ending at once. With
    *burst*, one that ends in order is done. When all fail in their first seconds, as for a wrong setting,
    that is the end: starting them again would not help.
    """

    members: Sequence[Member]
    environment: Mapping[str, str] = field(default_factory=dict)
    grace_s: float
    burst: bool = False
    forgiving: bool = False
    """Start again whatever happens: the code may be repaired meanwhile."""
    pass_on: Callable[[str, str], None] | None = None
    folder: Path | None = None
    _running: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _restart: dict[str, asyncio.Event] = field(default_factory=dict)
    _codes: dict[str, int] = field(default_factory=dict)
    _failed_first: set[str] = field(default_factory=set)

    async def run(self) -> int:
        lifeline = Lifeline(self.grace_s)
        try:
            async with asyncio.TaskGroup() as keeping:
                for member in self.members:
                    keeping.create_task(self._keep(member, lifeline))
        finally:
            self._signal(signal.SIGKILL)
            lifeline.close()
        return max((abs(code) and 1 for code in self._codes.values()), default=OK)

    def stop(self) -> None:
        """Ask every member to end in order."""
        self._stopping.set()
        self._signal(signal.SIGTERM)

    def hurry(self) -> None:
        """Ask again: a member takes a second SIGTERM as the wish to end now."""
        self.stop()

    def quiet(self) -> None:
        """Let every member take no more jobs; they are not started again."""
        self._stopping.set()
        self._signal(signal.SIGUSR1)

    def restart(self) -> None:
        """End every member in order and start it again at once."""
        for name, event in self._restart.items():
            event.set()
            self._send(name, signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        for name in list(self._running):
            self._send(name, number)

    def _send(self, name: str, number: signal.Signals) -> None:
        process = self._running.get(name)
        if process is not None:
            with suppress(ProcessLookupError):
                process.send_signal(number)

    async def _keep(self, member: Member, lifeline: Lifeline) -> None:
        pause, first = _FIRST_PAUSE_S, True
        restart = self._restart[member.name] = asyncio.Event()
        while not self._stopping.is_set():
            started = time.monotonic()
            restart.clear()
            code = self._codes[member.name] = await self._run_once(member, lifeline)
            lived_s = time.monotonic() - started
            if self._stopping.is_set() or (self.burst and code == OK):
                return
            if first and self._is_hopeless(member, code, lived_s):
                self.stop()
                return
            first = False
            if restart.is_set():
                self._codes[member.name] = OK
                continue
            pause = _FIRST_PAUSE_S if lived_s > _SETTLED_AFTER_S else min(pause * 2, _LONGEST_PAUSE_S)
            _log.error("process.ended", name=member.name, ended=_words(code), again_in_s=pause)
            self._codes[member.name] = OK
            await self._rest(pause, restart)

    def _is_hopeless(self, member: Member, code: int, lived_s: float) -> bool:
        if self.forgiving or code not in (FAILED, USAGE) or lived_s >= _FIRST_SECONDS_S:
            return False
        self._failed_first.add(member.name)
        # Those that failed first may run again by now.
        return not self._running or len(self._failed_first) == len(self.members)

    async def _run_once(self, member: Member, lifeline: Lifeline) -> int:
        pipe = asyncio.subprocess.PIPE if self.pass_on else None
        process = await asyncio.create_subprocess_exec(
            *member.argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=pipe,
            stderr=asyncio.subprocess.STDOUT if pipe else None,
            env={**os.environ, **self.environment, **lifeline.environment},
            cwd=self.folder,
            pass_fds=[lifeline.read],
            limit=_LONGEST_LINE,
            # Ctrl-C at a terminal reaches the whole group: the parent alone hears it, and ends them in order.
            process_group=0,
        )
        self._running[member.name] = process
        try:
            if self._stopping.is_set():
                self._send(member.name, signal.SIGTERM)
            if self.pass_on is not None and process.stdout is not None:
                await self._read(member.name, process.stdout)
            return await process.wait()
        finally:
            del self._running[member.name]
            if process.returncode is None:
                process.kill()

    async def _read(self, name: str, stream: asyncio.StreamReader) -> None:
        assert self.pass_on is not None
        while True:
            try:
                line = await stream.readline()
            except ValueError:  # a line without end
                continue
            if not line:
                return
            self.pass_on(name, line.decode(errors="replace").rstrip("\r\n"))

    async def _rest(self, seconds: float, restart: asyncio.Event) -> None:
        waits = [asyncio.create_task(event.wait()) for event in (self._stopping, restart)]
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()


def _words(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    with suppress(ValueError):
        return f"killed by {signal.Signals(-code).name}"
    return f"killed by signal {-code}"
