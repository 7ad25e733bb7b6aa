"""A task that fails for the numbers below 2, and a note of every run."""

import os
from pathlib import Path

from jobqueue import Registry

registry = Registry()


@registry.task("t", max_retries=0)
async def handler(n: int) -> None:
    """Append a line to the file named in the environment."""
    with Path(os.environ["RUNS"]).open("a") as runs:  # noqa: ASYNC230
        runs.write(f"{n}\n")
    if n % 10 < 2:
        raise ValueError("always")
