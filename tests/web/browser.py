"""Chromium without a screen, and pages in it."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from tests.system.server import ROOT

# Without windows, bars and settings around a page it takes half the time of the whole browser.
CHROMIUM = shutil.which("chromium-headless-shell")
"""Debian's; None where there is none: Playwright's own."""
SCREENSHOTS = ROOT / "build" / "screenshots"
SECONDS = 30.0

WIDE, NARROW = (1280, 800), (390, 780)
Scheme = Literal["light", "dark"]

# As root, in a container, and without asking its maker's servers for anything.
_ARGUMENTS = [
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
# What Chromium itself writes when the server is not there.
_EXPECTED = re.compile(r"net::ERR_|WebSocket connection to .* failed")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run a browser. Playwright keeps an event loop of asyncio running in this thread meanwhile."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=_ARGUMENTS, chromium_sandbox=False, timeout=60_000
        )
        yield browser
        browser.close()


class Windows:
    """Opens pages, each as a visitor of its own; at the end, sees that none of them had an error."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self.errors: list[str] = []

    def open(self, url: str, size: tuple[int, int] = WIDE, scheme: Scheme = "light") -> Page:
        """Open a page in a window of a size."""
        width, height = size
        context = self._browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            locale="en-GB",
            timezone_id="Europe/London",
            reduced_motion="reduce",
        )
        context.set_default_timeout(SECONDS * 1000)
        self._contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._heard)
        page.goto(url)
        return page

    def _heard(self, message: ConsoleMessage) -> None:
        asked_by_itself = message.location["url"].endswith("/favicon.ico")
        expected = asked_by_itself or _EXPECTED.search(message.text)
        if message.type in ("error", "warning") and not expected:
            self.errors.append(message.text)

    def close(self) -> None:
        for context in self._contexts:
            context.close()
        assert not self.errors, self.errors


def screenshot(page: Page, name: str) -> Path:
    """Keep what a page looks like; return the file."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    file = SCREENSHOTS / f"{name}.png"
    page.screenshot(path=file)
    return file


def overflow(page: Page) -> list[str]:
    """Return what is wider than the window: nobody should have to scroll sideways."""
    found: list[str] = page.evaluate(
        """() => [...document.querySelectorAll("body *")]
            .filter((one) => one.checkVisibility() && one.getBoundingClientRect().right > innerWidth + 0.5)
            .map((one) => one.outerHTML.slice(0, 80))"""
    )
    return found


def faint(page: Page, least: float = 4.5) -> list[str]:
    """Return texts with less contrast than people need (WCAG 2.2, success criterion 1.4.3)."""
    found: list[str] = page.evaluate(_FAINT, least)
    return found


_FAINT = """(least) => {
    const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
    const luminance = (colour) => {
        const [r, g, b] = rgb(colour).map((v) => v / 255).map((v) =>
            v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (one) => {
        for (let at = one; at; at = at.parentElement) {
            const colour = getComputedStyle(at).backgroundColor;
            if ((rgb(colour)[3] ?? 1) === 1) return colour;
        }
        return "rgb(255, 255, 255)";
    };
    const seen = (one) => one.checkVisibility() && one.getBoundingClientRect().width > 1
        && [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    return [...document.querySelectorAll("body *")].filter(seen).flatMap((one) => {
        const [a, b] = [luminance(getComputedStyle(one).color), luminance(behind(one))];
        const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        return contrast < least ? [`${contrast.toFixed(2)}: ${one.outerHTML.slice(0, 80)}`] : [];
    });
}"""
