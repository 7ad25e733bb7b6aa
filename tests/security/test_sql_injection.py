"""Texts that would be SQL, in every filter and every stored field of Postgres (S05)."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from jobqueue.app import JobQueue
from jobqueue.errors import ConfigError, DeadLetterNotFound
from jobqueue.job import Job
from jobqueue.record import Bucket
from jobqueue.registry import Registry
from jobqueue.repository.base import ExecutionFilter, Executions, LetterFilter
from tests.integration.scheduler.test_shipping import scheduling, shipped
from tests.integration.worker.scene import Scene

CORPUS = [
    "'",
    '"',
    "' OR '1'='1",
    "' OR 1=1 --",
    "x' UNION SELECT 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20 --",
    "'; DROP TABLE jobqueue.dead_letters; --",
    "'); DELETE FROM jobqueue.dead_letters; --",
    "$1",
    "$$; SELECT pg_sleep(30); $$",
    "%' AND 1=1 --",
    "%",
    "_",
    "\\",
    "\\'; SELECT 1; --",
    "a\x00b",
    "\ud800",
    "/* */",
    "1; COPY (SELECT 1) TO PROGRAM 'id'",
    "pg_sleep(30)",
    "' || (SELECT version()) || '",
    "𝒳' OR 1=1",
]
STORED = [*(text for text in CORPUS if text.isprintable()), "a plain error"]


@pytest.fixture
async def queue(stored_scene: Scene, registry: Registry) -> JobQueue:
    """Postgres has a dead letter and an execution for each text, in its error, and one that has none in it."""

    @registry.task("fails", max_retries=0)
    async def fails(text: str) -> None:
        raise ValueError(text)

    queue = stored_scene.queue()
    await queue.enqueue_many([Job("fails", {"text": text}) for text in STORED])
    async with scheduling(queue), stored_scene.working():
        await stored_scene.ended(queue, len(STORED))
        await shipped(queue)
    return queue


@pytest.fixture
def registry(stored_scene: Scene) -> Registry:
    return stored_scene.registry


async def whole(queue: JobQueue) -> tuple[int, int]:
    assert queue.executions is not None
    ended = await queue.executions.count_by_outcome(queue=None, since=None)
    return await queue.dead_letters.count(LetterFilter()), ended["dead"]


async def test_every_filter_of_dead_letters_takes_a_text_as_a_text(queue: JobQueue) -> None:
    fields = [name for name in ("queue", "type", "reason", "job_id") if name in LetterFilter.__struct_fields__]
    for text in CORPUS:
        for field in fields:
            where = LetterFilter(**{field: text})
            page, _ = await queue.dead_letters.list(where, limit=200)
            assert (list(page), await queue.dead_letters.count(where)) == ([], 0), (field, text)

    assert await whole(queue) == (len(STORED), len(STORED))


async def test_a_text_in_an_error_is_found_as_it_is_and_not_as_a_pattern(queue: JobQueue) -> None:
    for text in CORPUS:
        page, _ = await queue.dead_letters.list(LetterFilter(error=text), limit=200)
        messages = [each.letter.error_message for each in page]

        assert sorted(messages) == sorted(each for each in STORED if text.lower() in each.lower()), text


async def test_ids_and_cursors_that_are_sql_are_not_there_or_refused(queue: JobQueue) -> None:
    assert queue.executions is not None
    for text in CORPUS:
        for do in (queue.dead_letters.get, queue.dead_letters.requeue):
            with pytest.raises(DeadLetterNotFound):
                await do(text)
        assert not await queue.dead_letters.delete(text)
        with pytest.raises(ConfigError):
            await queue.dead_letters.list(LetterFilter(), limit=5, after=text)
        assert await queue.executions.of_job(text) == []

    assert await whole(queue) == (len(STORED), len(STORED))


async def test_every_filter_of_the_history_takes_a_text_as_a_text(queue: JobQueue) -> None:
    assert queue.executions is not None
    anything: dict[str, Any] = {"queue": None, "type": None, "outcome": None}
    for text in CORPUS:
        for field in anything:
            assert await queue.executions.recent(**{**anything, field: text}, limit=200) == [], (field, text)
        assert await queue.executions.count_by_outcome(queue=text, since=None) == {}

    assert await whole(queue) == (len(STORED), len(STORED))


async def test_every_filter_of_a_search_takes_a_text_as_a_text(queue: JobQueue) -> None:
    history = queue.executions
    assert history is not None
    begin = datetime.now(UTC) - timedelta(hours=1)
    for text in CORPUS:
        for field in ("queue", "type", "outcome"):
            assert (await history.search(ExecutionFilter(**{field: text}), limit=200))[0] == [], (field, text)
        assert (await history.search(ExecutionFilter(queues=(text, text)), limit=200))[0] == []
        assert sum(sum(each.outcomes.values()) for each in await _series(history, text, begin)) == 0
        assert await history.errors(queues=[text], since=begin, limit=10) == []

    assert await whole(queue) == (len(STORED), len(STORED))


async def test_words_that_are_looked_for_are_words_and_no_language_of_their_own(queue: JobQueue) -> None:
    """Neither SQL nor the operators of Postgres' text search."""
    history = queue.executions
    assert history is not None
    for text in [
        *CORPUS,
        "plain & !error",
        "plain | nothing",
        "plain:*",
        "pl:* <-> error",
        "!plain",
        "(plain",
        "'plain'",
    ]:
        found, _ = await history.search(ExecutionFilter(q=text, ended=True), limit=200)

        words = re.findall(r"[^\W_]+", text.casefold())
        for each in found:
            seen = f"{each.payload!r} {each.error_class} {each.error_message}".casefold()
            assert all(word in seen for word in words), (text, each.error_message)
        assert words or len(found) in (0, len(STORED)), text


async def test_bulk_actions_on_a_text_touch_nothing_else(queue: JobQueue) -> None:
    for text in CORPUS:
        for where in (LetterFilter(queue=text), LetterFilter(type=text), LetterFilter(queues=(text,), error=text)):
            assert await queue.dead_letters.groups(where, limit=10) == []
            for do in (queue.dead_letters.delete_where, queue.dead_letters.requeue_where):
                assert (await do(where, limit=100)).done == 0

    assert await whole(queue) == (len(STORED), len(STORED))


async def _series(history: Executions, queue: str, begin: datetime) -> Sequence[Bucket]:
    until = datetime.now(UTC)
    return await history.series(queues=[queue], since=begin, until=until, bucket=timedelta(minutes=10))


async def test_the_tables_are_as_they_were(queue: JobQueue, database_url: str, namespace: str) -> None:
    connection = await asyncpg.connect(database_url)
    stored = await connection.fetch("SELECT error_message FROM jobqueue.dead_letters WHERE namespace = $1", namespace)
    await connection.close()

    assert sorted(row["error_message"] for row in stored) == sorted(STORED)
