"""A page under watch: whatever a browser complains about fails the test."""

import re
from dataclasses import dataclass, field

from playwright.sync_api import ConsoleMessage, Page, Request

# Runs before the page's own scripts. The corpus of the XSS tests sets `fired`.
WATCHER = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`);
});
"""


@dataclass
class Watch:
    """What was complained about. *expected* are patterns of console errors that the test provokes itself."""

    page: Page
    origin: str
    expected: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def begin(self) -> None:
        """Listen from now on."""
        self.page.add_init_script(WATCHER)
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("dialog", lambda dialog: (self.complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        self.page.on("request", self._request)

    def check(self) -> None:
        """Raise what was complained about."""
        if self.page.url.startswith(self.origin):
            violations = self.page.evaluate("window.violations ?? []")
            self.complaints += [f"policy: {each}" for each in violations]
            assert not self.page.evaluate("window.fired === true"), "a script out of stored text ran"
        assert [each for each in self.complaints if not any(re.search(like, each) for like in self.expected)] == []

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"console: {message.text} ({message.location.get('url')})")

    def _request(self, request: Request) -> None:
        if not request.url.startswith((self.origin, "data:")):
            self.complaints.append(f"elsewhere: {request.url}")
