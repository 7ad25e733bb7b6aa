"""A system under measurement: an adapter script, run by an interpreter of its own."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.harness.error import Failed

ROOT = Path(__file__).parents[2]
ADAPTERS = ROOT / "benchmarks" / "systems"
CACHE = Path(os.environ.get("JOBQUEUE_BENCH_CACHE", "~/.cache/jobqueue-bench")).expanduser()

PRODUCE_LIMIT_S = 120.0
STOP_LIMIT_S = 30.0
_LOG_TAIL = 600
# What the shell of whoever runs the suite may have set, and must not change a figure.
_NOT_PASSED = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "REDIS_URL", "DATABASE_URL", "PYTHONDEVMODE")


@dataclass(frozen=True, slots=True)
class Produced:
    """What a producer told of its timed part."""

    seconds: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class System:
    """An adapter and the command that runs it."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)

    def describe(self) -> dict:
        return json.loads(_last_line(self._complete("describe", {}, limit_s=30)))

    def produce(self, **options: object) -> Produced:
        """Run the producer to its end."""
        complete = {
            "first": 0,
            "delay_s": 0,
            "interval_s": 0,
            "tally": None,
            "capacity": 0,
            "results": False,
            **options,
        }
        told = json.loads(_last_line(self._complete("produce", complete, limit_s=PRODUCE_LIMIT_S)))
        return Produced(told["seconds"], told["cpu_seconds"])

    @contextmanager
    def working(self, **options: object) -> Iterator["Worker"]:
        """A running worker, which is stopped at the end, by force if it must be."""
        with tempfile.TemporaryFile("w+") as log:
            process = subprocess.Popen(
                [*self.command, "work", json.dumps({"results": False, **options})],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment(),
                cwd=tempfile.gettempdir(),
                start_new_session=True,
            )
            worker = Worker(process, log)
            try:
                yield worker
            finally:
                worker.stop()

    def _complete(self, command: str, options: dict, *, limit_s: float) -> str:
        try:
            done = subprocess.run(
                [*self.command, command, json.dumps(options)],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                env=self._environment(),
                cwd=tempfile.gettempdir(),
                timeout=limit_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Failed(f"{command} took longer than {limit_s:.0f} s") from None
        if done.returncode:
            raise Failed(f"{command} ended with code {done.returncode}: {done.stderr[-_LOG_TAIL:].strip()}")
        return done.stdout

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in _NOT_PASSED}
        return {**kept, **self.environment}


class Worker:
    """A worker's process tree."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: object) -> None:
        self._process = process
        self._log = log

    def check(self) -> None:
        """Raises Failed when the worker has ended by itself."""
        if self._process.poll() is not None:
            raise Failed(f"the worker ended with code {self._process.returncode}: {self.log_tail()}")

    def cpu_seconds(self) -> float:
        """User and system time of all its processes so far."""
        return sum(sum(each.cpu_times()[:2]) for each in self._tree())

    def peak_rss_bytes(self) -> int:
        """The highest resident size that each of its processes ever had, summed."""
        return sum(_peak(each.pid) for each in self._tree())

    def log_tail(self) -> str:
        self._log.seek(0)
        return self._log.read()[-_LOG_TAIL:].strip()

    def stop(self) -> None:
        """Ask it to end, and end what is left of its session when it does not."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self._kill_session()
            self._process.wait(STOP_LIMIT_S)

    def _kill_session(self) -> None:
        """Its session is ours to end: it began with this process, and nobody else joined it."""
        for each in psutil.process_iter():
            try:
                if os.getsid(each.pid) == self._process.pid:
                    each.kill()
            except (psutil.Error, OSError):
                continue

    def _tree(self) -> list[psutil.Process]:
        try:
            first = psutil.Process(self._process.pid)
            return [first, *first.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


def find_systems(names: list[str] | None = None) -> dict[str, Path]:
    """The adapters there are, by system; those of *names* in that order, or all, jobqueue and the floors first."""
    found = {
        path.name.partition("_adapter.")[0]: path
        for path in sorted(ADAPTERS.glob("*_adapter.*"))
        if path.suffix in (".py", ".mjs")
    }
    if names is not None:
        unknown = [name for name in names if name not in found]
        if unknown:
            raise Failed(f"no such system: {', '.join(unknown)} (there are: {', '.join(found)})")
        return {name: found[name] for name in names}
    ours = [name for name in found if name == "jobqueue" or name.startswith("floor_")]
    return {name: found[name] for name in [*sorted(ours, reverse=True), *(name for name in found if name not in ours)]}


def in_this_python(name: str) -> System:
    """jobqueue or a floor, run by the harness's own interpreter from this checkout: nothing has to be installed."""
    command = (sys.executable, str(ADAPTERS / f"{name}_adapter.py"))
    return System(name, command, {"PYTHONPATH": str(ROOT)})


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    if not lines:
        raise Failed("the adapter printed nothing")
    return lines[-1]


def _peak(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0
