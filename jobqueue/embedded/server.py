"""What embedded Redis and Postgres have in common: start on a free port, stop, fail on request, start again."""

import os
import random
import socket
import time
from abc import ABC, abstractmethod
from pathlib import Path
from signal import Signals
from types import TracebackType
from typing import ClassVar, Self

from jobqueue.embedded.home import Home, open_home
from jobqueue.embedded.supervisor import AddressInUse, EmbeddedServerError, Supervisor

# Below the ephemeral ports of Linux (32768) and macOS (49152): while a server is down, no outgoing
# connection may take its port, least of all a client's attempt to reconnect, which can meet itself there.
_PORTS = range(15_000, 32_000)
_PORT_TRIES = 20
_RESTART_LIMIT_S = 10.0

_random = random.SystemRandom()  # a forked process must not draw the ports of its sibling


class Server(ABC):
    """A running server; a context manager that stops it at its end."""

    kind: ClassVar[str]
    end_signal: ClassVar[Signals]  # ends it in order when nothing gentler did, and when its owner is gone
    port: int
    version: str

    def __init__(self, data_dir: Path | None) -> None:
        self._open(data_dir)

    def _open(self, data_dir: Path | None) -> None:
        self._home = open_home(data_dir, self.kind, self.end_signal)
        try:
            self._supervisor = self._supervise(self._home)
        except BaseException:
            self._home.discard()
            raise
        self._stopped = False

    def _start(self) -> Self:
        try:
            self._prepare()
            self._launch_on_a_free_port()
            self._greet()
        except BaseException:
            self.stop()
            raise
        return self

    def _launch_on_a_free_port(self) -> None:
        for tries_left in reversed(range(_PORT_TRIES)):
            self.port = free_port()
            try:
                return self._launch()
            except AddressInUse:  # another process was faster
                if not tries_left:
                    raise
        return None

    def _launch(self) -> None:
        self._supervisor.launch(self._argv(), self._is_ready)

    @property
    def url(self) -> str:
        """Where clients connect; the same after `restart`."""
        raise NotImplementedError

    @property
    def pid(self) -> int:
        """The server's process id.

        Raises:
            EmbeddedServerError: it is not running.
        """
        pid = self._supervisor.pid
        if pid is None:
            raise EmbeddedServerError(f"the embedded {self.kind} is not running; restart() starts it again")
        return pid

    @property
    def data_dir(self) -> Path:
        """The directory with the server's data, its lock, and its log, `server.log`."""
        return self._home.path

    def stop(self) -> None:
        """End the server in order, by force if it will not within 10 s, and remove temporary data.

        Does nothing when it was stopped before, or in a fork of the process that started it.
        """
        if not self._stopped:
            self._stopped = True
            self._supervisor.release()

    def kill(self) -> None:
        """SIGKILL the server, for tests of failure. Its data stays for `restart`; a paused one can be killed."""
        self._supervisor.kill()

    def restart(self) -> None:
        """Start again on the same port and data; a server that still runs is ended in order first.

        Raises:
            ConfigError: the server was stopped, and its data directory has a new user.
            EmbeddedServerError: it did not start, or was stopped and its data was temporary.
        """
        if self._stopped and self._home.temporary:
            raise EmbeddedServerError(
                f"the embedded {self.kind} cannot restart: stop() removed its temporary data; "
                f"give it a data_dir, or restart() without stop()"
            )
        if self._stopped:
            self._open(self._home.path)
        self._supervisor.end()
        self._launch_on_the_same_port()

    def _launch_on_the_same_port(self) -> None:
        deadline = time.monotonic() + _RESTART_LIMIT_S
        while True:
            try:
                return self._launch()
            except AddressInUse:  # the last connections of a killed server may still be closing
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def pause(self) -> None:
        """Stop the server's clock (SIGSTOP): it keeps its connections and answers nobody."""
        self._supervisor.pause()

    def resume(self) -> None:
        """Let a paused server go on (SIGCONT)."""
        self._supervisor.resume()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url} in {self.data_dir}{' stopped' if self._stopped else ''}>"

    @abstractmethod
    def _supervise(self, home: Home) -> Supervisor: ...

    @abstractmethod
    def _prepare(self) -> None:
        """Make the data ready for the first start."""

    @abstractmethod
    def _argv(self) -> list[str]: ...

    @abstractmethod
    def _is_ready(self, pid: int) -> bool:
        """Whether the server that answers is *pid*, and not another process that won the race for our port."""

    @abstractmethod
    def _greet(self) -> None:
        """Learn what the running server says of itself."""


def free_port() -> int:
    """A loopback port that is free now; somebody else may take it before the server does."""
    for _ in range(100):
        port = _random.choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise EmbeddedServerError(f"no free port on 127.0.0.1 from {_PORTS.start} to {_PORTS.stop - 1}")


def environment() -> dict[str, str]:
    """This process's environment, less what would change how a server, or psql, behaves."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_"))}
    # LC_ALL: we read their messages. TZ: saves initdb the search for the machine's zone.
    return inherited | {"LC_ALL": "C", "TZ": "UTC"}
