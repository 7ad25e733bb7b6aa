"""Stored XSS: hostile text in every field that somebody can fill, and in every field of every answer."""

import json
from typing import Any
from urllib.parse import quote

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: see the dev extra")
from playwright.sync_api import Page, Route, expect

from jobqueue import Job
from jobqueue.access.scope import Kind
from jobqueue.job import JobState
from tests.browser.conftest import OpenPage, sign_in
from tests.browser.corpus import CORPUS, EVERYTHING, MADE_OF_TEXT
from tests.browser.stage import Stage

pytestmark = pytest.mark.timeout(180)
# Not text but words that the page decides by.
KEPT = {"state", "outcome", "status", "postgres", "kind", "priority", "can", "scopes", "decision", "source"}


def test_hostile_text_that_was_stored_is_shown_as_text(guarded: Stage, open_page: OpenPage) -> None:
    guarded.shop.message = EVERYTHING[:1900]
    guarded.shop.error_class = CORPUS[1]
    (dead,) = guarded.enqueue("order.ship", order=EVERYTHING, note=CORPUS[0])
    (running,) = guarded.enqueue("report.build", title=EVERYTHING)
    (done,) = guarded.enqueue("greet", name=EVERYTHING)
    guarded.key(Kind.CLIENT, name=CORPUS[3])
    guarded.until_dead(1)
    guarded.until(JobState.RUNNING, running)
    guarded.until(JobState.COMPLETED, done)
    page = open_page(guarded.url).page
    sign_in(page, guarded.key())

    for where, shown in {
        "overview": CORPUS[1],
        "jobs": CORPUS[1],
        "dead": CORPUS[1],
        "workers": "report.build",
        f"jobs/{dead}": CORPUS[5],
        f"jobs/{running}": CORPUS[5],
        f"jobs/{done}": CORPUS[5],
        "keys": CORPUS[3],
    }.items():
        page.goto(f"{guarded.url}#/{where}")
        expect(page.locator("main")).to_contain_text(shown)
        nothing_ran(page, where)


def test_hostile_text_in_every_field_of_every_answer_is_shown_as_text(guarded: Stage, open_page: OpenPage) -> None:
    (dead,) = guarded.enqueue("order.ship", order="A-17")
    (running,) = guarded.enqueue("report.build", title="Sales")
    guarded.do(lambda: guarded.queue.schedules.upsert("digest", "@yearly", Job("greet", {"name": "Ada"})))
    guarded.do(lambda: guarded.queue.schedules.run("digest"))
    guarded.until_dead(1)
    guarded.until(JobState.RUNNING, running)
    watch = open_page(guarded.url)
    watch.expected += ["api/v1/events", "schedules/%3Cscript"]
    page = watch.page
    sign_in(page, guarded.key())
    page.route("**/api/v1/**", poisoned)

    shown = ("overview", "jobs", "queues", "dead", "schedules", "schedules/digest", "workers", "keys")
    for where in (*shown, f"jobs/{dead}", f"jobs/{running}"):
        page.goto(f"{guarded.url}#/{where}")
        page.reload()
        expect(page.locator("main")).to_contain_text(CORPUS[1])
        nothing_ran(page, where)
    for where in ("playground?type=greet", "queues/default", "audit"):
        page.goto(f"{guarded.url}#/{where}")
        expect(page.locator("main h1")).to_be_visible()
        nothing_ran(page, where)
    page.unroute_all(behavior="ignoreErrors")


def test_hostile_text_in_the_address_is_text(stage: Stage, open_page: OpenPage) -> None:
    watch = open_page(stage.url)
    watch.expected += ["status of 422", "status of 404"]

    for text in CORPUS:
        for place in (f"jobs?q={quote(text)}&type={quote(text)}", f"jobs/{quote(text, safe='')}", quote(text)):
            watch.page.goto(f"{stage.url}#/{place}")
            expect(watch.page.locator("main h1").first).to_be_visible()
            nothing_ran(watch.page, place)


def nothing_ran(page: Page, where: str) -> None:
    """No text became markup; whether a script of it ran is the page's own watch, too."""
    assert page.locator(MADE_OF_TEXT).count() == 0, where
    assert page.evaluate("window.fired") is None, where


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
