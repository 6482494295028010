"""Folders of a process: held against others, swept when it is dead, left alone when they were given back."""

import subprocess
import sys
from pathlib import Path

import pytest

from ouro.testnet.demo import DemoError, DemoOptions, run_demo
from ouro.testnet.owned import OwnedError, disown, own, sweep, temporary_folder

DIES = "import os, sys; from pathlib import Path; from ouro.testnet.owned import temporary_folder as t; "
DIES += "print(t('x-', Path(sys.argv[1]))[0], flush=True); os.kill(os.getpid(), 9)"


def test_only_what_a_dead_process_left_is_swept(tmp_path: Path) -> None:
    said = subprocess.run([sys.executable, "-c", DIES, tmp_path], capture_output=True, text=True, check=False)
    left = Path(said.stdout.strip())
    assert left.is_dir(), said.stderr
    mine, handle = temporary_folder("x-", tmp_path)
    kept, other = temporary_folder("x-", tmp_path)
    disown(kept, other)
    (tmp_path / "x-somebody's").mkdir()
    (tmp_path / "x-link").symlink_to(mine)
    assert sweep("x-", tmp_path) == [left]
    assert not left.exists()
    assert mine.is_dir()
    assert kept.is_dir()
    disown(mine, handle)


def test_a_second_demo_in_a_work_dir_touches_nothing(tmp_path: Path) -> None:
    handle = own(tmp_path)
    (tmp_path / "ouro.toml").write_text("the running one's")
    with pytest.raises(OwnedError):
        own(tmp_path)
    with pytest.raises(DemoError, match="another demo runs in"):
        run_demo(DemoOptions(work_dir=tmp_path), lambda _: None)
    assert (tmp_path / "ouro.toml").read_text() == "the running one's"
    disown(tmp_path, handle)
    assert [path.name for path in tmp_path.iterdir()] == ["ouro.toml"]
