"""The whole thing: local chains, a trading engine, and a person at the page who stops it and lets it go on."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "e2e"))

from browser_visit import Visit
from dashboard_site import PATIENCE_S, wait_until
from e2e_running import Running

from ouro.control import ControlStore, control_folder
from ouro.dashboard.units import usd
from ouro.ledger.books import Books
from ouro.ledger.report import summary
from ouro.testnet.demo import DemoOptions

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [
    pytest.mark.needs_package("chromium", "/usr/bin/chromium"),
    pytest.mark.node,
    pytest.mark.e2e,
    pytest.mark.timeout(400),
]
_CHAIN = "fantom"


class DemoSite:
    """The demo's page, for `Visit`."""

    def __init__(self, said: list[str]) -> None:
        line = wait_until(
            "the page's address", lambda: next((x for x in said if x.startswith("dashboard: ")), None)
        )
        found = re.search(r"(http://\S+/).*password (\S+)\)", line)
        assert found, line
        self.url, self.password = found.groups()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    with Running(tmp_path / "a run", DemoOptions(blocks=None, chains=(_CHAIN,), page=True)) as started:
        started.wait_landed(_CHAIN, 2)
        yield started


def test_looking_halting_and_resuming_while_it_trades(running: Running, browser: "Browser") -> None:
    site = DemoSite(running.lines)
    visit = Visit(browser, site)  # type: ignore[arg-type]
    with visit.page("login") as page, visit.page() as watcher:
        _log_in_and_halt(page, site.password)
        store = ControlStore(control_folder(running.demo.work_dir / "data"))
        assert [halt.by for halt in store.all()] == ["Ada"]
        # What was approved before the halt may still be journaled; after the next blocks nothing is.
        running.wait_blocks(_CHAIN, 3)
        halted_at = len(running.attempts(_CHAIN))
        running.wait_blocks(_CHAIN, 8)
        assert len(running.attempts(_CHAIN)) == halted_at, "halted, and yet it trades"
        watcher.locator(".o-health").get_by_text("Halted").wait_for()

        wait_until(
            "the report's profit on the page", lambda: _profit(running) in watcher.locator(".o-main").inner_text()
        )
        visit.open(watcher, "trades")
        # The newest may be the cancels of what the halt took back, which land as well and have no route.
        link = watcher.locator("tr", has_text="landed").locator("a.o-rowlink").last.get_attribute("href")
        assert link is not None
        visit.open(watcher, link.lstrip("/"))
        watcher.locator("svg.o-ring").wait_for()

        resume = page.get_by_role("form", name="Resume all chains")
        resume.get_by_role("button").click()
        assert store.all(), "nobody resumes without a reason"
        resume.get_by_label("Reason to resume").fill("the drill is over")
        resume.get_by_role("button").click()
        page.get_by_text("Resumed.").first.wait_for()
        running.wait_landed(_CHAIN)
    assert visit.foreign == []
    assert visit.console == []
    running.finish()


def _log_in_and_halt(page: "Page", password: str) -> None:
    page.get_by_label("Your name").fill("Ada")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    page.get_by_label("Reason").fill("a drill")
    page.get_by_role("button", name="Halt now").click()
    page.get_by_text("Halted.").first.wait_for(timeout=PATIENCE_S * 1_000)


def _profit(running: Running) -> str:
    books = Books.open(running.demo.ledger_url)
    try:
        return usd(summary(books)["chains"][_CHAIN]["net_profit_usd"], plus=True)
    finally:
        books.close()
