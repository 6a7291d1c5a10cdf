"""Chromium, headless and new, that reaches this machine alone. Debian's packages ``chromium`` and ``chromium-driver``."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

INSTALL = "apt-get install chromium chromium-driver"

_FLAGS = (
    "headless",
    "no-sandbox",  # it may run as root, and sees pages of our own
    "disable-gpu",
    "disable-quic",
    "no-first-run",
    "disable-background-networking",
    "disable-component-update",
    "disable-sync",
    "host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "window-size=1500,1000",
)


def installed() -> bool:
    return shutil.which("chromium") is not None and shutil.which("chromedriver") is not None


@contextmanager
def chromium(profile: Path) -> Iterator[Chrome]:
    """A browser that keeps what it keeps in the folder ``profile``, which is not there yet."""
    options = ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in (*_FLAGS, f"user-data-dir={profile}"):
        options.add_argument(f"--{flag}")
    # By its path: selenium would otherwise look for a driver to download.
    driver = Chrome(options=options, service=Service(shutil.which("chromedriver"), log_output=DEVNULL))
    try:
        yield driver
    finally:
        driver.quit()
