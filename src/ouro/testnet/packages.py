"""Whole protocol packages, and contracts compiled from their sources: fetched once, kept in the ignored cache."""

import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from ouro.testnet import artifacts
from ouro.testnet.artifacts import ArtifactError, Package, Progress

_IMPORT = re.compile(r"""\bimport\b[^;]*?["']([^"']+)["'][^;]*;""")
_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_COMPILE_TIMEOUT_S = 300
_NODE = """
const wrapper = require('solc/wrapper');
const solc = process.argv[1] ? wrapper(require(process.argv[1])) : require('solc');
let input = '';
process.stdin.on('data', chunk => input += chunk);
process.stdin.on('end', () => process.stdout.write(solc.compile(input)));
"""


def whole_package(package: Package, progress: Progress) -> Path:
    """The unpacked package; its tarball is verified when it is fetched. Raises ``ArtifactError``."""
    target = artifacts.cache_dir() / "whole" / package.spec
    if target.is_dir():
        return target
    progress(f"fetching {package.spec}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".part-") as folder:
        tarball = artifacts.npm_pack(package.spec, Path(folder))
        artifacts.check_integrity(package, tarball)
        unpacked = Path(folder) / "unpacked"
        _unpack(tarball, unpacked)
        try:
            unpacked.rename(target)
        except OSError:
            if not target.is_dir():  # another process was faster
                raise
    return target


def _unpack(tarball: Path, target: Path) -> None:
    """Plain files only; links, devices and paths that lead out are left away."""
    with tarfile.open(tarball, "r:gz") as archive:
        for member in archive:
            path = PurePosixPath(member.name.partition("/")[2])
            stream = archive.extractfile(member) if member.isreg() else None
            if stream is None or not path.parts or path.is_absolute() or ".." in path.parts:
                continue
            destination = target / path
            destination.parent.mkdir(parents=True, exist_ok=True)
            with destination.open("wb") as out:
                shutil.copyfileobj(stream, out)


def source_texts(paths: Iterable[str], roots: Mapping[str, Path]) -> dict[str, str]:
    """Texts of ``paths`` and of all that they import, by path; ``roots`` maps import prefixes to folders.

    The compiler reads no files. Raises ``ArtifactError`` for an import below none of ``roots``.
    """
    found: dict[str, str] = {}
    for path in paths:
        _collect(path, roots, found)
    return found


def _collect(path: str, roots: Mapping[str, Path], found: dict[str, str]) -> None:
    if path in found:
        return
    root = next((prefix for prefix in sorted(roots, key=len, reverse=True) if path.startswith(prefix)), None)
    if root is None:
        raise ArtifactError(f"import of {path!r} is in none of {sorted(roots)}")
    text = (roots[root] / path[len(root) :]).read_text()
    found[path] = text
    for target in _IMPORT.findall(_COMMENT.sub("", text)):
        relative = target.startswith(".")
        _collect(os.path.normpath(PurePosixPath(path).parent / target) if relative else target, roots, found)


def run_compiler(request: str, compiler: Path | None, timeout_s: int = _COMPILE_TIMEOUT_S) -> dict[str, Any]:
    """Standard JSON in and out; ``compiler`` is a ``soljson.js``, None for the project's own solc.

    Raises ``ArtifactError`` with the compiler's messages.
    """
    command = ["node", "-e", _NODE, *([str(compiler)] if compiler else [])]
    name = compiler or "solc"
    try:
        done = subprocess.run(
            command, input=request, capture_output=True, text=True, cwd=artifacts.LOCK_PATH.parent, check=False,
            timeout=timeout_s,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise ArtifactError("node is not installed; install Node.js >= 20") from error
    except subprocess.TimeoutExpired as error:
        raise ArtifactError(f"{name}: not done within {timeout_s} s") from error
    if done.returncode:
        raise ArtifactError(f"{name} did not run; `make setup` installs solc ({done.stderr[-300:]})")
    output = json.loads(done.stdout)
    problems = [entry["formattedMessage"] for entry in output.get("errors", []) if entry["severity"] == "error"]
    if problems:
        raise ArtifactError("\n".join(problems)[:2_000])
    return output
