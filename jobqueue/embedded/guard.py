"""The process that ends a server, and removes its temporary data, when its owner is gone however it died."""

import subprocess
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from signal import Signals

_DISMISS_LIMIT_S = 3.0
_SCRIPT = files("jobqueue.embedded").joinpath("guard.sh").read_text(encoding="utf-8")


class Guard:
    """A shell that waits for the end of its standard input, which comes with our death or with `dismiss`.

    Args:
        end_signal: what ends the server in order.
        remove: a directory that is removed then.
        inherits: a file descriptor that stays open until then.
    """

    def __init__(self, end_signal: Signals, *, remove: Path | None = None, inherits: int | None = None) -> None:
        # Python's pipes are close-on-exec: no other child holds the writing end open after our death.
        self._process = subprocess.Popen(  # noqa: S603
            ["/bin/sh", "-c", _SCRIPT, "guard", end_signal.name.removeprefix("SIG"), str(remove or "")],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
            pass_fds=() if inherits is None else (inherits,),
        )
        assert self._process.stdin is not None
        self._stdin = self._process.stdin

    def watch(self, pid: int) -> None:
        """From now on *pid* is the server to end.

        Raises:
            BrokenPipeError: somebody killed the guard.
        """
        self._stdin.write(f"{pid}\n".encode())

    def forget(self) -> None:
        """The server has ended, and its pid may become somebody else's."""
        with suppress(BrokenPipeError):
            self._stdin.write(b"\n")

    def dismiss(self) -> None:
        """Let it do its work now, and wait until it has ended."""
        self._stdin.close()
        try:
            self._process.wait(_DISMISS_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(_DISMISS_LIMIT_S)

    def disown(self) -> None:
        """In a forked child: its end is none of the guard's business."""
        self._stdin.close()
