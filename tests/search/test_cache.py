"""Where kernels are kept."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ouro import kernel_cache
from ouro.search import cache
from ouro.strategies.warm import warm


def test_numba_uses_a_folder_named_by_the_kernels() -> None:
    import numba

    folder = Path(os.environ["NUMBA_CACHE_DIR"])
    assert folder.name == cache.kernel_fingerprint()
    assert str(folder) == numba.config.CACHE_DIR  # type: ignore[attr-defined]


def test_folder_changes_with_any_kernel_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = cache.kernel_fingerprint()
    for package in kernel_cache.KERNEL_PACKAGES:
        shutil.copytree(kernel_cache._PACKAGE / package, tmp_path / package)
    monkeypatch.setattr(kernel_cache, "_PACKAGE", tmp_path)
    assert cache.kernel_fingerprint() == before
    for package in kernel_cache.KERNEL_PACKAGES:
        for name in ("new.py", "deeper/new.py"):
            (tmp_path / package / name).parent.mkdir(exist_ok=True)
            (tmp_path / package / name).write_text("changed")
            assert cache.kernel_fingerprint() != before
            before = cache.kernel_fingerprint()


def test_configured_folder_with_blanks_and_an_early_numba(tmp_path: Path) -> None:
    base = tmp_path / "a folder"
    code = (
        "import numba, ouro.search, os; from ouro.search.cache import kernel_fingerprint as f;"
        "wanted = os.path.join(os.environ['OURO_CACHE'], 'numba', f());"
        "assert numba.config.CACHE_DIR == os.environ['NUMBA_CACHE_DIR'] == wanted"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={**os.environ, "OURO_CACHE": str(base)}, timeout=120
    )


def test_an_unwritable_folder_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("OURO_CACHE", str(tmp_path / "file"))
    assert cache.activate() is None


def test_warm_runs_every_kernel() -> None:
    assert warm() >= 0.0
