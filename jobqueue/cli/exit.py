"""Exit codes, and how a process ends that handlers may hold up."""

import os
import sys
import threading
from typing import Final

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
UNHEALTHY: Final = 3
INTERRUPTED: Final = 130

_PATIENCE_S: Final = 2.0


def exit_soon(code: int) -> None:
    """End this process with *code* in two seconds, if it has not ended in order by then.

    Python waits at its end for every thread, so a handler that was left behind would hold it up for ever.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    timer = threading.Timer(_PATIENCE_S, os._exit, [code])
    timer.daemon = True
    timer.start()
