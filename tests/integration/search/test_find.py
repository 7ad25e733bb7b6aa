"""Jobs are found in every state and place, page by page, over each kind of queue."""

import itertools
from datetime import timedelta

import pytest

from jobqueue.app import JobQueue
from jobqueue.errors import ConfigError, JobQueueError, RepositoryUnavailable
from jobqueue.job import PRIORITIES, Job, JobState, new_id
from jobqueue.outcome import COMPLETED, Expired
from jobqueue.search import JobFilter, finder
from tests.contract.scene import settle, take_one
from tests.integration.search.scene import (
    DEAD,
    HOUR,
    RETRYING,
    ended,
    every,
    ids,
    job,
    queued,
    running,
    scheduled,
)

LIVE = (JobState.SCHEDULED, JobState.QUEUED, JobState.RUNNING, JobState.RETRYING)


@pytest.fixture
def history(kind: str) -> None:
    if kind != "postgres":
        pytest.skip("history is in Postgres")


async def test_a_job_is_found_by_its_state(queue: JobQueue) -> None:
    dead = await ended(queue, job(), DEAD)
    retrying = await ended(queue, job(), RETRYING)
    due = await scheduled(queue, job())
    runs, _ = await running(queue, job())
    (waits,) = await queued(queue, job())

    found = {state: await ids(queue, JobFilter(state=state)) for state in (*LIVE, JobState.DEAD)}

    assert found == {
        JobState.SCHEDULED: [due],
        JobState.QUEUED: [waits],
        JobState.RUNNING: [runs],
        JobState.RETRYING: [retrying],
        JobState.DEAD: [dead],
    }


async def test_without_a_state_live_jobs_come_first_and_the_newest_end_after_them(queue: JobQueue) -> None:
    dead = [await ended(queue, job(), DEAD) for _ in range(3)]
    later = await scheduled(queue, job(), delay=2 * HOUR)
    due = await scheduled(queue, job())
    runs, _ = await running(queue, job())
    waits = await queued(queue, job(), job())

    assert await ids(queue) == [runs, *waits, due, later, *reversed(dead)]


@pytest.mark.usefixtures("history")
async def test_every_ended_state_is_found_in_the_history(queue: JobQueue) -> None:
    completed = await ended(queue, job())
    expired = await ended(queue, job(), Expired())
    (cancelled,) = await queued(queue, job())
    await queue.cancel(cancelled)

    found = {each.state: each.id for each in await every(queue)}

    assert found == {JobState.COMPLETED: completed, JobState.EXPIRED: expired, JobState.CANCELLED: cancelled}
    for state, job_id in found.items():
        assert await ids(queue, JobFilter(state=state)) == [job_id]


@pytest.mark.parametrize("kind", ["memory", "redis"], indirect=True)
async def test_without_postgres_asking_for_completed_jobs_says_what_is_missing(queue: JobQueue) -> None:
    await ended(queue, job())

    assert await ids(queue) == []
    with pytest.raises(JobQueueError, match=r"completed jobs are known only from Postgres.*DATABASE_URL"):
        await queue.find(JobFilter(state=JobState.COMPLETED))


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 50])
async def test_pages_of_any_size_show_every_job_once(queue: JobQueue, limit: int) -> None:
    made = {await ended(queue, job(queue=name), DEAD) for name in ("mail", "web") for _ in range(2)}
    made |= {(await running(queue, job(queue=name)))[0] for name in ("mail", "web")}
    for name, priority in itertools.product(("mail", "web", "zoo"), PRIORITIES):
        made |= set(await queued(queue, job(queue=name).replace(priority=priority)))
        made.add(await scheduled(queue, job(queue=name).replace(priority=priority)))

    found = await ids(queue, limit=limit)

    assert len(found) == len(set(found))
    assert set(found) == made


async def test_jobs_are_found_by_type_and_queues(queue: JobQueue) -> None:
    mail, web, zoo = await queued(queue, job("a"), job("b", "web"), job("a", "zoo"))
    dead = await ended(queue, job("a", "attic"), DEAD)

    assert await ids(queue, JobFilter(type="a")) == [mail, zoo, dead]
    assert await ids(queue, JobFilter(queue="web")) == [web]
    assert await ids(queue, JobFilter(queues=("web", "attic", "none"))) == [web, dead]
    assert await ids(queue, JobFilter(queue="web", queues=("mail",))) == []
    assert await ids(queue, JobFilter(queues=())) == []
    assert await ids(queue, JobFilter(queue="none")) == []
    assert await ids(queue, JobFilter(type="a", queues=("attic",))) == [dead]


