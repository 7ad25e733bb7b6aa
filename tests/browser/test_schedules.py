"""A schedule's story in the dashboard: made while its meaning is shown, fired, paused, backfilled, removed."""

import re

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: see the dev extra")
from playwright.sync_api import Page, expect

from jobqueue import Job
from jobqueue.job import JobState
from jobqueue.schedule import Schedule
from tests.browser.conftest import OpenPage
from tests.browser.corpus import EVERYTHING
from tests.browser.stage import Stage
from tests.browser.test_stored_text import nothing_ran

pytestmark = pytest.mark.timeout(120)


def test_a_schedule_is_made_with_a_preview_fires_is_paused_and_removed(stage: Stage, open_page: OpenPage) -> None:
    watch = open_page(stage.url)
    watch.expected.append("status of 404")
    page = watch.page
    page.get_by_role("link", name="Schedules").click()
    expect(page.get_by_text("No schedule yet.")).to_be_visible()
    page.get_by_role("link", name="New schedule").click()
    page.get_by_label("Name").fill("greeting")
    page.get_by_label("With seconds").check()
    page.get_by_label("Expression").fill("* * * * * *")
    meaning = page.get_by_role("region", name="What it means")
    expect(meaning.get_by_role("heading")).to_have_text("every second")
    expect(meaning.get_by_role("listitem")).to_have_count(5)
    page.get_by_label("Task").fill("greet")
    page.get_by_label("Payload, JSON").fill('{"name": "Ada"}')
    page.get_by_role("button", name="Make it").click()

    ticks = page.get_by_role("table", name="Ticks")
    expect(ticks.locator("[data-row]").first).to_contain_text("On time.")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator(".titled .state")).to_have_text("paused")
    page.get_by_role("button", name="Remove").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Remove")).to_be_disabled()
    dialog.get_by_label("Type the schedule's name").fill("greeting")
    dialog.get_by_role("button", name="Remove").click()
    expect(page).to_have_url(re.compile(r"#/schedules$"))
    expect(page.get_by_text("No schedule yet.")).to_be_visible()
    page.get_by_label("State").select_option("removed")
    page.get_by_role("table", name="Schedules").get_by_role("link", name="greeting").click()
    expect(page.get_by_role("heading", name="No such schedule")).to_be_visible()
    expect(ticks.locator("[data-row]").first).to_be_visible()


def test_a_job_leads_to_its_schedule_and_back(stage: Stage, page: Page) -> None:
    stage.do(lambda: stage.queue.schedules.upsert("build", "@yearly", Job("report.build", {"title": "Sales"})))

    page.goto(f"{stage.url}#/schedules/build")
    page.get_by_role("button", name="Run now").click()
    page.get_by_role("table", name="Ticks").get_by_role("link").click()

    expect(page.locator(".facts")).to_contain_text("none: asked for")
    page.locator(".facts").get_by_role("link", name="build").click()
    expect(page.get_by_role("heading", name="build", exact=True)).to_be_visible()
    expect(page.locator("main")).to_contain_text("at 00:00, on the 1st of January")


def test_a_wrong_expression_is_said_while_it_is_typed_and_an_edit_counts_from_then_on(
    stage: Stage, open_page: OpenPage
) -> None:
    stage.do(
        lambda: stage.queue.schedules.upsert(
            "digest", "30 2 * * *", Job("greet", {"name": "Ada"}), timezone="Europe/Berlin", misfire="all"
        )
    )
    watch = open_page(f"{stage.url}#/schedules/digest/edit")
    watch.expected.append("status of 422")
    page = watch.page
    meaning = page.get_by_role("region", name="What it means")
    expect(meaning.get_by_role("listitem")).to_have_count(5)

    page.get_by_label("Expression").fill("61 2 * * *")
    expect(meaning.get_by_role("alert")).to_contain_text("61")
    page.get_by_label("Expression").fill("45 2 * * *")
    expect(meaning.get_by_role("heading")).to_contain_text("02:45")
    page.get_by_role("button", name="Change it").click()

    expect(page.get_by_text("all, after 1m")).to_be_visible()
    expect(page.get_by_role("list", name="Coming ticks").get_by_role("listitem").first).to_contain_text("02:45:00")


