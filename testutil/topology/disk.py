"""A disk of a few megabytes, to fill.

with small_disk() as disk, start_topology("standalone", disk=disk):
    with fill_disk(disk):
        ...
"""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_BLOCK = 4096
_LIMIT_S = 10.0

# The disk goes when its standard input ends, which is when our process does, however it ends.
_KEEPER = """
trap '' HUP INT QUIT TERM
mount -t tmpfs -o "size=$2,mode=0755" tmpfs "$1" && echo mounted && read -r _
umount -l "$1"; rmdir "$1"
"""


def small_disk_obstacle() -> str | None:
    """Why `small_disk` cannot be used here; None when it can."""
    if os.geteuid() != 0:
        return "only root may mount a tmpfs"
    try:
        with small_disk():
            return None
    except OSError as error:
        return f"cannot mount a tmpfs: {error}"


@contextmanager
def small_disk(size_mb: int = 8) -> Iterator[Path]:
    """Mount a tmpfs; it is unmounted at the end, also when this process is killed.

    Raises:
        OSError: not allowed, or no tmpfs here.
    """
    path = tempfile.mkdtemp(prefix="jobqueue-disk-")
    keeper = subprocess.Popen(
        ["/bin/sh", "-c", _KEEPER, "keeper", path, f"{size_mb}m"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert keeper.stdin is not None
    assert keeper.stdout is not None
    try:
        if not keeper.stdout.readline():
            raise OSError(keeper.communicate(timeout=_LIMIT_S)[1].strip())
        yield Path(path)
    finally:
        keeper.stdin.close()
        keeper.wait(_LIMIT_S)
        keeper.stdout.close()


@contextmanager
def fill_disk(disk: Path) -> Iterator[None]:
    """Take all that is free on *disk*, a `small_disk`, until the end."""
    assert os.path.ismount(disk), f"{disk} is no disk of its own: filling it would fill the machine's"
    ballast = disk / "ballast"
    try:
        _fill(ballast)
        yield
    finally:
        ballast.unlink(missing_ok=True)


def _fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file:
        for _ in range(os.statvfs(ballast.parent).f_blocks + 1):
            try:
                file.write(b"\0" * _BLOCK)
            except OSError:  # ENOSPC
                return
