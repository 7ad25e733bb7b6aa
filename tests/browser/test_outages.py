"""When something is away, the dashboard says so and heals itself."""

import asyncio
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: see the dev extra")
from playwright.sync_api import Route, expect

from jobqueue.embedded import PostgresServer, RedisServer, start_postgres, start_redis
from jobqueue.repository.postgres.migrate import migrate_up
from tests.browser.conftest import OpenPage
from tests.browser.stage import Stage, staged

pytestmark = pytest.mark.timeout(180)
HEALS_MS = 30_000


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """To be killed."""
    with start_redis(appendonly=True) as server:
        yield server


@pytest.fixture
def over_redis(redis: RedisServer, database_url: str, namespace: str) -> Iterator[Stage]:
    """A stage on that."""
    with staged(redis.url, database_url, namespace) as stage:
        yield stage


def test_redis_away_is_said_and_heals(redis: RedisServer, over_redis: Stage, open_page: OpenPage) -> None:
    watch = open_page(over_redis.url)
    watch.expected += ["status of 503", "status of 504", "ERR_"]
    live, banner = watch.page.locator(".side .link"), watch.page.locator(".banner")
    expect(live).to_have_text("live")
    expect(banner).to_have_count(0)

    redis.kill()
    expect(banner).to_contain_text("Redis cannot be reached", timeout=HEALS_MS)
    expect(live).to_have_text("not up to date")
    redis.restart()

    expect(banner).to_have_count(0, timeout=HEALS_MS)
    expect(live).to_have_text("live", timeout=HEALS_MS)


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """To be killed."""
    with start_postgres() as server:
        yield server


@pytest.fixture
def over_postgres(own_postgres: PostgresServer, redis_url: str, namespace: str) -> Iterator[Stage]:
    """A stage on that."""
    url = own_postgres.create_database("away")
    with ThreadPoolExecutor() as aside:
        aside.submit(lambda: asyncio.run(migrate_up(url))).result()
    with staged(redis_url, url, namespace) as stage:
        yield stage


def test_postgres_away_is_said_and_heals(
    own_postgres: PostgresServer, over_postgres: Stage, open_page: OpenPage
) -> None:
    watch = open_page(over_postgres.url)
    watch.expected += ["status of 503", "status of 504"]
    banner = watch.page.locator(".banner")
    expect(watch.page.locator(".side .link")).to_have_text("live")
    expect(banner).to_have_count(0)

    own_postgres.kill()
    expect(banner).to_contain_text("Postgres cannot be reached", timeout=HEALS_MS)
    expect(watch.page.locator(".side .link")).to_have_text("live")
    own_postgres.restart()

    expect(banner).to_have_count(0, timeout=HEALS_MS)


@pytest.fixture
def bare(redis_url: str, namespace: str) -> Iterator[Stage]:
    """A stage without Postgres."""
    with staged(redis_url, None, namespace) as stage:
        yield stage


def test_without_postgres_it_shows_what_redis_knows(bare: Stage, open_page: OpenPage) -> None:
    (job,) = bare.enqueue("order.ship", order="A-17")
    bare.until_dead(1)
    watch = open_page(bare.url)
    watch.expected.append("status of 404")
    page = watch.page
    expect(page.get_by_text("history needs Postgres")).to_be_visible()
    expect(page.get_by_role("heading", name="Dead letters by error")).to_be_visible()

    page.goto(f"{bare.url}#/jobs")
    expect(page.get_by_text("the history needs Postgres")).to_be_visible()
    page.goto(f"{bare.url}#/dead")
    page.get_by_role("table", name="Dead letters").get_by_role("link").first.click()
    expect(page.get_by_label("Traceback of the last attempt", exact=True)).to_contain_text("CarrierError")
    bare.shop.broken = False
    page.get_by_role("button", name="Retry", exact=True).click()

    expect(page.get_by_role("heading", name="This job has ended")).to_be_visible()
    expect(page.locator("main")).to_contain_text(job)


@pytest.mark.parametrize(
    ("slug", "said"), [("broker-unavailable", "Redis cannot be reached"), (None, "The API does not answer")]
)
def test_an_answer_that_does_not_come_is_said_and_heals(
    stage: Stage, open_page: OpenPage, slug: str | None, said: str
) -> None:
    watch = open_page(stage.url)
    watch.expected += ["status of 503", "ERR_"]
    expect(watch.page.locator(".side .link")).to_have_text("live")

    watch.page.route("**/api/v1/**", refusal(slug))
    watch.page.get_by_role("link", name="Jobs").click()
    expect(watch.page.locator(".banner")).to_contain_text(said, timeout=HEALS_MS)
    watch.page.unroute_all(behavior="ignoreErrors")

    expect(watch.page.locator(".banner")).to_have_count(0, timeout=HEALS_MS)


def test_history_away_is_said_where_it_would_stand(stage: Stage, open_page: OpenPage) -> None:
    watch = open_page(f"{stage.url}#/workers")
    watch.expected += ["status of 503"]
    expect(watch.page.locator(".side .link")).to_have_text("live")

    watch.page.route("**/api/v1/executions/**", refusal("repository-unavailable"))
    watch.page.get_by_role("link", name="Overview").click()

    expect(watch.page.locator(".banner")).to_contain_text("Postgres cannot be reached")
    expect(watch.page.locator(".verdict")).to_be_visible()
    watch.page.unroute_all(behavior="ignoreErrors")


def refusal(slug: str | None) -> Callable[[Route], None]:
    """An answer 503, or none."""

    def refuse(route: Route) -> None:
        if slug is None:
            route.abort()
        else:
            body = {"type": f"/problems/{slug}", "title": "Away", "status": 503, "detail": "It is away."}
            route.fulfill(status=503, content_type="application/problem+json", body=json.dumps(body))

    return refuse
