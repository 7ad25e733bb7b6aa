"""Pictures of the dashboard for the docs: `python -m testutil.screenshots`, light and dark, into docs/images.

On the real stack, with a shop at work: a queue that nobody serves, one that is paused, jobs that fail. Needs chromium,
and Pillow (matplotlib brings it), which makes the files small.
"""

import asyncio
import io
import random
import shutil
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

import asyncpg
from PIL import Image
from playwright.async_api import Browser, Page, async_playwright

from jobqueue import Job, JobContext, JobQueue, Registry, RetryPolicy, Worker
from jobqueue.api.app import create_app
from jobqueue.api.server import serving
from jobqueue.config import Settings
from jobqueue.embedded import start_servers
from jobqueue.repository.base import LetterFilter
from jobqueue.repository.postgres.migrate import migrate_up
from jobqueue.schedule import Schedule
from testutil.eventually import eventually

FOLDER: Final = Path(__file__).parents[1] / "docs" / "images"
SCHEMES: Final = ("light", "dark")
SIZE: Final = {"width": 1280, "height": 860}
MOST_BYTES: Final = 200_000
_HISTORY: Final = 30_000
_DEAD: Final = 24
_FLAGS: Final = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
_COLUMNS: Final = (
    *("failed", "finished_at", "namespace", "queue", "job_id", "type", "priority", "generation", "attempt", "outcome"),
    *("worker", "queued_at", "started_at", "duration_ms", "error_class", "error_message"),
)


class ConnectionLost(Exception):
    """What the shop's mail server does now and then."""


def shop() -> Registry:
    """The tasks."""
    registry = Registry()

    @registry.task("email.send", queue="mail", retry=RetryPolicy(max_retries=0))
    async def send_email(to: str, subject: str = "Your order", attachments: int = 0) -> dict[str, str]:
        await asyncio.sleep(0.05)
        if "@" not in to:
            raise ConnectionLost(f"mail.example.org closed the connection while {to} was told")
        return {"sent": to}

    @registry.task("image.resize", queue="images")
    async def resize_image(path: str, width: int) -> None:
        await asyncio.sleep(0.1)

    @registry.task("report.build", queue="default", timeout=timedelta(minutes=10))
    async def build_report(ctx: JobContext, month: str) -> None:
        for page in range(1, 1000):
            ctx.progress({"page": page, "of": 1000})
            await asyncio.sleep(1)

    @registry.task("index.update", queue="default", retry=RetryPolicy(max_retries=0))
    async def update_index(product: int) -> None:
        if product % 190 == 0:
            raise LookupError(f"there is no product {product}")
        await asyncio.sleep(random.uniform(0.02, 0.2))

    return registry


async def main(folder: Path) -> None:
    """Make all of them."""
    chromium = shutil.which("chromium")
    assert chromium, "chromium is not on PATH"
    with start_servers() as servers:
        await migrate_up(servers.postgres.url)
        await fill(servers.postgres.url)
        given = {"REDIS_URL": servers.redis.url, "DATABASE_URL": servers.postgres.url}
        async with at_work(Settings.load({}, overrides=given)) as (url, pages), async_playwright() as driver:
            browser = await driver.chromium.launch(executable_path=chromium, args=_FLAGS)
            for scheme in SCHEMES:
                await take(browser, url, scheme, pages, folder)
            await browser.close()


@asynccontextmanager
async def at_work(settings: Settings) -> AsyncIterator[tuple[str, dict[str, str]]]:
    """The shop, busy; gives the dashboard's address, and the pages to be taken."""
    registry = shop()
    async with AsyncExitStack() as stack:
        queue = await stack.enter_async_context(JobQueue.from_settings(settings, registry=registry))
        for part in (
            queue.scheduler().run(),
            Worker(queue, registry, queues=["mail", "default"], concurrency=16).run(),
            Worker(queue, registry, queues=["default", "reports"], concurrency=8).run(),
        ):
            stack.callback(asyncio.create_task(part).cancel)
        failed = await stock(queue)
        stack.callback(asyncio.create_task(produce(queue)).cancel)
        app = create_app(queue, registry=registry, require_keys=False)
        url = await stack.enter_async_context(serving(app, host="127.0.0.1", port=0))
        pages = {
            "overview": "overview",
            "jobs": "jobs?queue=mail",
            "job": f"jobs/{failed}",
            "queues": "queues",
            "dead-letters": "dead",
            "schedules": "schedules",
            "schedule": "schedules/digest.send",
            "workers": "workers",
            "playground": "playground?type=email.send",
        }
        yield url, pages


async def stock(queue: JobQueue) -> str:
    """What was there before anybody looked; the id of a job that failed."""
    await queue.pause("reports")
    await queue.enqueue_many(Job("report.build", {"month": f"2026-{n:02}"}, queue="reports") for n in range(1, 8))
    await queue.enqueue_many(
        Job("image.resize", {"path": f"{n}.png", "width": 640}, queue="images") for n in range(418)
    )
    await queue.enqueue_many(Job("report.build", {"month": f"2025-{n:02}"}) for n in range(1, 4))
    await plan(queue)
    ids = await queue.enqueue_many(
        Job("email.send", {"to": f"ada+{n}", "subject": "Your order"}, queue="mail") for n in range(_DEAD)
    )

    async def dead() -> bool:
        return await queue.dead_letters.count(LetterFilter()) >= _DEAD

    await eventually(dead, within_s=30)
    return ids[-1].job_id


