"""Debian's chromium, headless, driven by selenium."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


def require_browser() -> tuple[str, str]:
    """The paths of the browser and of its driver; skips the test where something is missing."""
    pytest.importorskip("selenium.webdriver", reason="no selenium: pip install -e .[test]")
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not browser or not driver:
        pytest.skip("no browser: apt-get install chromium chromium-driver")
    return browser, driver


@contextmanager
def open_browser(profile: Path, width: int = 1900, height: int = 1200) -> Iterator[Any]:
    """Selenium's driver of a browser with a fresh profile in this folder, until the end."""
    browser, driver_path = require_browser()
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in (
        "--headless=new",
        "--no-sandbox",  # chromium refuses to run as root otherwise
        "--disable-dev-shm-usage",
        f"--window-size={width},{height}",
        f"--user-data-dir={profile}",
    ):
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver_path))
    try:
        yield driver
    finally:
        driver.quit()
