"""The dashboard over a long history."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: see the dev extra")
from playwright.sync_api import expect

from tests.browser.conftest import OpenPage
from tests.browser.stage import Stage, staged

pytestmark = pytest.mark.timeout(240)
MANY = 100_000
PATIENT_MS = 30_000

COLUMNS = (
    *("failed", "finished_at", "namespace", "queue", "job_id", "type", "priority", "generation", "attempt", "outcome"),
    *("worker", "queued_at", "started_at", "duration_ms", "error_class", "error_message", "payload"),
)


@pytest.fixture
def full(redis_url: str, own_database_url: str, namespace: str) -> Iterator[Stage]:
    """A stage with a long history."""
    with ThreadPoolExecutor() as aside:
        aside.submit(lambda: asyncio.run(fill(own_database_url, namespace))).result()
    with staged(redis_url, own_database_url, namespace, worker=False) as stage:
        yield stage


def test_a_history_of_100_000_jobs_is_paged_searched_and_charted(full: Stage, open_page: OpenPage) -> None:
    page = open_page(f"{full.url}#/overview").page
    page.context.set_default_timeout(PATIENT_MS)
    expect(page.locator(".legend")).to_contain_text("completed", timeout=PATIENT_MS)
    failures = page.get_by_role("table", name="Failures by task and error")
    expect(failures.locator("[data-row]")).to_have_count(8, timeout=PATIENT_MS)
    rows = page.locator("[data-row]")

    page.goto(f"{full.url}#/jobs")
    expect(rows).to_have_count(50, timeout=PATIENT_MS)
    page.get_by_role("button", name="Show more").click()
    expect(rows).to_have_count(100, timeout=PATIENT_MS)
    page.get_by_label("State").select_option("dead")
    page.get_by_label("Task").fill("task.10")
    page.get_by_label("Task").press("Enter")
    expect(rows).to_have_count(50, timeout=PATIENT_MS)
    page.goto(f"{full.url}#/jobs?q=order77777")

    expect(rows).to_have_count(1, timeout=PATIENT_MS)
    rows.get_by_role("link").click()
    expect(page.get_by_label("Payload", exact=True)).to_contain_text("order77777", timeout=PATIENT_MS)


async def fill(url: str, namespace: str) -> None:
    """Write the history by COPY."""
    connection = await asyncpg.connect(url)
    now = datetime.now(UTC)
    try:
        await connection.execute("SELECT jobqueue.ensure_partitions($1)", [now.date() - timedelta(days=1), now.date()])
        await connection.copy_records_to_table(
            "executions",
            schema_name="jobqueue",
            columns=COLUMNS,
            records=(row(n, now - n * timedelta(milliseconds=36), namespace) for n in range(MANY)),
        )
        await connection.execute("ANALYZE jobqueue.executions")
    finally:
        await connection.close()


def row(n: int, at: datetime, namespace: str) -> tuple[object, ...]:
    """The n-th execution: every tenth died."""
    failed = n % 10 == 0
    return (
        *(failed, at, namespace, f"queue-{n % 12}", UUID(int=n), f"task.{n % 40}", "medium", 0, 1),
        *("dead" if failed else "completed", "w1", at - timedelta(seconds=2), at - timedelta(seconds=1), 1000.0),
        *((f"Error{n % 30}", f"it failed, number {n}") if failed else (None, None)),
        f'{{"order": "order{n}"}}',
    )
