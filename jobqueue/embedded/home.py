"""Where an embedded server lives: one directory, locked for one user, kept or temporary."""

import fcntl
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from jobqueue.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """A server's directory: `data/`, `server.log` and `server.lock`.

    `lock` is a file descriptor. The guard and the server inherit it, so the directory stays locked until
    the last of them has ended, whoever dies first.
    """

    path: Path
    temporary: bool
    lock: int

    @property
    def data(self) -> Path:
        return self.path / "data"

    @property
    def log(self) -> Path:
        return self.path / "server.log"

    def discard(self) -> None:
        """Remove it if temporary, and unlock it."""
        if self.temporary:
            shutil.rmtree(self.path, ignore_errors=True)
        os.close(self.lock)


def open_home(data_dir: Path | None, kind: str) -> Home:
    """Make and lock *data_dir*, or a temporary directory when it is None.

    Raises:
        ConfigError: another server uses the directory, or we may not write there.
    """
    if data_dir is None:
        return _locked(Path(tempfile.mkdtemp(prefix=f"jobqueue-{kind}-")), temporary=True)
    path = data_dir.expanduser().resolve()
    try:
        path.mkdir(parents=True, exist_ok=True)
        return _locked(path, temporary=False)
    except OSError as error:
        raise ConfigError(f"cannot use {path} as the data directory of an embedded {kind}: {error}") from error


def _locked(path: Path, *, temporary: bool) -> Home:
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
    return Home(path=path, temporary=temporary, lock=lock)
