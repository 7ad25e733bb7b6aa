"""A job's story in the dashboard: enqueued, watched, failed, retried; and many of them."""

import re

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: see the dev extra")
from playwright.sync_api import Page, Route, expect

from jobqueue.job import JobState
from tests.browser.stage import Stage

pytestmark = pytest.mark.timeout(120)
MANY = 450


def test_a_job_is_enqueued_watched_fails_and_is_retried(stage: Stage, page: Page) -> None:
    held: list[Route] = []
    page.route("**/api/v1/tasks", lambda route: held.append(route))
    with page.expect_request("**/api/v1/tasks"):
        page.get_by_role("link", name="Playground").click()
    page.get_by_label("Task", exact=True).fill("order.ship")
    held[0].continue_()  # what was typed before the tasks were known is known then
    page.get_by_label("order", exact=True).fill("A-17")
    page.get_by_role("button", name="Enqueue").click()
    job = page.get_by_role("region", name="The job")
    expect(job.locator(".state").first).to_have_text("dead")
    expect(job.locator(".failure")).to_have_text("CarrierError the carrier does not answer")
    expect(job.get_by_text("Traceback", exact=True)).to_be_visible()

    stage.shop.broken = False
    job.get_by_role("button", name="Retry", exact=True).click()

    expect(job.locator(".state").first).to_have_text("completed")
    job.get_by_role("link").click()
    expect(page).to_have_url(re.compile(r"#/jobs/[0-9a-f-]{36}$"))
    expect(page.locator(".attempts > li")).to_have_count(2)
    expect(page.locator(".timeline .what")).to_have_text(
        [
            "Created",
            "Attempt 1 started",
            "Attempt 1 failed for good",
            "Queued again",
            "Attempt 1 started",
            "Attempt 1 completed",
        ]
    )


def test_a_task_is_chosen_from_those_that_are_known(page: Page) -> None:
    page.get_by_role("link", name="Playground").click()
    page.get_by_role("list", name="Known tasks").get_by_role("button", name="order.ship").click()

    expect(page.get_by_label("Task", exact=True)).to_have_value("order.ship")
    expect(page.get_by_label("order", exact=True)).to_be_visible()
    page.evaluate("location.hash = '#/playground?type=report.build'")
    expect(page.get_by_label("Task", exact=True)).to_have_value("report.build")


def test_a_job_of_a_task_that_nobody_knows_says_so(stage: Stage, page: Page) -> None:
    page.get_by_role("link", name="Playground").click()
    page.get_by_label("Task", exact=True).fill("order.shipp")
    page.get_by_label("Task", exact=True).press("Enter")
    expect(page.get_by_text("The API does not know this task")).to_be_visible()
    page.get_by_role("button", name="Enqueue").click()
    page.get_by_role("region", name="The job").get_by_role("link").click()

    expect(page.locator(".notice")).to_contain_text("The API knows no task order.shipp")


def test_a_running_job_shows_its_progress_and_can_be_cancelled(stage: Stage, page: Page) -> None:
    (job,) = stage.enqueue("report.build", title="Sales")
    stage.until(JobState.RUNNING, job)

    page.goto(f"{stage.url}#/jobs/{job}")

    expect(page.get_by_label("Progress", exact=True)).to_contain_text('"title": "Sales"')
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".titled .state")).to_have_text("cancelled")


def test_the_payload_of_a_dead_letter_is_edited_and_retried(stage: Stage, page: Page) -> None:
    (job,) = stage.enqueue("order.ship", order="A-17")
    stage.until_dead(1)
    stage.shop.broken = False

    page.goto(f"{stage.url}#/jobs/{job}")
    page.get_by_role("button", name="Edit and retry").click()
    page.get_by_role("dialog").get_by_label("Payload").fill("[1]")
    page.get_by_role("button", name="Retry with this payload").click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("A payload is a JSON object")
    page.get_by_role("dialog").get_by_label("Payload").fill('{"order": "A-18", "note": "by hand"}')
    page.get_by_role("button", name="Retry with this payload").click()

    expect(page.locator(".titled .state")).to_have_text("completed")
    expect(page.get_by_label("Payload", exact=True)).to_contain_text('"order": "A-18"')


def test_many_dead_letters_are_counted_first_and_retried_with_progress(stage: Stage, page: Page) -> None:
    ids = stage.enqueue("order.ship", many=MANY, order="A-17")
    stage.until_dead(MANY)
    stage.shop.broken = False

    page.goto(f"{stage.url}#/dead?type=order.ship")
    page.get_by_role("button", name="Retry all found").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name=f"Retry {MANY}").click()

    expect(dialog).to_contain_text(f"{MANY} of {MANY} done")
    dialog.get_by_role("button", name="Close").click()
    expect(page.get_by_text("No dead letter matches.")).to_be_visible()
    stage.until(JobState.COMPLETED, *ids)


def test_a_bulk_action_left_at_the_count_does_nothing(stage: Stage, page: Page) -> None:
    stage.enqueue("order.ship", many=3, order="A-17")
    stage.until_dead(3)

    page.goto(f"{stage.url}#/dead")
    expect(page.get_by_role("table", name="Dead letters").locator("[data-row]")).to_have_count(3)
    page.get_by_role("button", name="Delete all found").click()
    expect(page.get_by_role("dialog")).to_contain_text("3 dead letters match")
    page.get_by_role("button", name="Leave").click()

    expect(page.get_by_role("dialog")).to_have_count(0)
    stage.until_dead(3)


def test_all_jobs_of_a_filter_are_counted_and_cancelled(stage: Stage, page: Page) -> None:
    stage.enqueue("greet", many=230, queue="parked", name="Ada")
    (other,) = stage.enqueue("report.build", title="Sales")

    page.goto(f"{stage.url}#/jobs?queue=parked&state=queued")
    expect(page.locator("[data-row]")).to_have_count(50)
    page.get_by_role("button", name="Cancel all found").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("All jobs with state “queued”, queue “parked”.")
    dialog.get_by_role("button", name=re.compile("Cancel (230|more than)")).click()

    expect(dialog).to_contain_text("230 of 230 done")
    dialog.get_by_role("button", name="Close").click()
    expect(page.get_by_text("No job matches.")).to_be_visible()
    stage.until(JobState.RUNNING, other)


def test_jobs_are_found_by_state_text_and_id_and_the_address_holds_the_filter(stage: Stage, page: Page) -> None:
    (dead,) = stage.enqueue("order.ship", order="needle-7")
    (done,) = stage.enqueue("greet", name="Ada")
    stage.until_dead(1)
    stage.until(JobState.COMPLETED, done)
    rows = page.locator("[data-row]")

    page.goto(f"{stage.url}#/jobs")
    expect(rows).to_have_count(2)
    page.get_by_label("State").select_option("dead")
    expect(rows).to_have_count(1)
    page.get_by_label("Search").fill("needle")
    expect(page).to_have_url(re.compile(r"state=dead&q=needle$"))
    page.reload()

    expect(page.get_by_label("Search")).to_have_value("needle")
    expect(rows).to_have_count(1)
    page.get_by_label("State").select_option("")
    page.get_by_label("Search").fill(done)
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("greet")
    page.get_by_label("Search").fill("no-such-word")
    expect(page.get_by_text("No job matches.")).to_be_visible()
    assert dead != done
