"""Books that are missing or of another version, an engine that is not there: told in words, on the page."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser_visit import Visit
from dashboard_site import Site
from example_books import Example, write_example
from sqlalchemy import text

from ouro.ledger.schema import REVISIONS

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.needs_package("chromium", "/usr/bin/chromium")


def _set_version(example: Example, version: str) -> None:
    with example.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :version"), {"version": version})


def test_from_no_books_to_old_ones_to_the_first_trade(browser: "Browser", tmp_path: Path) -> None:
    example = write_example(tmp_path / "a run", trades=0)
    ledger = tmp_path / "a run" / "ledger.db"
    for path in (example.data_dir / "status").iterdir():
        path.unlink()
    example.engine.dispose()
    away = ledger.rename(ledger.with_suffix(".away"))
    with Site(example.config) as site:
        visit = Visit(browser, site)
        with visit.page() as page:
            page.get_by_text("The books can’t be read").wait_for()
            page.get_by_text("there is no such file").first.wait_for()
            away.rename(ledger)
            page.get_by_text("The books can’t be read").wait_for(state="hidden")
            page.get_by_text("Engine not running").wait_for()
    older, newest = REVISIONS[-2:]
    _set_version(example, older)
    with Site(example.config) as site:
        visit = Visit(browser, site)
        with visit.page() as page:
            page.get_by_text(f"has schema {older}, this code reads {newest}").first.wait_for()
            page.get_by_text("ouro migrate", exact=True).wait_for()
            _set_version(example, newest)  # as the migration does
            page.get_by_text("The books can’t be read").wait_for(state="hidden")
        assert visit.console == []
        assert visit.foreign == []
