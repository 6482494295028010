"""What a person does with the page, in a real browser over books that are there already."""

import json
import subprocess
import sys
import time
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from browser_visit import REPO_ROOT, SCREENSHOTS, Visit
from dashboard_site import PASSWORD, Site
from example_books import Example

from ouro.control import ControlStore, control_folder
from ouro.dashboard.units import usd

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.needs_package("chromium", "/usr/bin/chromium")

PAGES = ("", "trades", "market", "capital", "system", "control", "login")
_AXE = REPO_ROOT / "node_modules" / "axe-core" / "axe.min.js"


def axe(page: "Page") -> list[str]:
    """Findings that keep somebody out: serious and critical."""
    page.add_script_tag(content=_AXE.read_text())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{item['id']}: {node['target']} {node['failureSummary']}"
        for item in found["violations"]
        if item["impact"] in ("serious", "critical")
        for node in item["nodes"]
    ]


def report(example: Example) -> dict[str, dict[str, float]]:
    command = [sys.executable, "-m", "ouro.cli", "report", "--json", "--config", str(example.config)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["chains"]


def test_the_page_shows_the_profit_of_the_report_to_the_cent(visit: Visit, example: Example) -> None:
    expected = sum(Decimal(str(chain["net_profit_usd"])) for chain in report(example).values())
    with visit.page() as page:
        page.get_by_text(usd(expected, plus=True), exact=True).first.wait_for()
        assert page.evaluate("document.documentElement.lang") == "en-US"
        page.locator(".o-health").get_by_text("Healthy").wait_for()
        page.locator("[data-chart=equity] canvas").wait_for()


def test_a_trade_opens_with_its_route_its_money_and_its_times(visit: Visit) -> None:
    with visit.page("trades") as page:
        row = page.locator("tbody tr").filter(has_text="landed").first
        net = row.locator("[data-c=net]").inner_text()
        row.locator("a.o-rowlink").click()
        page.locator("svg.o-ring").wait_for()
        page.locator("[data-chart=waterfall] canvas").wait_for()
        assert page.locator(".o-stat-value").first.inner_text() == net
        assert page.locator("svg.o-ring path.arc").count() >= 2
        assert page.get_by_role("heading", name="Stages").is_visible()
        assert "gas" in page.get_by_role("table", name="Simulated against realised").inner_text()
        moment = page.locator("time").first
        assert moment.get_attribute("title", timeout=1_000).endswith("UTC")  # type: ignore[union-attr]


def test_times_are_in_the_readers_zone(visit: Visit) -> None:
    with visit.page("trades", timezone_id="Asia/Kolkata") as page:
        moment = page.locator("tbody time").first
        moment.wait_for()
        utc, shown = moment.get_attribute("datetime"), moment.inner_text()
        hour, minute = (int(part) for part in (utc or "").split("T")[1].split(":")[:2])
        there = (hour * 60 + minute + 330) % 1_440
        assert f"{there // 60:02}:{there % 60:02}:" in shown


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_nobody_is_kept_out(visit: Visit, scheme: str) -> None:
    """Every page; pictures of them are kept as build output."""
    with visit.page("trades", scheme=scheme) as page:
        trade = (page.locator("a.o-rowlink").first.get_attribute("href") or "").lstrip("/")
        for path in (*(PAGES if scheme == "dark" else ("", "trades", "control")), trade):
            visit.open(page, path)
            assert page.evaluate("document.documentElement.dataset.scheme") == scheme
            _picture(page, "trade" if path == trade else path, scheme)
            assert axe(page) == [], path


def test_a_phone_is_wide_enough(visit: Visit) -> None:
    with visit.page("trades", phone=True) as page:
        trade = (page.locator("a.o-rowlink").first.get_attribute("href") or "").lstrip("/")
        for path in ("", "trades", trade, "control"):
            visit.open(page, path)
            _picture(page, "trade" if path == trade else path, "phone")
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path


def _picture(page: "Page", name: str, kind: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    canvas = page.locator("main canvas")
    if name in ("", "trade", "market", "capital"):
        canvas.first.wait_for()
    page.screenshot(path=SCREENSHOTS / f"{name or 'overview'}-{kind}.png", full_page=True)


def test_news_comes_by_itself_and_a_page_that_is_read_stays(visit: Visit, example: Example) -> None:
    with visit.page("trades") as first, visit.page("trades") as second:
        second.get_by_role("button", name="Next").click()
        second.get_by_text("26–50 of").wait_for()
        read = second.locator("tbody tr a").first.get_attribute("href")
        example.at_ms = max(example.at_ms, time.time_ns() // 1_000_000)
        names = example.add(3)
        first.locator(f"a[href='/trades/{names[-1]}']").wait_for()
        # In the order of events: the newest is on top, the others below it.
        shown = [first.locator("tbody tr a").nth(at).get_attribute("href") for at in range(3)]
        assert shown == [f"/trades/{name}" for name in reversed(names)]
        first.get_by_text(f"of {example.written}").wait_for()
        assert second.locator("tbody tr a").first.get_attribute("href") == read


def test_an_open_trade_gets_its_outcome_where_it_stands(visit: Visit, example: Example) -> None:
    example.at_ms = max(example.at_ms, time.time_ns() // 1_000_000)
    (name,) = example.add(1, final=False)
    with visit.page("trades") as page:
        row = page.locator("tbody tr").filter(has=page.locator(f"a[href='/trades/{name}']"))
        row.get_by_text("open").wait_for()
        example.settle(name)
        row.get_by_text("landed").wait_for()


def test_filters_are_links_and_hold(visit: Visit) -> None:
    with visit.page("trades") as page:
        page.get_by_role("link", name="fantom", exact=True).click()
        page.wait_for_url("**chain=fantom**")
        page.locator("tbody tr").first.wait_for()
        assert set(page.locator("tbody [data-c=chain]").all_inner_texts()) == {"fantom"}
        page.get_by_role("link", name="netted", exact=True).click()
        page.get_by_text("Nothing fits these filters").wait_for()


def test_it_can_be_used_by_keyboard(visit: Visit) -> None:
    with visit.page() as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "o-skip"
        for _ in range(3):
            page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.innerText.trim()") == "Trades"
        page.keyboard.press("Enter")
        page.wait_for_url("**/trades")
        page.locator("a.o-rowlink").first.focus()
        page.keyboard.press("Enter")
        page.locator("svg.o-ring").wait_for()


def test_a_picture_can_be_kept(visit: Visit) -> None:
    with visit.page() as page:
        page.locator("[data-chart=equity] canvas").wait_for()
        with page.expect_download() as kept:
            page.get_by_role("button", name="Download equity as PNG").click()
        assert kept.value.path().read_bytes().startswith(b"\x89PNG")
        with page.expect_download() as numbers:
            page.get_by_role("link", name="Download equity as CSV").click()
        assert numbers.value.path().read_text().startswith("time_utc,equity_usd")


def test_halt_and_resume_in_the_browser(visit: Visit, example: Example) -> None:
    store = ControlStore(control_folder(example.data_dir))
    with visit.page("login") as page, visit.page() as watcher:
        page.get_by_label("Your name").fill("Ada")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        page.get_by_role("button", name="Halt now").click()
        assert not store.all(), "the browser asks for the reason first"
        page.get_by_label("Reason").fill("a drill")
        page.get_by_role("button", name="Halt now").click()
        page.get_by_text("Halted.").first.wait_for()
        assert [(halt.by, halt.why) for halt in store.all()] == [("Ada", "a drill")]
        # Whoever looks sees it without asking.
        watcher.locator(".o-health").get_by_text("Halted").wait_for()
        resume = page.get_by_role("form", name="Resume all chains")
        resume.get_by_label("Your name").fill("")
        resume.get_by_role("button").click()
        assert store.all(), "nobody resumes without a name"
        resume.get_by_label("Your name").fill("Ada")
        resume.get_by_role("button").click()
        assert store.all(), "nor without a reason"
        resume.get_by_label("Reason to resume").fill("the drill is over")
        resume.get_by_role("button").click()
        page.get_by_text("Resumed.").first.wait_for()
        assert not store.all()
        watcher.locator(".o-health").get_by_text("Healthy").wait_for()


def test_it_comes_back_after_the_server(browser: "Browser", site: Site) -> None:
    seen = Visit(browser, site)  # whose browser complains of the server that is away, as it should
    with seen.page("trades") as page:
        page.locator("tbody tr").first.wait_for()
        page.evaluate("window.before = true")
        site.restart()
        site.wait_loaded()
        page.wait_for_function("window.before === undefined")  # the page was loaded anew, by itself
        page.locator("tbody tr").first.wait_for()
    assert seen.foreign == []


def test_a_browser_without_websocket_is_told_and_served(visit: Visit) -> None:
    with visit.page("login") as page:
        page.context.add_init_script("delete window.WebSocket")
        visit.open(page, "trades")
        page.get_by_text("This browser has no WebSocket").wait_for()
        page.get_by_role("button", name="Next").click()
        page.get_by_text("26–50 of").wait_for()
