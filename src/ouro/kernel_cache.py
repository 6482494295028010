"""Where compiled kernels are kept.

Numba's file cache looks at the file of the compiled function only: a change in a callee that lives in another
module is missed and stale machine code runs. So the folder is named by a hash of every source of the packages that
hold kernels, Numba's and Python's version and the processor. A new package with kernels is one line in
``KERNEL_PACKAGES``. Kernels never use ``parallel=True``: its thread pool doesn't survive a fork and fights with the
other processes for the cores.
"""

import hashlib
import os
import platform
import shutil
import sys
import time
from importlib.metadata import version
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
KERNEL_PACKAGES = ("search", "protocols/kernels", "strategies/kernels")
_STALE_SECONDS = 14 * 86_400


def kernel_fingerprint() -> str:
    """Short hash of what the machine code depends on: sources, Numba, llvmlite, Python, processor features."""
    from llvmlite import binding

    digest = hashlib.sha256()
    for package in KERNEL_PACKAGES:
        for path in sorted((_PACKAGE / package).rglob("*.py")):
            digest.update(path.relative_to(_PACKAGE).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    features = binding.get_host_cpu_features().flatten()
    facts = (
        version("numba"),
        version("llvmlite"),
        platform.python_version(),
        binding.get_host_cpu_name(),
        features,
    )
    digest.update("\0".join(facts).encode())
    return digest.hexdigest()[:20]


def _base_folder() -> Path:
    if configured := os.environ.get("OURO_CACHE"):
        return Path(configured) / "numba"
    repository = _PACKAGE.parents[1]
    if (repository / "pyproject.toml").is_file() and os.access(repository, os.W_OK):
        return repository / ".cache" / "numba"
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "ouro" / "numba"


def _drop_stale(base: Path, keep: Path) -> None:
    oldest = time.time() - _STALE_SECONDS
    for folder in base.iterdir():
        if folder != keep and folder.is_dir() and folder.stat().st_mtime < oldest:
            shutil.rmtree(folder, ignore_errors=True)


def activate() -> Path | None:
    """Point Numba at the folder of this exact set of kernels; returns it, or None where nothing is writable.

    Without a writable folder kernels are compiled anew in each process, which is slow but right.
    """
    # SciPy reads it when it is loaded: threads over matrices of a few hundred rows cost more than they bring
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    fingerprint = kernel_fingerprint()
    folder = _base_folder() / fingerprint
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
        _drop_stale(folder.parent, folder)
    except OSError:
        return None
    os.environ["NUMBA_CACHE_DIR"] = str(folder)
    if "numba" in sys.modules:
        # read once at Numba's import, so the variable alone would come too late
        sys.modules["numba"].config.CACHE_DIR = str(folder)
    return folder
