"""What every process of a chaos run writes down, in append-only files that survive kill -9.

A record is one line of JSON, written by one write() to a file opened with O_APPEND. `at` is wall time in
seconds, `mono` monotonic time in seconds; all processes run on one host, so both compare between them.
Files of a run's folder:

    <member>.<generation>.jsonl   records of a producer or worker (`worker-3.1.jsonl`)
    <member>.<generation>.log     what it logged, JSON lines
    crew.jsonl                    who was started, killed, stopped, continued, ended: `Event`
    faults.jsonl                  the nemesis' faults: `Fault`
    samples.jsonl                 queues, ten times a second: `sampler.Sample`
"""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec

_Record = TypeVar("_Record", bound=msgspec.Struct)


class Fault(msgspec.Struct, kw_only=True):
    """One fault of the nemesis, a line of `faults.jsonl`, written when it has ended (or at the end of the run).

    *loses* says that servers may have forgotten acknowledged writes: a killed Redis without
    `appendfsync always`, a failover. *redis_away* says that no client could reach Redis, or one of its shards,
    or that Redis stood still: reapers may grant an amnesty of one lease after it.
    """

    n: int
    kind: str
    target: str = ""
    began: float
    ended: float
    loses: bool = False
    redis_away: bool = False
    note: str = ""


class Event(msgspec.Struct, kw_only=True):
    """Something done to a member of the crew. *what*: started, killed (-9), stopped, continued, terminated,
    ended (it had ended by itself)."""

    at: float
    what: str
    member: str
    generation: int
    pid: int
    code: int | None = None


class Call(msgspec.Struct, kw_only=True, tag_field="kind", tag="call"):
    """An enqueue, cancel or requeue about to be sent. *n* pairs it with its `Answer` in the same file."""

    at: float
    n: int
    op: str
    id: str
    queue: str = ""
    type: str = ""
    due: float = 0.0
    """Wall time before which it must not start; 0: at once."""
    key: str = ""
    unique: str = ""
    expires: bool = False
    durability: str = ""


class Answer(msgspec.Struct, kw_only=True, tag_field="kind", tag="answer"):
    """What came of a call. Of enqueue: new, exists, conflict, refused, failed (nothing was queued), uncertain.
    Of cancel: cancelled, running, none, failed. Of requeue: requeued, not, refused, failed. *as_id* is the id that
    an enqueue was answered with."""

    at: float
    n: int
    op: str
    id: str
    answer: str
    as_id: str = ""
    note: str = ""


class Start(msgspec.Struct, kw_only=True, tag_field="kind", tag="start"):
    """A handler began."""

    at: float
    mono: float
    id: str
    queue: str
    type: str
    attempt: int
    worker: str
    pid: int


class End(msgspec.Struct, kw_only=True, tag_field="kind", tag="end"):
    """A handler ended. *how*: returned, raised, cancelled."""

    at: float
    mono: float
    id: str
    attempt: int
    worker: str
    pid: int
    how: str


class Settled(msgspec.Struct, kw_only=True, tag_field="kind", tag="settled"):
    """The broker confirmed a settlement."""

    at: float
    id: str
    queue: str
    generation: int
    attempt: int
    outcome: str
    worker: str
    delay_ms: int = 0


class SelfKill(msgspec.Struct, kw_only=True, tag_field="kind", tag="self_kill"):
    """A handler is about to kill its own process."""

    at: float
    id: str
    attempt: int
    worker: str
    pid: int


class Rejected(msgspec.Struct, kw_only=True, tag_field="kind", tag="rejected"):
    """The broker refused settlements: their worker had been reaped."""

    at: float
    worker: str
    jobs: int


class Ticked(msgspec.Struct, kw_only=True, tag_field="kind", tag="ticked"):
    """The job of a tick runs. *mark*: of the edit whose version made it; *tick_ms* 0: somebody asked for it."""

    at: float
    id: str
    schedule: str
    tick_ms: int
    mark: str


class Editing(msgspec.Struct, kw_only=True, tag_field="kind", tag="editing"):
    """A schedule is about to be edited: upsert, pause, resume, remove, run, backfill."""

    at: float
    n: int
    op: str
    name: str
    mark: str


class Edited(msgspec.Struct, kw_only=True, tag_field="kind", tag="edited"):
    """What came of it: done, refused, uncertain. *version*: after it; *jobs*: that it made."""

    at: float
    n: int
    op: str
    name: str
    mark: str
    answer: str
    version: int = 0
    jobs: list[str] = []
    note: str = ""


Record = Call | Answer | Start | End | Settled | SelfKill | Rejected | Ticked | Editing | Edited


class Logged(msgspec.Struct, kw_only=True):
    """A line of a member's log."""

    member: str
    generation: int
    at: float
    event: str
    fields: dict[str, Any]


class Writer:
    """Appends records to one file, each by one write(), from any thread."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._encode = msgspec.json.Encoder().encode

    def write(self, record: msgspec.Struct) -> None:
        os.write(self._fd, self._encode(record) + b"\n")

    def close(self) -> None:
        os.close(self._fd)


def now() -> float:
    """Wall time, s."""
    return time.time()


def read(path: Path, kind: Any) -> list[Any]:
    """The records of one file; a last line that was not written whole is left out."""
    if not path.exists():
        return []
    decode = msgspec.json.Decoder(kind).decode
    return [decode(line) for line in path.read_bytes().split(b"\n")[:-1] if line]


def read_faults(folder: Path) -> list[Fault]:
    return read(folder / "faults.jsonl", Fault)


def read_events(folder: Path) -> list[Event]:
    return read(folder / "crew.jsonl", Event)


def read_records(folder: Path) -> Iterator[tuple[str, Record]]:
    """Every record of every member, with the member's file name without its ending."""
    for path in sorted(folder.glob("*-*.jsonl")):
        for record in read(path, Record):
            yield path.stem, record


def read_logs(folder: Path) -> list[Logged]:
    """Every JSON line that members logged, in order of time; other lines, such as tracebacks, are left out."""
    found: list[Logged] = []
    for path in sorted(folder.glob("*-*.log")):
        member, _, generation = path.stem.rpartition(".")
        for line in path.read_bytes().split(b"\n")[:-1]:
            with suppress(msgspec.DecodeError):
                fields = msgspec.json.decode(line, type=dict[str, Any])
                at = datetime.fromisoformat(fields.pop("timestamp")).timestamp()
                event = fields.pop("event")
                found.append(Logged(member=member, generation=int(generation), at=at, event=event, fields=fields))
    return sorted(found, key=lambda line: line.at)
