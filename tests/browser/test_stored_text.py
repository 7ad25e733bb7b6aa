"""Stored XSS: hostile text in every field that somebody can fill, and in every field of every answer."""

import json
from typing import Any
from urllib.parse import quote

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: see the dev extra")
from playwright.sync_api import Page, Route, expect

from jobqueue.access.scope import Kind
from jobqueue.job import JobState
from tests.browser.conftest import OpenPage
from tests.browser.corpus import CORPUS, EVERYTHING, MADE_OF_TEXT
from tests.browser.stage import Stage

pytestmark = pytest.mark.timeout(180)
PAGES = ("overview", "jobs", "queues", "dead", "workers", "playground", "keys", "audit")
# Not text but words that the page decides by; and what must be parsed.
KEPT = {"state", "outcome", "status", "postgres", "kind", "priority", "can", "scopes"}


def test_hostile_text_that_was_stored_is_shown_as_text(stage: Stage, page: Page) -> None:
    stage.shop.message = EVERYTHING[:1900]
    stage.shop.error_class = CORPUS[1]
    (dead,) = stage.enqueue("order.ship", order=EVERYTHING, note=CORPUS[0])
    (running,) = stage.enqueue("report.build", title=EVERYTHING)
    (done,) = stage.enqueue("greet", name=EVERYTHING)
    stage.key(Kind.CLIENT, name=CORPUS[3][:100])
    stage.until_dead(1)
    stage.until(JobState.RUNNING, running)
    stage.until(JobState.COMPLETED, done)

    for shown in ("overview", "jobs", "dead", "workers", f"jobs/{dead}", f"jobs/{running}", f"jobs/{done}", "audit"):
        page.goto(f"{stage.url}#/{shown}")
        expect(page.locator("main h1").first).to_be_attached()
        page.wait_for_load_state("load")
        assert page.locator(MADE_OF_TEXT).count() == 0
    page.goto(f"{stage.url}#/jobs/{dead}")

    expect(page.locator(".failure").first).to_contain_text(CORPUS[1])
    expect(page.get_by_label("Payload", exact=True)).to_contain_text("<script>window.fired=true</script>")
    assert page.evaluate("window.fired") is None


def test_hostile_text_in_every_field_of_every_answer_is_shown_as_text(stage: Stage, open_page: OpenPage) -> None:
    (dead,) = stage.enqueue("order.ship", order="A-17")
    (done,) = stage.enqueue("greet", name="Ada")
    stage.until_dead(1)
    stage.until(JobState.COMPLETED, done)
    watch = open_page("about:blank")
    watch.origin = stage.url
    watch.expected.append("api/v1/events")
    page = watch.page
    page.route("**/api/v1/**", poisoned)

    for shown in (*PAGES, f"jobs/{dead}", f"jobs/{done}", "queues/default", "playground?type=greet"):
        page.goto(f"{stage.url}#/{shown}")
        expect(page.locator("main h1").first).to_be_attached()
        page.wait_for_load_state("networkidle")
        assert page.locator(MADE_OF_TEXT).count() == 0, shown
        assert page.evaluate("window.fired") is None, shown

    assert CORPUS[1] in page.locator("body").inner_text()
    page.unroute_all(behavior="ignoreErrors")


def test_hostile_text_in_the_address_is_text(stage: Stage, open_page: OpenPage) -> None:
    watch = open_page(stage.url)
    watch.expected += ["status of 422", "status of 404"]

    for text in CORPUS:
        for place in (f"jobs?q={quote(text)}&type={quote(text)}", f"jobs/{quote(text, safe='')}", quote(text)):
            watch.page.goto(f"{stage.url}#/{place}")
            expect(watch.page.locator("main h1").first).to_be_visible()
            assert watch.page.locator(MADE_OF_TEXT).count() == 0, place
            assert watch.page.evaluate("window.fired") is None, place


def poisoned(route: Route) -> None:
    """Answer with the real answer, every text in it replaced."""
    if "/events" in route.request.url:
        route.abort()
        return
    answer = route.fetch()
    try:
        body = answer.json()
    except ValueError:
        route.fulfill(response=answer)
        return
    route.fulfill(response=answer, body=json.dumps(_poison(body)))


def _poison(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        keys = {key: f"{key}{CORPUS[1]}" if name == "payload" else key for key in value}
        return {keys[key]: _poison(each, key) for key, each in value.items()}
    if isinstance(value, list):
        return value if name in KEPT else [_poison(each, name) for each in value]
    if isinstance(value, str) and name not in KEPT and not name.endswith("_at") and name != "at":
        return EVERYTHING
    return value
