"""Provides a page of the HTML report in a real browser: Debian's Chromium without windows, driven by
Playwright. Where either is missing the tests are skipped, and say what installs it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from emulator.model.results import Report
from emulator.report.report_html import to_html
from tests.unit.report.samples import PODS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium-headless-shell")
INSTALL = "scripts/with-env --browser pytest tests/browser installs it"
# Debian's Chromium asks hosts of its maker for updates, which no test may
QUIET = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if not CHROMIUM:
        pytest.skip(f"chromium-headless-shell is not installed: {INSTALL}")
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason=f"Playwright is not installed: {INSTALL}", exc_type=ImportError
    )
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


class Opened:
    """Holds an open page, and all that it logged and asked for."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.said: list[str] = []
        self.asked: list[str] = []
        page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("dialog", lambda dialog: (self.said.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: self.asked.append(request.url))
        page.goto(url)

    @property
    def focused(self) -> str:
        """Returns the text, label or value of the element that has the focus."""
        name: str = self.page.evaluate(
            "(e => e.labels?.length ? e.labels[0].innerText : e.innerText)(document.activeElement)"
        )
        return " ".join(name.split())

    def press(self, key: str, times: int = 1) -> None:
        for _ in range(times):
            self.page.keyboard.press(key)

    def wait_for(self, count: str) -> None:
        """Waits until so many flows are shown."""
        self.page.locator("#count", has_text=count).wait_for()

    @property
    def shown(self) -> list[str]:
        """Returns the ids of the flows that are not filtered out."""
        ids: list[str] = self.page.evaluate(
            "[...document.querySelectorAll('details.flow')].filter(e => e.checkVisibility()).map(e => e.id)"
        )
        return ids


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Iterator[Callable[..., Opened]]:
    """Opens a report, or a page that is made already; words as Playwright's ``new_context`` has them.
    Afterwards the page must have asked for nothing but itself, and logged nothing.
    """
    opened: list[tuple[Opened, str]] = []

    def show(report: Report | bytes, **words: object) -> Opened:
        file = tmp_path / f"report-{len(opened)}.html"
        file.write_bytes(report if isinstance(report, bytes) else to_html(report, PODS, "captures"))
        page = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **words}).new_page()
        page.set_default_timeout(60_000)  # milliseconds, on a busy machine too
        opened.append((Opened(page, file.as_uri()), file.as_uri()))
        return opened[-1][0]

    yield show
    for one, url in opened:
        one.page.context.close()
        assert one.said == []
        assert {address.partition("#")[0] for address in one.asked} == {url}
