"""A task that tells when it ran, by the monotonic clock, which is one for all processes of a machine."""

import os
import time
from pathlib import Path

from jobqueue import Registry

registry = Registry()


@registry.task("tell")
async def tell(n: int) -> None:
    """Append a line to the file named in the environment."""
    with Path(os.environ["RUNS"]).open("a") as told:  # noqa: ASYNC230
        told.write(f"{n} {time.monotonic()}\n")
