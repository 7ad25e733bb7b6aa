"""Signing in, keys, and what a caller may not see."""

import re

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: see the dev extra")
from playwright.sync_api import expect

from jobqueue.access.scope import Kind
from tests.browser.conftest import OpenPage, sign_in
from tests.browser.stage import Stage

pytestmark = pytest.mark.timeout(120)


def test_one_signs_in_with_a_key_and_out_again(guarded: Stage, open_page: OpenPage) -> None:
    secret = guarded.key()
    watch = open_page(f"{guarded.url}#/jobs?state=dead")
    watch.expected.append("status of 401")
    page = watch.page

    page.get_by_label("API key").fill("jq_live_wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert").filter(has_text=re.compile("key", re.IGNORECASE))).to_be_visible()
    page.get_by_label("API key").fill(secret)
    page.get_by_role("button", name="Sign in").click()

    expect(page.get_by_role("heading", name="Jobs")).to_be_visible()
    expect(page.get_by_label("State")).to_have_value("dead")
    cookie = next(each for each in page.context.cookies() if each["name"] == "__Host-jobqueue")
    assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"]) == (True, True, "Strict")
    assert secret not in page.content()
    assert page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])").find("jq_") < 0
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("API key")).to_be_visible()


def test_a_client_sees_what_its_scopes_allow_and_no_more(guarded: Stage, open_page: OpenPage) -> None:
    secret = guarded.key(Kind.CLIENT)
    page = open_page(guarded.url).page
    sign_in(page, secret)

    expect(page.get_by_role("navigation").get_by_role("link")).to_have_text(["Jobs", "Playground"])
    expect(page.get_by_text("Your key does not have the scope queues:read")).to_be_visible()


def test_a_key_is_made_shown_once_rotated_and_revoked(guarded: Stage, open_page: OpenPage) -> None:
    page = open_page(guarded.url).page
    sign_in(page, guarded.key())

    page.get_by_role("link", name="Keys").click()
    page.get_by_role("button", name="New key").click()
    page.get_by_label("Name").fill("shop")
    page.get_by_role("button", name="Make the key").click()
    secret = page.locator(".secret pre").inner_text()
    assert re.fullmatch(r"jq_[a-z]+_[A-Za-z0-9_]{30,}", secret)
    page.get_by_role("button", name="Close").click()
    expect(page.get_by_role("row").filter(has_text="shop")).to_contain_text("good")
    assert secret not in page.content()
    page.get_by_role("button", name="Rotate shop").click()
    page.get_by_label("The old secret stays good for").fill("1d")
    page.get_by_role("button", name="Make a new secret").click()
    page.get_by_role("button", name="Close").click()
    old = page.get_by_role("row").filter(has_text="shop").filter(has_text="ending")
    expect(old).to_contain_text("ends in 23 h")
    old.get_by_role("button", name="Revoke shop").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(page.get_by_role("row").filter(has_text="shop").filter(has_text="revoked")).to_have_count(1)
    page.get_by_role("button", name="Revoke shop").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()

    expect(page.get_by_role("row").filter(has_text="shop").filter(has_text="revoked")).to_have_count(2)


def test_a_session_that_ends_leads_back_to_the_sign_in(guarded: Stage, open_page: OpenPage) -> None:
    watch = open_page(f"{guarded.url}#/workers")
    watch.expected.append("status of 401")
    sign_in(watch.page, guarded.key())
    expect(watch.page.get_by_role("heading", name="Workers")).to_be_visible()

    watch.page.context.clear_cookies()

    expect(watch.page.get_by_label("API key")).to_be_visible(timeout=20_000)
