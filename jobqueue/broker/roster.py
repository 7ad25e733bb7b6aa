"""Who works on a queue: the name of an incarnation, and what it tells of itself in `T:roster`."""

import os
import re
import socket
import uuid

import msgspec

from jobqueue.broker.base import WorkerInfo


class Entry(msgspec.Struct, omit_defaults=True):
    """What a worker tells when it joins, as JSON."""

    host: str | None = None
    pid: int | None = None
    slots: int | None = None


def consumer_name() -> str:
    """A name for one incarnation: host, process, and what nobody else has."""
    host = re.sub(r"[^A-Za-z0-9_.-]", "_", socket.gethostname())[:64] or "host"
    return f"{host}:{os.getpid()}:{uuid.uuid4().hex[:12]}"


def own_entry(slots: int | None) -> bytes:
    """The entry of this process."""
    return msgspec.json.encode(Entry(host=socket.gethostname()[:255], pid=os.getpid(), slots=slots))


def worker(kept: bytes | None, *, name: str, queue: str, running: int, lease_ms: int) -> WorkerInfo:
    """A worker with its entry as register.lua keeps it; None: it told nothing."""
    known = WorkerInfo(name=name, queue=queue, running=running, lease_ms=lease_ms)
    if kept is not None:
        started_ms, _, facts = kept.partition(b" ")
        told = msgspec.json.decode(facts, type=Entry)
        known.started_ms, known.host, known.pid, known.slots = int(started_ms), told.host, told.pid, told.slots
    return known
