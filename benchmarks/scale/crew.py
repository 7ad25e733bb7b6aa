"""Real worker processes on a private server."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import psutil

from benchmarks.scale.lab import KEYS
from benchmarks.scale.probe import Probe
from jobqueue.embedded import RedisServer

_START_LIMIT_S = 180.0
_END_LIMIT_S = 60.0


def jobqueue(arguments: Sequence[str], server: RedisServer) -> subprocess.Popen[bytes]:
    """Start a `jobqueue` command on this server, settings at their defaults."""
    names = ("JOBQUEUE_", "WORKER_", "DATABASE_URL", "REDIS_URL", "LOG_", "JOB_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(names)}
    environment = {**kept, "REDIS_URL": server.url, "LOG_LEVEL": "error", "PYTHONPATH": os.pathsep.join(sys.path)}
    folder = Path(server.data_dir, "app")
    folder.mkdir(exist_ok=True)
    return subprocess.Popen([sys.executable, "-m", "jobqueue", *arguments], cwd=folder, env=environment)


class Crew:
    """So many `jobqueue worker` processes; entered, when all have joined and fallen asleep on an empty queue."""

    def __init__(self, count: int, server: RedisServer, probe: Probe, *, concurrency: int) -> None:
        self._count = count
        self._server = server
        self._probe = probe
        self._arguments = ["worker", "-A", "benchmarks.scale.app", "-q", "default", "-c", str(concurrency)]
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        try:
            self._processes += [jobqueue(self._arguments, self._server) for _ in range(self._count)]
            self._wait_until_joined()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _wait_until_joined(self) -> None:
        deadline = time.monotonic() + _START_LIMIT_S
        while self._probe.ask("ZCARD", KEYS.workers) < self._count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"not all of {self._count} workers have joined within {_START_LIMIT_S:.0f} s")
            time.sleep(0.1)
        time.sleep(3)

    def signal(self, number: signal.Signals) -> None:
        """Send all a signal."""
        for process in self._processes:
            process.send_signal(number)

    def cpu_us(self) -> float:
        """CPU that all have used."""
        return sum(sum(psutil.Process(each.pid).cpu_times()[:2]) for each in self._processes) * 1e6

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(_END_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
