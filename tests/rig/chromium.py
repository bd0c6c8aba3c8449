"""The system's Chromium for tests of pages: found, installed by apt as root, or named in one sentence.

Playwright drives it but never downloads a browser. `python -m tests.rig.chromium` says which one is used and takes a
picture of a page to prove that it works.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.rig.processes import RigError

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, Request

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ADVICE = "No Chromium here, and pages are tested in a real one. Install it with: sudo apt-get install chromium"
# A test talks to our own server only: nothing is fetched, updated, synchronised or sent through a proxy.
FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def find() -> Path | None:
    """Return the Chromium to use; LIBRARIAN_CHROMIUM wins and must then exist."""
    if chosen := os.environ.get("LIBRARIAN_CHROMIUM"):
        if not os.access(chosen, os.X_OK):
            raise RigError(f"LIBRARIAN_CHROMIUM names {chosen}, which is not a program")
        return Path(chosen)
    for name in NAMES:
        if found := shutil.which(name):
            return Path(found)
    return None


def find_or_install() -> Path:
    """Return Chromium, installed by apt where we are root; RigError with the one command to run otherwise."""
    found = find()
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        print("Chromium is not installed; installing it with apt-get", flush=True)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", "chromium"]):
            if subprocess.run(["apt-get", *command], env=environment, check=False).returncode != 0:
                break
        found = find()
    if found is None:
        raise RigError(ADVICE)
    return found


@contextmanager
def launched() -> Iterator["Browser"]:
    """Start the browser for the block. Sandboxed, unless we are root, whom Chromium's sandbox refuses."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=15_000)  # as patient as the actions of `watched_page`; two cores may be busy
    executable = find()
    if executable is None:
        raise RigError(ADVICE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable,
            headless=True,
            chromium_sandbox=os.geteuid() != 0,
            args=list(FLAGS),
            timeout=30_000,
        )
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Watched:
    """A page, with what no page of ours may do: report errors or ask another host."""

    page: "Page"
    home: str
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"script error: {error}"))
        self.page.on("request", self._on_request)
        self.page.on("requestfailed", self._on_failure)

    def _on_console(self, message: "ConsoleMessage") -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"console {message.type}: {message.text}")

    def _on_failure(self, request: "Request") -> None:
        if request.failure != "net::ERR_ABORTED":  # whoever leaves a page or starts a download ends what still loads
            self.complaints.append(f"request failed: {request.url}: {request.failure}")

    def _on_request(self, request: "Request") -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and parts.netloc != urlsplit(self.home).netloc:
            self.complaints.append(f"request to another host: {request.url}")


@contextmanager
def watched_page(
    browser: "Browser", home: str, *, width: int = 1280, height: int = 900, dark: bool = False
) -> Iterator[Watched]:
    """Open a page in a context of its own (no shared cookies) whose addresses are relative to `home`.

    `.complaints` lists console errors, script errors and requests to other hosts; a test asserts that it is empty.
    """
    context = browser.new_context(
        base_url=home,
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        locale="en-GB",
        timezone_id="UTC",
    )
    context.set_default_timeout(15_000)
    try:
        yield Watched(context.new_page(), home)
    finally:
        context.close()


def main() -> int:
    """Say which browser is used and show that it draws."""
    try:
        executable = find_or_install()
    except RigError as error:
        print(error, file=sys.stderr)
        return 3
    with launched() as browser, watched_page(browser, "http://127.0.0.1") as watched:
        watched.page.goto("data:text/html,<h1>The Librarian</h1>")
        picture = watched.page.screenshot()
        print(f"{executable}, version {browser.version}: drew a picture of {len(picture)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
