"""A real Chromium, headless. Skipped with the reason where there is none."""

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# Helpers beside the tests; importmode=importlib leaves their folder out. They are imported after this.
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "dashboard")]

from browser_visit import ARGUMENTS, CHROMIUM, Visit  # noqa: E402
from dashboard_site import PASSWORD, Site  # noqa: E402
from example_books import Example, write_example  # noqa: E402

from ouro.dashboard.access import set_password  # noqa: E402

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """Not for the session: while it is open its event loop is in the way of tests that bring their own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield started
        started.close()


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Example:
    """Two chains, 150 trades; the folder's name has a blank on purpose."""
    made = write_example(tmp_path_factory.mktemp("books") / "a run", trades=150)
    set_password(made.data_dir, PASSWORD)
    return made


@pytest.fixture(scope="session")
def site(example: Example, engine: None) -> Iterator[Site]:
    with Site(example.config) as running:
        running.wait_loaded()
        yield running


@pytest.fixture(scope="session")
def engine(example: Example) -> Iterator[None]:
    """Writes the engine's picture as a running one does."""
    ended = threading.Event()

    def write() -> None:
        while not ended.wait(1.0):
            example.picture()

    writer = threading.Thread(target=write)
    writer.start()
    yield
    ended.set()
    writer.join()


@pytest.fixture
def visit(browser: "Browser", site: Site) -> Iterator[Visit]:
    """Fails the test when a page said an error or asked another host."""
    made = Visit(browser, site)
    yield made
    assert made.foreign == []
    assert made.console == []
