"""The page over ten thousand trades: until it can be used, and how far it is behind at twenty trades a second.

    python -m benchmarks.dashboard [--trades 10000] [--seconds 10] [--rate 20]

Needs Debian's chromium. Books are made as a run leaves them; the browser and the page's process are real.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "dashboard"))

from dashboard_site import Site, wait_until
from example_books import Example, write_example
from playwright.sync_api import Page, sync_playwright

_CHROMIUM = "/usr/bin/chromium"
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
]
_PAGES = ("", "trades", "market", "capital", "system")


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trades", type=int, default=10_000)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rate", type=int, default=20)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ouro-bench-") as folder:
        example = write_example(Path(folder) / "a run", trades=arguments.trades)
        began = time.perf_counter()
        with Site(example.config) as site, sync_playwright() as playwright:
            address_s = time.perf_counter() - began
            site.wait_loaded()
            loaded_s = time.perf_counter() - began
            browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=_ARGUMENTS)
            page = browser.new_page(color_scheme="dark", viewport={"width": 1440, "height": 900})
            page.goto(site.url + "login")  # the scheme is told, the files are cached, as at any second visit
            result = {
                "trades": arguments.trades,
                "address_after_s": round(address_s, 2),
                "books_read_after_s": round(loaded_s, 2),
                "interactive_s": {path or "overview": _interactive(page, site, path) for path in _PAGES},
                "behind_s": _behind(page, site, example, arguments.rate, arguments.seconds),
            }
            browser.close()
    print(json.dumps(result, indent=2))


def _interactive(page: Page, site: Site, path: str) -> float:
    """Until the page answers: its socket is connected and what it shows is there."""
    began = time.perf_counter()
    page.goto(site.url + path)
    page.wait_for_function("window.socket?.connected && document.querySelector('main .o-card')")
    if path == "trades":
        page.locator("tbody tr").first.wait_for()
        page.get_by_role("button", name="Next").click()
        page.get_by_text("26–50 of").wait_for()
    elif path != "system":
        page.locator("main canvas").first.wait_for()
    return round(time.perf_counter() - began, 2)


def _behind(page: Page, site: Site, example: Example, rate: int, seconds: int) -> dict[str, float]:
    """From the commit of each trade to the frame in which its row is there."""
    page.goto(site.url + "trades")
    page.locator("tbody tr").first.wait_for()
    page.evaluate(
        """() => { window.seen = {}; new MutationObserver(() => document.querySelectorAll('tbody a').forEach(a => {
            const id = a.getAttribute('href').split('/').pop(); window.seen[id] ??= Date.now() / 1000; }))
            .observe(document.querySelector('tbody'), {childList: true, subtree: true, attributes: true}); }"""
    )
    committed: dict[str, float] = {}
    began = time.time()
    for turn in range(rate * seconds):
        example.at_ms = time.time_ns() // 1_000_000
        (name,) = example.add(1)
        committed[name] = time.time()
        time.sleep(max(0.0, began + (turn + 1) / rate - time.time()))
    last = next(reversed(committed))
    wait_until("the last trade", lambda: page.evaluate("id => id in window.seen", last))
    seen = page.evaluate("window.seen")
    late = sorted(seen[name] - at for name, at in committed.items() if name in seen)
    return {
        "p50": round(statistics.median(late), 2),
        "max": round(late[-1], 2),
        "shown": len(late),
        "of": len(committed),
    }


if __name__ == "__main__":
    main()
