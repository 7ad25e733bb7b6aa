"""The frame of the dashboard: keys of the keyboard, themes, small screens, liveness, mounting."""

import re

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: see the dev extra")
from playwright.sync_api import Page, expect

from jobqueue.job import JobState
from tests.browser.conftest import OpenPage
from tests.browser.stage import Stage

pytestmark = pytest.mark.timeout(120)
PAGES = ("overview", "jobs", "queues", "queues/default", "dead", "workers", "playground?type=greet", "keys", "audit")
HIDE = (
    "hidden => { Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden }); "
    "document.dispatchEvent(new Event('visibilitychange')); }"
)

SHIFTS = """() => new Promise(done => {
    const told = source => [source.node?.className, source.previousRect.y, source.currentRect.y];
    new PerformanceObserver(list => done(list.getEntries().map(entry => [entry.value, entry.sources.map(told)])))
        .observe({ type: 'layout-shift', buffered: true });
    setTimeout(() => done([]), 1000);
})"""


def test_the_keyboard_searches_moves_opens_and_goes(stage: Stage, page: Page) -> None:
    stage.until(JobState.COMPLETED, *stage.enqueue("greet", many=3, name="Ada"))  # rows that stay where they are

    page.keyboard.press("g")
    page.keyboard.press("j")
    expect(page.locator("[data-row]")).to_have_count(3)
    page.keyboard.press("/")
    expect(page.get_by_label("Search")).to_be_focused()
    page.keyboard.type("jk?")
    expect(page.get_by_label("Search")).to_have_value("jk?")
    expect(page.locator("[data-row]")).to_have_count(0)
    page.get_by_label("Search").fill("")
    page.get_by_label("Search").blur()
    expect(page.locator("[data-row]")).to_have_count(3)
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    expect(page.locator("[data-row]").nth(0)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"#/jobs/[0-9a-f-]{36}$"))
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    for letter, name in (("o", "overview"), ("q", "queues"), ("d", "dead"), ("w", "workers")):
        page.keyboard.press("g")
        page.keyboard.press(letter)
        expect(page).to_have_url(re.compile(f"#/{name}$"))


def test_the_theme_is_the_systems_until_it_is_chosen_and_the_choice_stays(stage: Stage, open_page: OpenPage) -> None:
    page = open_page(stage.url, color_scheme="dark").page
    ground = "getComputedStyle(document.body).backgroundColor"
    button = page.get_by_role("button", name="Theme")
    expect(button).to_contain_text("system")
    dark = page.evaluate(ground)

    button.click()
    expect(button).to_contain_text("light")
    light = page.evaluate(ground)
    page.reload()

    expect(button).to_contain_text("light")
    assert page.evaluate(ground) == light != dark


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_small_screen_never_scrolls_sideways(stage: Stage, open_page: OpenPage, scheme: str) -> None:
    stage.shop.message = "no-space-in-this-message-" * 30
    (dead,) = stage.enqueue("order.ship", order="x" * 3000)
    stage.until_dead(1)
    page = open_page(stage.url, width=375, height=812, color_scheme=scheme).page

    for shown in (*PAGES, f"jobs/{dead}"):
        page.goto(f"{stage.url}#/{shown}")
        expect(page.locator("main h1").first).to_be_attached()
        page.wait_for_load_state("load")
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide == 0, f"{shown} is {wide} px too wide"


def test_what_happens_is_seen_without_a_reload_and_not_while_hidden(stage: Stage, page: Page) -> None:
    live = page.locator(".side .link")
    expect(live).to_have_text("live")
    stage.enqueue("greet", many=7, name="Ada")
    queue = page.get_by_role("table", name="Queues").locator("[data-row]")
    expect(queue).to_contain_text("default")

    page.evaluate(HIDE, True)
    expect(live).to_have_text("paused")
    page.evaluate(HIDE, False)

    expect(live).to_have_text("live")


def test_an_empty_stage_tells_how_to_enqueue_a_first_job(stage: Stage, page: Page) -> None:
    first = page.locator(".first").first

    expect(first).to_contain_text("jobqueue enqueue hello")
    expect(first).to_contain_text(f"curl {stage.url}api/v1/jobs")
    stage.enqueue("greet", name="Ada")
    expect(first).to_have_count(0)


def test_a_queue_is_paused_resumed_and_purged_after_its_name_was_typed(stage: Stage, page: Page) -> None:
    waiting = stage.enqueue("greet", many=4, queue="parked", name="Ada")

    page.goto(f"{stage.url}#/queues")
    expect(page.get_by_role("row").filter(has_text="parked").locator(".zero")).to_have_text("0")
    page.get_by_role("button", name="Pause parked").click()
    expect(page.get_by_text("paused", exact=True)).to_be_visible()
    page.get_by_role("button", name="Purge parked").click()
    dialog = page.get_by_role("dialog")
    purge = dialog.get_by_role("button", name="Purge")
    dialog.get_by_label("Type the queue's name").fill("park")
    expect(purge).to_be_disabled()
    dialog.get_by_label("Type the queue's name").fill("parked")
    purge.click()

    expect(page.get_by_role("status").filter(has_text="4 jobs cancelled.")).to_be_visible()
    assert all(stage.do(lambda job=job: stage.queue.get(job)) is None for job in waiting)
    page.get_by_role("button", name="Resume parked").click()
    expect(page.get_by_text("paused", exact=True)).to_have_count(0)


def test_nothing_jumps_while_the_overview_fills(stage: Stage, open_page: OpenPage) -> None:
    stage.enqueue("greet", many=20, name="Ada")
    page = open_page(stage.url).page
    expect(page.locator(".side .link")).to_have_text("live")
    expect(page.locator(".first")).to_have_count(0)

    page.reload()  # what the API answers first may be from before the jobs
    expect(page.get_by_role("table", name="Queues").locator("[data-row]")).to_have_count(1)
    shifts = page.evaluate(SHIFTS)
    assert sum(value for value, _ in shifts) < 0.1, shifts  # what the web's vitals call good
