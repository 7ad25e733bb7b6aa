"""The dashboard inside somebody's own application, under a path of theirs."""

from collections.abc import Iterator

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: see the dev extra")
from playwright.sync_api import expect

from tests.browser.conftest import OpenPage
from tests.browser.stage import Stage, staged

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def mounted(redis_url: str, database_url: str, namespace: str) -> Iterator[Stage]:
    """A stage whose API is mounted at /admin/jobs."""
    with staged(redis_url, database_url, namespace, mount="/admin/jobs") as stage:
        yield stage


def test_it_works_under_a_prefix(mounted: Stage, open_page: OpenPage) -> None:
    (job,) = mounted.enqueue("greet", name="Ada")
    page = open_page(mounted.url).page
    expect(page.locator(".side .link")).to_have_text("live")

    page.get_by_role("link", name="Jobs").click()
    page.locator("[data-row]").get_by_role("link").click()

    expect(page.locator(".titled .state")).to_have_text("completed")
    assert page.url == f"{mounted.url}#/jobs/{job}"
    assert "/admin/jobs/" in mounted.url
