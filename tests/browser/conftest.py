"""A headless Chromium, or a loud word that there is none."""

import os
import shutil
from collections.abc import Iterator

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
REQUIRED = "MAQUETTE_REQUIRE_BROWSER"


@pytest.fixture(scope="session")
def chromium() -> Iterator[object]:
    """The browser of all tests; they are skipped without one, unless the environment requires it."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        message = f"not run: no Chromium ({', '.join(NAMES)} are not on the path)"
        if os.environ.get(REQUIRED):
            pytest.fail(f"{message}, and ${REQUIRED} is set")
        pytest.skip(message)
    sync_api = pytest.importorskip("playwright.sync_api", reason="not run: no Playwright")
    arguments = ["--no-sandbox", "--disable-background-networking", "--disable-component-update"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=arguments)
        yield browser
        browser.close()
