"""A wall clock that is wrong, for a server or any process, through libfaketime where that is installed.

with fake_clock() as clock, start_topology("standalone", env=clock.env):
    clock.shift(600)    # ten minutes ahead, from now on
"""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_PLACES = ("/usr/lib/*/faketime", "/usr/lib/faketime", "/usr/lib64/faketime", "/usr/local/lib/faketime")
_LIBRARY = "libfaketimeMT.so.1"


def faketime_available() -> bool:
    """Whether libfaketime (Debian: package `faketime`) is installed."""
    return _library() is not None


def faketime_obstacle() -> str | None:
    """Why `fake_clock` cannot be used here; None when it can."""
    return None if faketime_available() else "libfaketime is not installed (apt-get install faketime)"


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeClock:
    """The clock of every process that was started with *env* in its environment, its monotonic clock excepted.

    For `binary="valkey"` and Python; Debian's redis-server does not start with it, for its allocator (jemalloc)
    asks the time before libfaketime can answer.
    """

    env: Mapping[str, str]
    file: Path

    def shift(self, seconds: float) -> None:
        """Set it so far ahead of the true time, or behind; heard at once."""
        new = self.file.with_suffix(".new")
        new.write_text(f"{seconds:+f}s x1\n")
        new.rename(self.file)


@contextmanager
def fake_clock() -> Iterator[FakeClock]:
    """A clock that is right until it is shifted.

    Raises:
        FileNotFoundError: libfaketime is not installed.
    """
    library = _library()
    if library is None:
        raise FileNotFoundError(faketime_obstacle())
    with tempfile.TemporaryDirectory(prefix="jobqueue-clock-") as folder:
        file = Path(folder) / "offset"
        env = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        clock = FakeClock(env=env, file=file)
        clock.shift(0)
        yield clock


def _library() -> Path | None:
    found = (path for place in _PLACES for path in Path("/").glob(f"{place.lstrip('/')}/{_LIBRARY}"))
    return next(found, None)
