"""Opening pages in a real Chromium, noting what they say and whom they ask."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dashboard_site import Site

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

REPO_ROOT = Path(__file__).resolve().parents[2]
SCREENSHOTS = Path(os.environ.get("OURO_SCREENSHOTS") or REPO_ROOT / "build" / "screenshots")
CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_TIMEOUT_MS = 60_000
_DESKTOP, _PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


class Visit:
    """Opens pages of one site and keeps what they log and whom they ask."""

    def __init__(self, browser: "Browser", site: Site) -> None:
        self._browser, self.site = browser, site
        self.console: list[str] = []
        self.foreign: list[str] = []

    @contextmanager
    def page(
        self, path: str = "", *, phone: bool = False, scheme: str = "dark", **options: Any
    ) -> Iterator["Page"]:
        """A page in a context of its own, loaded and connected."""
        viewport = _PHONE if phone else _DESKTOP
        context = self._browser.new_context(viewport=viewport, color_scheme=scheme, **options)  # type: ignore[arg-type]
        context.set_default_timeout(_TIMEOUT_MS)
        try:
            page = context.new_page()
            page.on("console", lambda message: self._heard(message.type, message.text))
            page.on("pageerror", lambda error: self.console.append(str(error)))
            page.on("request", lambda request: self._asked(request.url))
            self.open(page, path)
            yield page
        finally:
            context.close()

    def open(self, page: "Page", path: str) -> None:
        """Go there; back when what it shows is there."""
        page.goto(self.site.url + path)
        page.wait_for_selector("main h1, .o-login h1")
        page.wait_for_function(
            "document.documentElement.dataset.scheme === (document.cookie.match(/ouro_scheme=(\\w+)/)||[])[1]"
        )

    def _heard(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.console.append(text)

    def _asked(self, url: str) -> None:
        if not url.startswith((self.site.url, "data:", "blob:")):
            self.foreign.append(url)
