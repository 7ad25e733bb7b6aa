"""What somebody who can write to Redis may put into a stream: it runs nothing, and stops no worker (S01, S02, S04)."""

import gzip
import os
import pickle
import zlib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobqueue.app import JobQueue
from jobqueue.errors import InvalidJob, UnknownTask
from jobqueue.job import Job, decode_envelope, new_id
from jobqueue.registry import Registry
from jobqueue.repository.base import LetterFilter
from tests.integration.worker.scene import Scene
from testutil.eventually import eventually

BOMB = zlib.compress(b'{"type":"t","payload":{"a":"' + b"a" * 10_000_000 + b'"}}')


class Opens:
    """Pickled, it is a program that makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def nested(levels: int) -> bytes:
    return b'{"type":"t","payload":{"n":' + b"[" * levels + b"]" * levels + b"}}"


def hostile_bodies(trap: Path) -> dict[str, bytes]:
    program = pickle.dumps(Opens(trap))
    return {
        "pickle": program,
        "pickle, old protocol": pickle.dumps(Opens(trap), protocol=0),
        "compressed pickle": zlib.compress(program),
        "msgpack": msgspec.msgpack.encode({"type": "t", "payload": {}}),
        "zlib bomb": BOMB,
        "gzip bomb": gzip.compress(BOMB),
        "brackets": b"[" * 1_000_000,
        "nested 100 000 deep": nested(100_000),
        "long number": b'{"type":"t","payload":{},"created_ms":' + b"9" * 100_000 + b"}",
        "NaN": b'{"type":"t","payload":{"n":NaN}}',
        "a name that is a path": b'{"type":"../../etc/passwd","payload":{}}',
        "a name with a line break": b'{"type":"t\\r\\nFLUSHALL","payload":{}}',
        "nothing": b"",
    }


async def put(queue: JobQueue, *bodies: bytes) -> list[str]:
    """Write entries as only somebody with Redis itself can."""
    broker = queue.parts.redis
    assert broker is not None
    await (await broker.join(["default"])).leave()
    keys, ids = broker.keys("default"), [new_id() for _ in bodies]
    for job_id, body in zip(ids, bodies, strict=True):
        entry = await broker.call(["XADD", keys.streams[2], "*", "i", job_id, "b", body])
        await broker.call(["HSET", keys.jobs, job_id, b"2" + entry])
        await broker.call(["HINCRBY", keys.meta, "enqueued", 1])
    return ids


async def test_hostile_bodies_run_nothing_and_are_dead_letters(
    scene: Scene, registry: Registry, tmp_path: Path
) -> None:
    ran: list[Any] = []
    registry.task("t", max_retries=0)(lambda **anything: ran.append(anything))
    trap, queue = tmp_path / "trap", scene.queue()
    bodies = hostile_bodies(trap)

    ids = await put(queue, *bodies.values())
    await queue.enqueue(Job("t", {"n": "good"}))
    async with scene.working():
        await scene.ended(queue, len(ids) + 1)

    letters = {
        each.letter.job_id: each.letter for each in (await queue.dead_letters.list(LetterFilter(), limit=100))[0]
    }
    assert {letters[job_id].reason for job_id in ids} == {"unreadable"}
    assert {letters[job_id].body for job_id in ids} == set(bodies.values())
    assert all(len(letters[job_id].error_message) < 500 for job_id in ids)
    assert ran == [{"n": "good"}]
    assert not trap.exists()


@pytest.mark.parametrize(
    "payload",
    [
        b'{"n":' + b"[" * 2_000 + b"]" * 2_000 + b"}",
        b'{"n":' + b"9" * 5_000 + b"}",
        b'{"n":"\\ud800"}',
        b"[1]",
    ],
    ids=["deep", "long number", "half a surrogate", "no object"],
)
async def test_a_payload_that_cannot_be_read_fails_its_own_job_only(
    scene: Scene, registry: Registry, payload: bytes
) -> None:
    """It may be well-formed JSON, which the envelope's reader passes over."""
    ran: list[Any] = []
    registry.task("t", max_retries=0)(lambda n: ran.append(n))
    queue = scene.queue()

    await put(queue, b'{"type":"t","payload":' + payload + b"}")
    await queue.enqueue(Job("t", {"n": "good"}))
    async with scene.working():
        stats = await scene.ended(queue, 2)

    assert (stats.died, ran) == (1, ["good"])


@pytest.mark.parametrize(
    "name", ["os.system", "builtins.eval", "subprocess:run", "jobqueue.job.Job", "tests.security.test_hostile_bodies"]
)
async def test_a_job_that_names_a_python_path_finds_no_task(scene: Scene, registry: Registry, name: str) -> None:
    """S04: tasks are looked up in the registry, and nothing is imported."""
    registry.task("t")(lambda: None)
    queue = scene.queue()

    await queue.enqueue(Job(name, {"command": "exit 1"}))
    async with scene.working() as started:
        await eventually(lambda: started.settled)
        assert started.outcomes() == ["Snoozed"]
    await queue.purge("default")

    with pytest.raises(UnknownTask):
        registry.get(name)


@settings(max_examples=300)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_any_value_is_a_payload_that_is_read_back_or_refused(value: Any) -> None:
    try:
        job = Job("t", {"value": value})
    except InvalidJob:
        return

    envelope = decode_envelope(job.to_wire())

    assert msgspec.json.decode(envelope.payload) == job.payload
    assert len(job.payload_json) <= 256 * 1024
