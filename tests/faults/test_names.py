"""Names that could break a key, and applications that share a Redis."""

from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from jobqueue.app import JobQueue
from jobqueue.errors import ConfigError, InvalidJob
from jobqueue.job import Job
from jobqueue.registry import Registry
from jobqueue.runner import Worker
from tests.contract.scene import raised
from tests.integration.worker.scene import Scene


@pytest.mark.parametrize(
    "name",
    ["a}b{c", "{}", "*", "a\r\nFLUSHALL\r\n", "", "a b", "-a", "ä", "a\0", "x" * 65],
    ids=lambda name: ascii(name)[:12],
)
async def test_f55_a_name_that_could_break_a_key_is_refused_everywhere(scene: Scene, name: str) -> None:
    """A queue or namespace with such a name is refused wherever a name comes in, and nothing is sent."""
    queue = scene.queue()
    entries: list[Callable[[], Awaitable[object]]] = [
        lambda: queue.enqueue(Job("t", {}), queue=name),
        lambda: queue.stats(name),
        lambda: queue.pause(name),
        lambda: queue.purge(name),
        lambda: queue.workers(name),
        lambda: queue.get(Job("t", {}).id, queue=name),
        lambda: queue.cancel(Job("t", {}).id, queue=name),
        lambda: queue.parts.broker.join([name]),
        lambda: queue.parts.broker.reap(name),
    ]

    errors = [await raised(entry) for entry in entries]

    assert [type(each) for each in errors] == [InvalidJob] * len(entries)
    with pytest.raises(ConfigError):
        Worker(queue, scene.registry, queues=[name])
    with pytest.raises(ConfigError):
        JobQueue.connect(scene.url, namespace=name)
    assert await queue.queues() == []


async def test_f85_two_applications_on_one_redis_do_not_see_each_other(scene: Scene, namespace: str) -> None:
    """Two namespaces share nothing: same queue, job ids and keys, and each runs its own."""
    ran: Counter[str] = Counter()
    other = Scene(scene.url, f"{namespace}_other", registry=Registry())
    mine, theirs = scene.queue(), other.queue()
    job = Job("t", {"n": 1}, unique_key="u")
    for queue in (mine, theirs):
        assert (await queue.enqueue(job, idempotency_key="k")).created

    for each, who in ((scene, "mine"), (other, "theirs")):
        each.registry.task("t")(lambda n, who=who: ran.update([who]))
    async with scene.working():
        await scene.ended(mine, 1)
        assert (await theirs.stats("default")).depth == 1
        assert await theirs.workers("default") == []
    await mine.purge("default")
    async with other.working():
        await other.ended(theirs, 1)
    await other.close()

    assert ran == Counter(["mine", "theirs"])
