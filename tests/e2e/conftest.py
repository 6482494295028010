import sys
from pathlib import Path

import pytest

# Helpers beside the tests; importmode=importlib leaves their folder out.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def work_dir(tmp_path: Path) -> Path:
    """A folder of the test's own; its name has a blank on purpose."""
    folder = tmp_path / "a run"
    folder.mkdir()
    return folder