async def test_words_are_found_in_payload_and_error(queue: JobQueue) -> None:
    dead = await ended(queue, job(to="bob@example.org", note="one\ntwo"), DEAD)
    (waits,) = await queued(queue, job(to="Ada@Example.org", note="one\ntwo"))

    assert await ids(queue, JobFilter(q="example.ORG")) == [waits, dead]
    assert await ids(queue, JobFilter(q="org ada@")) == [waits]
    assert await ids(queue, JobFilter(q="zürich bob")) == [dead]
    assert await ids(queue, JobFilter(q="two one")) == [waits, dead]
    assert await ids(queue, JobFilter(q="to exam")) == [waits, dead]
    assert await ids(queue, JobFilter(q="valueerror")) == [dead]
    for nowhere in ("exam to", "email.send", "ada bob", "xample", "%", "'", "& | ! :*", "\x00"):
        assert await ids(queue, JobFilter(q=nowhere)) == []


async def test_a_pasted_id_finds_its_job_wherever_it_is(queue: JobQueue) -> None:
    dead = await ended(queue, job(), DEAD)
    (waits,) = await queued(queue, job())

    for job_id in (dead, waits):
        assert await ids(queue, JobFilter(q=job_id)) == [job_id]
        assert await ids(queue, JobFilter(q=job_id.upper(), queue="mail")) == [job_id]
        assert await ids(queue, JobFilter(q=job_id, queues=("web",))) == []
        assert await ids(queue, JobFilter(q=job_id, state=JobState.RUNNING)) == []
    assert await ids(queue, JobFilter(q=new_id())) == []


async def test_an_id_is_looked_for_in_payloads_too(queue: JobQueue) -> None:
    (first,) = await queued(queue, job())
    (second,) = await queued(queue, job(parent=first))

    assert await ids(queue, JobFilter(q=first), limit=1) == [first, second]


async def test_a_job_that_holds_its_own_id_is_found_once(queue: JobQueue) -> None:
    itself = new_id()
    await queue.enqueue(Job("a", {"itself": itself}, id=itself))

    assert await ids(queue, JobFilter(q=itself), limit=1) == [itself]


async def test_pages_are_full_where_all_match(queue: JobQueue) -> None:
    made = await queued(queue, *(job("a") for _ in range(10)))

    pages = []
    after: str | None = None
    for _ in range(10):
        page, after = await queue.find(JobFilter(type="a", state=JobState.QUEUED), limit=3, after=after)
        pages.append([each.id for each in page])
        if after is None:
            break

    assert pages == [made[:3], made[3:6], made[6:9], made[9:]]


@pytest.mark.parametrize("limit", [1, 3])
async def test_a_search_keeps_its_place_where_few_match(queue: JobQueue, limit: int) -> None:
    wanted = [job(text="needle" if n % 5 == 0 else "hay") for n in range(60)]
    await queued(queue, *wanted)

    found = await ids(queue, JobFilter(q="needle"), limit=limit)

    assert found == [each.id for each in wanted if each.payload["text"] == "needle"]


async def test_a_page_ends_short_when_enough_was_looked_at(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finder, "LOOKED_AT", 100)
    await queued(queue, *(job(text="hay") for _ in range(450)))
    (needle,) = await queued(queue, job(text="needle"))

    page, after = await queue.find(JobFilter(q="needle"))

    assert page == []
    assert after is not None
    assert await ids(queue, JobFilter(q="needle")) == [needle]


async def test_what_stays_is_found_once_while_others_come_and_go(queue: JobQueue) -> None:
    staying = await queued(queue, *(job(queue=name) for name in ("alpha", "beta") for _ in range(6)))
    staying += [await scheduled(queue, job(queue=name)) for name in ("alpha", "beta") for _ in range(4)]
    staying += [await ended(queue, job(queue="done"), DEAD) for _ in range(5)]
    staying += [(await running(queue, job(queue="busy")))[0] for _ in range(3)]
    leaving = await queued(queue, *(job(queue="beta") for _ in range(6)))
    leaving += [await scheduled(queue, job(queue="alpha"), delay=timedelta(minutes=5)) for _ in range(4)]

    found: list[str] = []
    after: str | None = None
    for step in range(200):
        page, after = await queue.find(limit=2, after=after)
        found += [each.id for each in page]
        if after is None:
            break
        if leaving:
            await queue.cancel(leaving.pop())
        if step < 8:
            await queued(queue, job(queue="alpha"))
            await scheduled(queue, job(queue="beta"), delay=timedelta(minutes=step))
            await ended(queue, job(queue="done"), DEAD)

    assert after is None
    assert sorted(each for each in found if each in staying) == sorted(staying)


async def test_a_cursor_outlives_the_queue_it_stood_in(queue: JobQueue) -> None:
    last, first, _ = await queued(queue, job(queue="b"), job(queue="a"), job(queue="a"))
    page, after = await queue.find(JobFilter(state=JobState.QUEUED), limit=1)

    rest, _ = await queue.find(JobFilter(state=JobState.QUEUED, queues=("b",)), limit=5, after=after)

    assert [each.id for each in page] == [first]
    assert [each.id for each in rest] == [last]