def test_one_of_the_code_offers_no_change_and_is_backfilled_after_a_count(stage: Stage, page: Page) -> None:
    hourly = Schedule.of("tidy", "@hourly", Job("greet", {"name": "Ada"}))
    stage.do(lambda: stage.queue.schedules.declare([hourly], app="shop.jobs"))

    page.goto(f"{stage.url}#/schedules/tidy")
    expect(page.locator(".notice")).to_contain_text("defined in the code of shop.jobs")
    expect(page.get_by_role("button", name="Remove")).to_have_count(0)
    expect(page.get_by_role("link", name="Edit")).to_have_count(0)
    page.get_by_role("button", name="Backfill").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("From").fill("2026-01-01T00:30:00")
    dialog.get_by_label("To, without it").fill("2026-01-02T00:30:00")
    dialog.get_by_role("button", name="Count").click()
    expect(dialog).to_contain_text("24 jobs would be queued")
    dialog.get_by_role("button", name="Queue 24").click()

    expect(dialog).to_contain_text("24 of 24 queued")
    dialog.get_by_role("button", name="Close").click()
    job = page.get_by_role("table", name="Ticks").get_by_role("link").first
    expect(job).to_be_visible()
    stage.until(JobState.COMPLETED, str(job.get_attribute("title")))


def test_a_backfill_is_on_the_schedules_clock_and_asks_for_times_that_it_says_once(
    stage: Stage, open_page: OpenPage
) -> None:
    madrid = Schedule.of("tidy", "0 9 * * *", Job("greet", {"name": "Ada"}), timezone="Europe/Madrid")
    stage.do(lambda: stage.queue.schedules.declare([madrid], app="shop.jobs"))
    page = open_page(f"{stage.url}#/schedules/tidy", timezone_id="America/New_York").page
    page.get_by_role("button", name="Backfill").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("On the clock of Europe/Madrid.")

    for wall, said in (("2025-03-30T02:30:00", "does not exist"), ("2025-10-26T02:30:00", "comes twice")):
        dialog.get_by_label("From").fill(wall)
        dialog.get_by_role("button", name="Count").click()
        told = f"{wall.replace('T', ' ')} {said} on the clock of Europe/Madrid"
        expect(dialog.get_by_role("alert")).to_contain_text(told)
    dialog.get_by_label("From").fill("2025-03-30T09:00:00")
    dialog.get_by_label("To, without it").fill("2025-04-01T09:00:00")
    dialog.get_by_role("button", name="Count").click()

    expect(dialog).to_contain_text("2 jobs would be queued, the first for Sun 30 Mar 2025")
    expect(dialog).to_contain_text("09:00:00 +02:00")


def test_times_of_another_zone_say_their_offset_and_a_narrow_screen_cuts_none_of_them(
    stage: Stage, open_page: OpenPage
) -> None:
    job = Job("greet", {"name": "Ada"}, queue="held")  # which no worker serves
    stage.do(lambda: stage.queue.schedules.upsert("held", "* * * * * *", job, seconds=True, overlap="queue"))
    page = open_page(f"{stage.url}#/schedules", width=375, timezone_id="America/New_York").page
    row = page.get_by_role("table", name="Schedules").locator("[data-row]", has_text="held")
    expect(row).to_contain_text(re.compile(r"\d\d:\d\d \+00:00"))
    expect(row.get_by_text("waiting")).to_be_visible()
    expect(row.get_by_role("link")).to_have_count(1)  # the job that is in the way is not the tick's

    stage.do(lambda: stage.queue.schedules.upsert("minutely", "* * * * *", job, overlap="skip"))
    page.goto(f"{stage.url}#/schedules/held")
    behind = page.get_by_role("table", name="Ticks").locator("[data-row]", has_text="behind").first
    expect(behind).to_contain_text(re.compile(r"\d\d:\d\d:\d\d \+00:00"))
    expect(behind).to_contain_text("Waits for the job before it to end.")
    expect(behind.get_by_text("behind")).to_be_visible()
    assert page.evaluate(CUT) == []
    assert page.evaluate(WRAPPED) == 0
    page.goto(f"{stage.url}#/schedules/minutely")
    expect(page.get_by_text("in 9 min")).to_be_visible()
    assert page.evaluate(WRAPPED) == 0
    page.set_viewport_size({"width": 1280, "height": 900})
    page.goto(f"{stage.url}#/schedules")
    expect(row.first).to_be_visible()
    assert page.evaluate(CUT) == []
    stage.do(lambda: stage.queue.schedules.pause("held"))


