"""One server process: started under the eyes of its home's guard, watched, ended."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from signal import Signals
from typing import IO

from jobqueue.embedded.account import Account
from jobqueue.embedded.home import Home
from jobqueue.errors import JobQueueError

START_LIMIT_S = 60.0  # crash recovery and a long append-only file take their time; a clean start takes 0.1
_END_LIMIT_S = 10.0
_KILL_LIMIT_S = 3.0
_POLL_S = 0.005
_LOG_LINES = 12

# The server waits for our word, so that it never runs before the guard knows its pid.
_GATE = 'read -r go && exec "$@" </dev/null'


class EmbeddedServerError(JobQueueError):
    """An embedded server did not start or refused a command; the message ends with what it logged last."""


class AddressInUse(EmbeddedServerError):
    """The port, or the dead predecessor's shared memory, is still taken; trying again helps."""


class Supervisor:
    """Runs one server at a time in one home, whose guard ends it when this process dies.

    *end_signals* end the server in order, each harder than the one before.
    """

    def __init__(
        self, home: Home, *, end_signals: Sequence[Signals], env: dict[str, str], account: Account | None = None
    ) -> None:
        self._home = home
        self._end_signals = end_signals
        self._env = env
        self._account = account
        self._process: subprocess.Popen[bytes] | None = None
        self._owned = True
        _live.add(self)

    @property
    def pid(self) -> int | None:
        """The running server's process id; None when it ended, by itself or through us."""
        if self._process is None or not self._owned:
            return None
        if self._process.poll() is not None:
            self._forget()
            return None
        return self._process.pid

    def launch(self, argv: Sequence[str], is_ready: Callable[[int], bool]) -> None:
        """Start the server and wait until `is_ready(pid)`.

        Raises:
            AddressInUse: its port is taken.
            EmbeddedServerError: it ended, or was not ready in time.
        """
        logged = self._log_size()
        process = self._spawn(argv)
        try:
            if not _wait_until(lambda: process.poll() is not None or is_ready(process.pid), START_LIMIT_S):
                raise self._failure(argv[0], f"was not ready within {START_LIMIT_S:g} s", logged)
            if process.returncode is not None:
                raise self._failure(argv[0], f"ended with code {process.returncode}", logged)
        except BaseException:
            self.kill()
            raise

    def complete(self, argv: Sequence[str]) -> None:
        """Run a preparing command to its end, guarded like a server.

        Raises:
            EmbeddedServerError: it failed, or did not end in time.
        """
        logged = self._log_size()
        process = self._spawn(argv)
        try:
            if not self._gone_within(START_LIMIT_S):
                raise self._failure(argv[0], f"did not end within {START_LIMIT_S:g} s", logged)
        except BaseException:
            self.kill()
            raise
        if process.returncode != 0:
            raise self._failure(argv[0], f"ended with code {process.returncode}", logged)

    def _spawn(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        if not self._owned:
            raise EmbeddedServerError(f"{argv[0]} can only be started by the process that began it, not a fork")
        account = self._account
        with self._home.log.open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 - our own argv, no user input reaches a shell
                ["/bin/sh", "-c", _GATE, "sh", *argv],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=self._home.path,
                env=self._env,
                start_new_session=True,  # Ctrl-C in the terminal is for the owner, who ends us in order
                pass_fds=(self._home.lock,),
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
            )
        self._process = process
        self._home.guard.watch(process.pid)
        with suppress(BrokenPipeError):  # it is dead already, which the caller will see
            _stdin(process).write(b"go\n")
            _stdin(process).close()
        return process

    def _log_size(self) -> int:
        return self._home.log.stat().st_size if self._home.log.exists() else 0

    def _failure(self, binary: str, what: str, logged: int) -> EmbeddedServerError:
        with self._home.log.open("rb") as log:
            log.seek(logged)
            lines = log.read().decode(errors="replace").splitlines()
        error = AddressInUse if any("in use" in line for line in lines) else EmbeddedServerError
        return error("\n  ".join([f"{binary} {what}; it logged last:", *lines[-_LOG_LINES:]]))

    def end(self) -> None:
        """End the server in order, or by force when it will not; data stays."""
        for sign in self._end_signals:
            if self.pid is None:
                return
            self._signal(sign)
            self.resume()
            if self._gone_within(_END_LIMIT_S):
                return
        self.kill()

    def kill(self) -> None:
        """SIGKILL the server and its children, as a power cut would; data stays."""
        if (pid := self.pid) is None:
            return
        self._signal(signal.SIGSTOP)  # it must not fork while we look at its children
        _send(signal.SIGKILL, *_children(pid), pid)
        self._gone_within(_KILL_LIMIT_S)

    def pause(self) -> None:
        """SIGSTOP the server and its children: connections stay open and nobody answers."""
        if (pid := self.pid) is not None:
            self._signal(signal.SIGSTOP)
            _send(signal.SIGSTOP, *_children(pid))

    def resume(self) -> None:
        """SIGCONT what `pause` stopped."""
        if (pid := self.pid) is not None:
            _send(signal.SIGCONT, *_children(pid), pid)

    def release(self) -> None:
        """End the server, remove a temporary home, unlock a kept one. The supervisor is of no use afterwards."""
        if not self._owned:
            return
        self.end()
        self._owned = False
        _live.discard(self)
        self._home.discard()

    def disown(self) -> None:
        """In a forked child: let go, so that the server's life hangs on the parent alone."""
        self._owned = False
        self._home.guard.disown()
        os.close(self._home.lock)

    def _signal(self, sign: Signals) -> None:
        if self._process is not None:
            self._process.send_signal(sign)

    def _gone_within(self, limit_s: float) -> bool:
        return _wait_until(lambda: self.pid is None, limit_s)

    def _forget(self) -> None:
        """The pid may now become somebody else's: the guard must not end that one."""
        self._process = None
        self._home.guard.forget()


_live: set[Supervisor] = set()


def _disown_all() -> None:
    for supervisor in _live:
        supervisor.disown()
    _live.clear()


os.register_at_fork(after_in_child=_disown_all)


def _children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:  # no Linux
        text = subprocess.run(  # noqa: S603
            ["pgrep", "-P", str(pid)],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=_KILL_LIMIT_S,
            check=False,
        ).stdout
    return [int(child) for child in text.split()]


def _send(sign: Signals, *pids: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, sign)


def _wait_until(condition: Callable[[], bool], limit_s: float) -> bool:
    deadline = time.monotonic() + limit_s
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    return met


def _stdin(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdin is not None
    return process.stdin