@pytest.mark.parametrize("cursor", ["", "nonsense", "é", "W10", "WyJxdWV1ZWQiXQ==="])
async def test_a_cursor_of_ones_own_making_is_refused(queue: JobQueue, cursor: str) -> None:
    with pytest.raises(ConfigError, match="cursor must be one that the page before returned"):
        await queue.find(JobFilter(state=JobState.DEAD), after=cursor)


async def test_a_cursor_of_another_state_is_refused(queue: JobQueue) -> None:
    await queued(queue, job(), job())
    _, after = await queue.find(JobFilter(state=JobState.QUEUED), limit=1)

    with pytest.raises(ConfigError, match="for the same filter"):
        await queue.find(JobFilter(state=JobState.DEAD), after=after)


@pytest.mark.parametrize("limit", [0, -1, 1001])
async def test_a_limit_out_of_bounds_is_refused(queue: JobQueue, limit: int) -> None:
    with pytest.raises(ConfigError, match=f"limit must be from 1 to 1000, got {limit}"):
        await queue.find(limit=limit)


async def test_a_job_requeued_is_shown_where_it_is_now(queue: JobQueue) -> None:
    dead = await ended(queue, job(), DEAD)
    await every(queue)
    await queue.retry(dead)

    assert [(each.id, each.state) for each in await every(queue)] == [(dead, JobState.QUEUED)]
    assert await ids(queue, JobFilter(state=JobState.DEAD)) == []


@pytest.mark.usefixtures("history")
async def test_a_job_that_completed_after_its_death_is_shown_completed(queue: JobQueue) -> None:
    dead = await ended(queue, job(), DEAD)
    await queue.retry(dead)
    worker = await queue.parts.broker.join(["mail"])
    await settle(worker, COMPLETED, await take_one(worker))

    assert [(each.id, each.state) for each in await every(queue)] == [(dead, JobState.COMPLETED)]
    assert await ids(queue, JobFilter(state=JobState.DEAD)) == []


async def test_a_live_job_tells_what_is_known_of_it(queue: JobQueue) -> None:
    each = job(to="ada").replace(max_retries=4, timeout=timedelta(seconds=9))
    job_id, worker = await running(queue, each)

    (status,) = await every(queue)

    assert status.id == job_id
    assert (status.payload, status.payload_kept) == ({"to": "ada"}, True)
    assert (status.max_retries, status.timeout) == (4, timedelta(seconds=9))
    assert status.worker == worker.name
    assert status.started_at is not None
    assert status.finished_at is None


async def test_an_ended_job_tells_what_is_known_of_it(queue: JobQueue) -> None:
    job_id = await ended(queue, job(to="ada"), DEAD)

    (found,) = await every(queue)
    got = await queue.get(job_id)

    assert got is not None
    for status in (found, got):
        assert (status.state, status.attempt, status.type) == (JobState.DEAD, 1, "email.send")
        assert (status.last_error, status.error_message) == ("ValueError", "no such address: Zürich")
        assert (status.payload, status.payload_kept) == ({"to": "ada"}, True)
        assert status.finished_at is not None


@pytest.mark.usefixtures("history")
async def test_a_completed_job_keeps_its_payload_and_times(queue: JobQueue) -> None:
    job_id = await ended(queue, job(to="ada"))

    status = await queue.get(job_id)

    assert status is not None
    assert (status.payload, status.payload_kept) == ({"to": "ada"}, True)
    assert status.duration_ms == 250.0
    assert status.started_at is not None
    assert status.finished_at == status.started_at + timedelta(milliseconds=250)


@pytest.mark.usefixtures("history")
async def test_while_postgres_is_away_live_jobs_are_shown_and_the_next_page_says_so(
    queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    (waits,) = await queued(queue, job())
    dead = await ended(queue, job(queue="web"), DEAD)

    async def away(*_: object, **__: object) -> None:
        raise RepositoryUnavailable("Postgres is away")

    with monkeypatch.context() as outage:
        outage.setattr(queue.parts.executions, "search", away)
        page, after = await queue.find()
        with pytest.raises(RepositoryUnavailable):
            await queue.find(after=after)
    rest, end = await queue.find(after=after)

    assert [each.id for each in page] == [waits]
    assert [each.id for each in rest] == [dead]
    assert end is None


@pytest.mark.usefixtures("history")
async def test_a_job_cancelled_between_two_attempts_is_told_as_cancelled(queue: JobQueue) -> None:
    job_id = await ended(queue, job(), RETRYING)
    await queue.cancel(job_id)

    got = await queue.get(job_id)

    assert got is not None
    assert got.state is JobState.CANCELLED
    assert [(each.id, each.state) for each in await every(queue)] == [(job_id, JobState.CANCELLED)]
