"""Where an embedded server lives: one directory, locked for one user, kept or temporary."""

import fcntl
import os
import secrets
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from signal import Signals

from jobqueue.embedded.guard import Guard
from jobqueue.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """A server's directory: `data/`, `server.log` and `server.lock`.

    `lock` is a file descriptor. The server inherits it, and the guard of a kept one, so the directory stays
    locked until the last of them has ended, whoever dies first.
    """

    path: Path
    temporary: bool
    lock: int
    guard: Guard

    @property
    def data(self) -> Path:
        return self.path / "data"

    @property
    def log(self) -> Path:
        return self.path / "server.log"

    def discard(self) -> None:
        """Let the guard go, remove it if temporary, and unlock it."""
        self.guard.dismiss()
        if self.temporary:  # it is gone already, unless somebody killed the guard
            shutil.rmtree(self.path, ignore_errors=True)
        os.close(self.lock)


def open_home(data_dir: Path | None, kind: str, end_signal: Signals) -> Home:
    """Make and lock *data_dir*, or a temporary directory when it is None, with a guard that outlives us.

    Raises:
        ConfigError: another server uses the directory, or we may not write there.
    """
    return _temporary(kind, end_signal) if data_dir is None else _kept(data_dir, kind, end_signal)


def _temporary(kind: str, end_signal: Signals) -> Home:
    # The guard before the directory: whenever we are killed, somebody is there to remove it.
    # Absolute: the guard's own working directory is another.
    path = Path(tempfile.gettempdir()).absolute() / f"jobqueue-{kind}-{secrets.token_hex(8)}"
    guard = Guard(end_signal, remove=path)
    try:
        path.mkdir(mode=0o700)
        return Home(path=path, temporary=True, lock=_locked(path), guard=guard)
    except BaseException:
        guard.dismiss()
        raise


def _kept(data_dir: Path, kind: str, end_signal: Signals) -> Home:
    path = data_dir.expanduser().resolve()
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = _locked(path)
    except OSError as error:
        raise ConfigError(f"cannot use {path} as the data directory of an embedded {kind}: {error}") from error
    try:
        return Home(path=path, temporary=False, lock=lock, guard=Guard(end_signal, inherits=lock))
    except BaseException:
        os.close(lock)
        raise


def _locked(path: Path) -> int:
    lock = os.open(path / "server.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = os.pread(lock, 20, 0).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        raise ConfigError(
            f"the data directory {path} is in use by another embedded server (started by process {owner}); "
            f"stop that one, or choose another data_dir"
        ) from error
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock
