"""One page over one example of books for all tests that only look."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Helpers beside the tests; importmode=importlib leaves their folder out.
sys.path.insert(0, str(Path(__file__).parent))

from dashboard_site import PASSWORD, Site
from example_books import Example, write_example

from ouro.dashboard.access import set_password


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Example:
    """Two chains, 120 trades; the folder's name has a blank on purpose."""
    made = write_example(tmp_path_factory.mktemp("books") / "a run", trades=120)
    set_password(made.data_dir, PASSWORD)
    return made


@pytest.fixture(scope="session")
def site(example: Example) -> Iterator[Site]:
    """The page over it, as a process of its own."""
    with Site(example.config) as running:
        yield running