# What does not fit into its cell, of the ticks; and the coming ticks that need a second line.
CUT = """[...document.querySelectorAll('.list .clip')]
    .filter((cell) => cell.scrollWidth > cell.clientWidth + 1).map((cell) => cell.textContent)"""
WRAPPED = "[...document.querySelectorAll('.coming li')].filter((e) => e.offsetHeight > 30).length"


def test_an_expression_that_never_comes_is_said_to(stage: Stage, page: Page) -> None:
    stage.do(
        lambda: stage.queue.schedules.upsert(
            "lost", "*/10 2 * 3 sunL", Job("greet", {"name": "Ada"}), timezone="Europe/Berlin"
        )
    )

    page.goto(f"{stage.url}#/schedules")
    expect(page.get_by_role("table", name="Schedules").locator("[data-row]")).to_contain_text("never")
    for where in ("schedules/lost", "schedules/lost/edit"):
        page.goto(f"{stage.url}#/{where}")
        expect(page.get_by_text("Never: no tick comes within 50 years.")).to_be_visible()


def test_hostile_text_in_a_schedule_is_text(stage: Stage, page: Page) -> None:
    stage.shop.message = EVERYTHING[:1900]
    job = Job("order.ship", {"order": EVERYTHING})
    stage.do(lambda: stage.queue.schedules.upsert("constructor", "@yearly", job))
    stage.do(lambda: stage.queue.schedules.declare([Schedule.of("toString", "@yearly", job)], app=EVERYTHING))

    for where in ("schedules", "schedules/constructor", "schedules/toString", "schedules/constructor/edit"):
        page.goto(f"{stage.url}#/{where}")
        expect(page.locator("main h1")).to_be_visible()
        expect(page.locator(".skeleton")).to_have_count(0)
        nothing_ran(page, where)
    page.goto(f"{stage.url}#/schedules/toString")
    expect(page.locator(".notice")).to_contain_text("<script>")


def test_what_is_refused_is_told_once_by_the_labels_of_the_form(stage: Stage, open_page: OpenPage) -> None:
    stage.do(lambda: stage.queue.schedules.upsert("digest", "30 2 * * *", Job("greet", {"name": "Ada"})))
    watch = open_page(f"{stage.url}#/schedules/digest/edit")
    watch.expected.append("status of 422")
    page = watch.page
    form = page.get_by_role("form", name="Schedule")
    form.get_by_text("Options").click()
    form.get_by_label("Missed after").fill("soon")
    form.get_by_label("Made up for at most").fill("many")
    form.get_by_role("button", name="Change it").click()

    told = form.get_by_role("alert")
    duration = "must be a duration such as 500ms, 30s, 5m, 1h, 1h30m or 2d, of up to 8 digits each"
    expect(told).to_have_text(re.compile(rf"^Made up for at most: must be a whole number\nMissed after: {duration}$"))
    form.get_by_label("Made up for at most").fill("5")
    form.get_by_label("Missed after").fill("2d")
    form.get_by_role("button", name="Change it").click()
    expect(told).to_have_text("Missed after: must be from 1s to 1d, got 2d")
