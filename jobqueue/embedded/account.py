"""As whom a server runs that refuses to run as root."""

import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from jobqueue.embedded.home import Home
from jobqueue.errors import ConfigError

_ROOT = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A user that is not root."""

    uid: int
    gid: int


def server_account(home: Home) -> Account | None:
    """The owner of the data, or `nobody` when it is new; None when we are not root ourselves.

    Raises:
        ConfigError: this user cannot enter the home; the message names the directory that bars the way.
    """
    if os.geteuid() != _ROOT:
        return None
    account = _owner(home.data) or _nobody()
    if home.temporary:
        home.path.chmod(0o711)
    if (bar := _bar(home.path, account)) is not None:
        raise ConfigError(
            f"Postgres refuses to run as root, so it runs as uid {account.uid}, who may not enter {bar}; "
            f"allow it (chmod o+x {bar}), choose another data_dir or TMPDIR, or do not run as root"
        )
    return account


def may_enter(directory: Path, account: Account) -> bool:
    """Whether *account* may go to *directory*, as far as permission bits tell."""
    return _bar(directory, account) is None


def _bar(directory: Path, account: Account) -> Path | None:
    way = [directory, *directory.parents]
    return next((step for step in reversed(way) if not _is_open(step, account)), None)


def _is_open(directory: Path, account: Account) -> bool:
    status = directory.stat()
    if status.st_uid == account.uid:
        return bool(status.st_mode & 0o100)
    return bool(status.st_mode & (0o010 if status.st_gid == account.gid else 0o001))


def _owner(data: Path) -> Account | None:
    if not data.exists() or (status := data.stat()).st_uid == _ROOT:
        return None
    return Account(uid=status.st_uid, gid=status.st_gid)


def _nobody() -> Account:
    entry = pwd.getpwnam("nobody")
    return Account(uid=entry.pw_uid, gid=entry.pw_gid)
