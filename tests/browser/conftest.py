"""A browser per module; a stage and a page under watch per test."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.browser.stage import Stage, staged

if TYPE_CHECKING:  # the test modules are skipped where playwright is not installed
    from playwright.sync_api import Browser, Page

    from tests.browser.watch import Watch


FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]
OpenPage = Callable[..., "Watch"]


@pytest.fixture(scope="session")
def chromium() -> str:
    """Debian's chromium, or the one that CHROMIUM names."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("no chromium on PATH: apt-get install chromium, or name one in CHROMIUM")
    return found


# Not for the session: while Playwright runs, no test of this process could run an event loop of its own.
@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator["Browser"]:
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=20_000)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def stage(redis_url: str, database_url: str, namespace: str) -> Iterator[Stage]:
    """Everything, open to this machine."""
    with staged(redis_url, database_url, namespace) as stage:
        yield stage


@pytest.fixture
def guarded(redis_url: str, database_url: str, namespace: str) -> Iterator[Stage]:
    """A stage that wants keys."""
    with staged(redis_url, database_url, namespace, require_keys=True) as stage:
        yield stage


@pytest.fixture
def open_page(browser: "Browser") -> Iterator[OpenPage]:
    """Opens pages; at the end, nothing may have been complained about.

    Ask for the stage first: it has to be there as long as the pages, which would complain that it is gone.
    """
    from tests.browser.watch import Watch

    with ExitStack() as stack:
        watches: list[Watch] = []

        def open_page(url: str, *, width: int = 1280, height: int = 900, **options: object) -> Watch:
            context = browser.new_context(viewport={"width": width, "height": height}, **options)
            stack.callback(context.close)
            context.set_default_timeout(20_000)
            page = context.new_page()
            watch = Watch(page, url.split("#")[0])
            watches.append(watch)
            watch.begin()
            page.goto(url)
            return watch

        yield open_page
        for watch in watches:
            watch.check()


def sign_in(page: "Page", secret: str) -> None:
    """Through the form."""
    page.get_by_label("API key").fill(secret)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("navigation").wait_for()


@pytest.fixture
def page(stage: Stage, open_page: OpenPage) -> "Page":
    """The dashboard."""
    return open_page(stage.url).page
