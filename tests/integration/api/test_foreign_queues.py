"""A key of some queues sees nothing of the others: they are left out of lists, and their jobs do not exist (404)."""

from dataclasses import dataclass
from typing import Any

import pytest

from jobqueue.access.scope import Scope
from jobqueue.app import JobQueue
from jobqueue.job import Job
from jobqueue.registry import Registry
from jobqueue.repository.base import LetterFilter
from tests.integration.api.conftest import Api, Serve, make_key
from tests.integration.search.scene import DEAD, ended, job, running, scheduled
from testutil.eventually import eventually

pytestmark = pytest.mark.timeout(90)

ALL = tuple(Scope)
MINE = ("mail", "mail.eu*")


@dataclass
class Scene:
    """The same jobs in a queue of the key's and in one that is not."""

    api: Api
    ids: dict[str, dict[str, str]]

    @property
    def foreign(self) -> list[str]:
        return list(self.ids["bank"].values())


@pytest.fixture
async def scene(guarded: Api, queue: JobQueue) -> Scene:
    ids: dict[str, dict[str, str]] = {}
    workers = []
    for name in ("mail", "bank"):
        ids[name] = {
            "completed": await ended(queue, job(queue=name)),
            "dead": await ended(queue, job(queue=name), DEAD),
            "scheduled": await scheduled(queue, job(queue=name)),
        }
        run, worker = await running(queue, job(queue=name))
        ids[name]["running"] = run
        ids[name]["queued"] = (await queue.enqueue(Job("email.send", {"n": 1}, queue=name))).id
        workers.append(worker)
        await queue.get(ids[name]["completed"])  # what has ended is shipped
    limited = guarded.holding(await make_key(queue, *ALL, queues=MINE))
    return Scene(api=limited, ids=ids)


LISTS = ["/jobs", "/dlq", "/dlq/groups", "/executions", "/executions/errors", "/queues", "/workers", "/overview"]


@pytest.mark.parametrize("path", LISTS)
async def test_lists_leave_the_others_out(scene: Scene, path: str) -> None:
    async def shown() -> str:
        """The overview is up to two seconds old."""
        text = str(await scene.api.get(path))
        return text if "'mail'" in text else ""

    assert "bank" not in await eventually(shown, within_s=30)


@pytest.mark.parametrize("path", ["/jobs", "/dlq", "/dlq/groups", "/executions", "/executions/errors"])
async def test_to_ask_for_a_foreign_queue_finds_nothing(scene: Scene, path: str) -> None:
    assert (await scene.api.get(path, params={"queue": "bank"}))["items"] == []


async def test_tasks_of_foreign_queues_are_not_told(queue: JobQueue, serve: Serve) -> None:
    registry = Registry()
    registry.task("mail.send", queue="mail")(lambda to: None)
    registry.task("bank.pay", queue="bank")(lambda account: None)
    api = await serve(queue, registry=registry)
    limited = api.holding(await make_key(queue, *ALL, queues=MINE))

    assert [each["name"] for each in (await limited.get("/tasks"))["items"]] == ["mail.send"]


async def test_statistics_count_the_keys_own_queues(scene: Scene) -> None:
    mine = await scene.api.get("/executions/stats")

    assert mine["outcomes"] == {"completed": 1, "dead": 1}
    assert (await scene.api.get("/executions/stats", params={"queue": "bank"}))["outcomes"] == {}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/jobs/{}"),
        ("DELETE", "/jobs/{}"),
        ("POST", "/jobs/{}/retry"),
        ("GET", "/dlq/{}"),
        ("DELETE", "/dlq/{}"),
        ("POST", "/dlq/{}/retry"),
        ("GET", "/events?job={}"),
    ],
)
async def test_foreign_jobs_do_not_exist(scene: Scene, queue: JobQueue, method: str, path: str) -> None:
    told = set()
    for job_id in [*scene.foreign, "01a20373-42c7-7775-96f9-c2e098cf256a"]:
        problem = await scene.api.refused("not-found", method, path.format(job_id))
        told.add(problem["detail"].replace(job_id, "ID"))

    assert len(told) == 1, "foreign is told apart from unknown"
    stats = await queue.stats("bank")
    assert (stats.running, stats.depth, stats.delayed) == (1, 1, 1)


@pytest.mark.parametrize("what", ["stats", "depth"])
async def test_foreign_queues_do_not_exist(scene: Scene, what: str) -> None:
    await scene.api.get(f"/queues/mail/{what}")
    await scene.api.refused("not-found", "GET", f"/queues/bank/{what}")