async def plan(queue: JobQueue) -> None:
    """Schedules: made at run time and in code, one paused, and what was decided about some ticks."""
    digest = Job("email.send", {"to": "ada@example.org", "subject": "Digest"}, queue="mail")
    index = Job("index.update", {"product": 1})
    await queue.schedules.declare(
        [
            Schedule.of("index.refresh", "*/10 * * * * *", index, seconds=True),
            Schedule.of("prices.sync", "*/5 * * * *", index, misfire="skip", overlap="skip"),
        ],
        app="shop.jobs:registry",
    )
    await queue.schedules.upsert("digest.send", "30 2 * * *", digest, timezone="Europe/Berlin", overlap="queue")
    report = Job("report.build", {"month": "2026-11"}, queue="reports")
    await queue.schedules.upsert("report.month", "0 9 1 * *", report)
    await queue.schedules.upsert("orders.remind", "0 10-16/2 * * mon-fri", digest, timezone="America/New_York")
    await queue.schedules.pause("report.month")
    now = datetime.now(UTC)
    await queue.schedules.backfill("digest.send", since=now - timedelta(days=6), until=now)
    await queue.schedules.run("digest.send")


async def produce(queue: JobQueue) -> None:
    """Work comes in, until cancelled."""
    number = 0
    while True:
        number += 1
        await queue.enqueue(Job("index.update", {"product": number}))
        if number % 2 == 0:
            to = "somebody" if number % 60 == 0 else f"customer{number}@example.org"
            await queue.enqueue(Job("email.send", {"to": to}, queue="mail"))
        await asyncio.sleep(0.04)


async def take(browser: Browser, url: str, scheme: str, pages: dict[str, str], folder: Path) -> None:
    """Every page in one colour scheme."""
    context = await browser.new_context(viewport=SIZE, color_scheme=scheme)  # type: ignore[arg-type]
    page = await context.new_page()
    for name, where in pages.items():
        await page.goto(f"{url}/#/{where}")
        await settled(page)
        if name == "playground":
            await play(page)
        small = smaller(await page.screenshot(animations="disabled"))
        assert len(small) < MOST_BYTES, f"{name} takes {len(small)} bytes"
        (folder / f"dashboard-{name}-{scheme}.png").write_bytes(small)
        print(f"dashboard-{name}-{scheme}.png", len(small), file=sys.stderr)
    await context.close()


async def play(page: Page) -> None:
    """Enqueue one, and let it end."""
    await page.get_by_label("to", exact=True).fill("ada@example.org")
    await page.get_by_role("button", name="Enqueue").click()
    await page.locator("[data-watched] .state.good").wait_for()
    await page.wait_for_timeout(2_500)


async def settled(page: Page) -> None:
    """Wait until everything that loads has loaded, and rates have something to say."""
    await page.locator(".side .link.good").wait_for()
    await page.locator(".skeleton").first.wait_for(state="detached")
    await page.wait_for_timeout(2_500)


def smaller(png: bytes) -> bytes:
    """The same in 256 colours: those that fill most of it, exactly, and such as are far from them."""
    picture, out = Image.open(io.BytesIO(png)).convert("RGB"), io.BytesIO()
    counted = sorted(picture.getcolors(picture.width * picture.height) or [], reverse=True)
    frequent = [channel for _, colour in counted[:160] for channel in colour]
    rare = picture.quantize(96, Image.Quantize.MAXCOVERAGE).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([*frequent, *rare][: 256 * 3])
    picture.quantize(palette=palette, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return out.getvalue()


async def fill(url: str) -> None:
    """An hour of history before the shop opened, by COPY."""
    now = datetime.now(UTC)
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("SELECT jobqueue.ensure_partitions($1)", [now.date() - timedelta(days=1), now.date()])
        await connection.copy_records_to_table(
            "executions", schema_name="jobqueue", columns=_COLUMNS, records=history(now)
        )
        await connection.execute("SELECT jobqueue.recount_minutes('-infinity', 'infinity')")
    finally:
        await connection.close()


def history(now: datetime) -> Iterable[tuple[object, ...]]:
    """Rows that rise and fall, with a bad quarter of an hour."""
    dice = random.Random(7)
    for n in range(_HISTORY):
        minutes = abs(dice.gauss(0, 1)) * 22 if n % 3 else dice.uniform(1, 60)
        if minutes > 59:
            continue
        at = now - timedelta(minutes=minutes + 0.5)
        failed = dice.random() < (0.16 if 28 < minutes < 38 else 0.01)
        error = ("TimeoutError", "the task ran longer than its timeout of 30 s") if failed else (None, None)
        yield (
            *(
                failed,
                at,
                "jq",
                "default",
                UUID(int=dice.getrandbits(128), version=4),
                "webhook.deliver",
                "medium",
                0,
                1,
            ),
            *("dead" if failed else "completed", "shop-1", at - timedelta(seconds=3), at - timedelta(seconds=1)),
            *(dice.uniform(20, 900), *error),
        )


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER))
