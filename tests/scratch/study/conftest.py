"""A browser for the pages, and the numbers in them."""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def embedded(content: str) -> dict[str, Any]:
    """The numbers in a page."""
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', content, flags=re.DOTALL)
    found: dict[str, Any] = json.loads(data)
    return found


def assert_fits(window: Any, *widths: int) -> None:
    """The page is no wider than a window of each of these widths."""
    for width in widths:
        window.set_viewport_size({"width": width, "height": 700})
        assert window.evaluate("document.documentElement.scrollWidth") == width


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless browser: $CHROMIUM, or one that is installed."""
    synchronous = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"there is no browser here: none of {', '.join(BROWSERS)} (Debian: apt-get install chromium)")
    with synchronous.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path)
        yield started
        started.close()


@pytest.fixture
def opened_page(browser: Any, tmp_path: Path) -> Iterator[Callable[[str], Any]]:
    """Opens a page of this content. Fails if it says anything on the console or asks for anything but itself."""
    said: list[str] = []
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    context.set_default_timeout(20_000)

    def opens(content: str) -> Any:
        path = tmp_path / "page.html"
        path.write_text(content, encoding="utf-8")
        window = context.new_page()
        window.on("console", lambda message: said.append(message.text))
        window.on("pageerror", lambda error: said.append(str(error)))
        window.on("request", lambda request: None if request.url == path.as_uri() else said.append(request.url))
        window.goto(path.as_uri())
        return window

    yield opens
    context.close()
    assert [one for one in said if not one.startswith("data:")] == []