@pytest.mark.parametrize("what", ["pause", "resume", "purge"])
async def test_foreign_queues_are_not_touched(scene: Scene, queue: JobQueue, what: str) -> None:
    body = {"confirm": "bank"} if what == "purge" else {}

    await scene.api.refused("not-found", "POST", f"/queues/bank/{what}", json=body)

    stats = await queue.stats("bank")
    assert not stats.paused
    assert stats.depth == 1


@pytest.mark.parametrize(
    ("path", "chosen"),
    [
        ("/jobs/cancel", {}),
        ("/jobs/cancel", {"queue": "bank"}),
        ("/jobs/retry", {"state": "scheduled"}),
        ("/jobs/retry", {"state": "dead"}),
        ("/jobs/retry", {"state": "dead", "queue": "bank"}),
        ("/dlq/retry", {}),
        ("/dlq/retry", {"queue": "bank"}),
        ("/dlq/delete", {}),
        ("/dlq/delete", {"queue": "bank"}),
    ],
)
async def test_actions_on_many_leave_foreign_jobs_alone(
    scene: Scene, queue: JobQueue, path: str, chosen: dict[str, Any]
) -> None:
    before = await queue.stats("bank"), await dead(queue, "bank")

    counted = await scene.api.post(path, {"filter": chosen, "dry_run": True})
    done = await scene.api.post(path, {"filter": chosen})

    if "queue" in chosen:
        assert (counted["matched"], done["done"]) == (0, 0)
    else:
        assert done["done"] >= 1
    after = await queue.stats("bank"), await dead(queue, "bank")
    assert (before[0].depth, before[0].delayed, before[0].cancelled) == (
        after[0].depth,
        after[0].delayed,
        after[0].cancelled,
    )
    assert before[1] == after[1]


async def test_foreign_queues_take_no_jobs_of_the_key(scene: Scene) -> None:
    await scene.api.refused("forbidden", "POST", "/jobs", json={"type": "a", "queue": "bank"})
    await scene.api.refused("forbidden", "POST", "/jobs", json={"type": "a"})
    await scene.api.expect(201, "POST", "/jobs", json={"type": "a", "queue": "mail.eu.west"})

    answer = await scene.api.post("/jobs/batch", {"jobs": [{"type": "a", "queue": each} for each in ("mail", "bank")]})

    assert [each["status"] for each in answer["results"]] == ["new", "refused"]


async def test_a_key_gives_no_rights_that_it_lacks(scene: Scene, guarded: Api, queue: JobQueue) -> None:
    for queues in (["*"], ["bank"], ["mail*"], ["m*"]):
        await scene.api.refused("forbidden", "POST", "/keys", json={"name": "x", "queues": queues})
    await scene.api.expect(201, "POST", "/keys", json={"name": "x", "queues": ["mail", "mail.eu.*"]})
    poor = guarded.holding(await make_key(queue, Scope.KEYS_ADMIN))
    problem = await poor.refused("forbidden", "POST", "/keys", json={"name": "x"})
    assert "jobs:enqueue" in problem["detail"]


async def test_a_key_of_some_queues_sees_no_keys_of_others_and_no_audit_log(scene: Scene, queue: JobQueue) -> None:
    await make_key(queue, Scope.JOBS_READ, queues=("bank",))
    (others,) = [each for each in await keys(queue) if each.queues == ("bank",)]

    assert {tuple(each["queues"]) for each in (await scene.api.get("/keys"))["items"]} == {MINE}
    await scene.api.refused("not-found", "DELETE", f"/keys/{others.id}")
    await scene.api.refused("not-found", "POST", f"/keys/{others.id}/rotate")
    await scene.api.refused("forbidden", "GET", "/audit")


async def test_the_overview_and_the_metrics_do_not_count_foreign_jobs(scene: Scene) -> None:
    async def counted() -> bool:
        overview = await scene.api.get("/overview")
        return [overview[each] for each in ("ready", "running", "delayed", "dead")] == [1, 1, 1, 1]

    await eventually(counted, within_s=30)
    assert (await scene.api.call("GET", "/metrics")).status == 403


async def dead(queue: JobQueue, name: str) -> list[str]:
    letters, _ = await queue.dead_letters.list(LetterFilter(queue=name), limit=100)
    return [each.letter.job_id for each in letters]


async def keys(queue: JobQueue) -> Any:
    assert queue.parts.access is not None
    return await queue.parts.access.keys.list()
