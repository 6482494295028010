"""Real protocol contracts from their own npm packages: fetched once, verified, kept outside the repository.

``contracts.lock`` names package, version, the sha512 of the tarball and the sha256 of every wanted file. The files
carry mixed licences (GPL, BUSL, AGPL), so they are never committed; ``fetch`` fills an ignored cache with them.
"""

import argparse
import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

_ROOT = Path(__file__).resolve().parents[3]
LOCK_PATH = _ROOT / "contracts.lock"
_MAX_FILE_BYTES = 32 * 1024 * 1024
_NPM_TIMEOUT_S = 300
_LIBRARY_PLACEHOLDER = re.compile(r"__.{38}")

Progress = Callable[[str], None]


class ArtifactError(RuntimeError):
    """A contract package or file is missing, altered or not understood; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Package:
    """One entry of ``contracts.lock``: ``files`` maps the wanted paths to their sha256 (hex)."""

    name: str
    version: str
    integrity: str
    files: Mapping[str, str]

    @property
    def spec(self) -> str:
        """What npm is asked for."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True)
class Artifact:
    """A compiled contract, whatever tool wrote it.

    ``bytecode`` is the creation code without constructor arguments. ``link_references`` maps source file →
    library → [{start, length}]; where it is not empty those bytes are zero and have to be filled before deploying.
    ``deployed_bytecode`` is None where the package holds none.
    """

    abi: list[dict[str, Any]]
    bytecode: bytes
    deployed_bytecode: bytes | None
    link_references: dict[str, dict[str, list[dict[str, int]]]]


def cache_dir() -> Path:
    """Folder of the verified files: ``$OURO_CACHE/contracts``, by default ``.cache/contracts`` of the checkout."""
    return Path(os.environ.get("OURO_CACHE") or _ROOT / ".cache") / "contracts"


def read_lock(path: Path = LOCK_PATH) -> tuple[Package, ...]:
    """Packages of the lock file. Raises ArtifactError when it is absent or malformed."""
    try:
        entries = json.loads(path.read_text())["packages"]
        packages = tuple(
            Package(entry["name"], entry["version"], entry["integrity"], dict(entry["files"])) for entry in entries
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path}: not a readable contract lock ({error!r}); restore it from git") from error
    for package in packages:
        for name in package.files:
            _check_relative(package, name)
    return packages


def fetch(progress: Progress | None = None, packages: Sequence[Package] | None = None) -> Path:
    """Make every file of the lock present and verified; returns the cache folder.

    Idempotent, off-line once the files are there, safe beside a second copy (every file appears by one rename).
    Raises ArtifactError when npm can't deliver or a hash differs.
    """
    cache = cache_dir()
    missing = [p for p in (packages if packages is not None else read_lock()) if not _is_cached(p, cache)]
    if not missing:
        return cache
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="ouro-npm-") as folder:
        for package in missing:
            if progress is not None:
                progress(f"fetching {package.spec}")
            tarball = npm_pack(package.spec, Path(folder))
            check_integrity(package, tarball)
            _extract(package, tarball, cache)
            tarball.unlink()
    return cache


@lru_cache(maxsize=64)
def _load(path: Path, sha256: str) -> Artifact:
    return normalise(json.loads(_read_verified(path, sha256)), str(path))


def artifact(package: str, path: str) -> Artifact:
    """The contract at ``path`` inside npm package ``package`` (its name without version), from the cache.

    Raises ArtifactError when it is not in the lock, not fetched yet, or altered.
    """
    entry = next((p for p in read_lock() if p.name == package), None)
    if entry is None or path not in entry.files:
        raise ArtifactError(f"{package} {path}: not in {LOCK_PATH.name}; add it there and run `make lock`")
    return _load(_cached_path(entry, path, cache_dir()), entry.files[path])


def load_json(path: Path) -> Artifact:
    """A committed artifact of our own (``{abi, bytecode, deployed_bytecode, …}``)."""
    try:
        return normalise(json.loads(path.read_text()), str(path))
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path}: unreadable ({error}); run `make contracts`") from error


def normalise(raw: Mapping[str, Any], where: str) -> Artifact:
    """Read Waffle, Hardhat, hardhat-deploy, Foundry and our own JSON into one form.

    Raises ArtifactError naming ``where`` when there is no creation code (interfaces, some deployment files).
    """
    evm = raw.get("evm") or {}
    code, links = _code(raw.get("bytecode") or evm.get("bytecode"), where)
    deployed_source = raw.get("deployedBytecode") or raw.get("deployed_bytecode") or evm.get("deployedBytecode")
    deployed, _ = _code(deployed_source, where)
    if not code:
        raise ArtifactError(f"{where}: no creation code (an interface, or a deployment file without bytecode)")
    return Artifact(list(raw["abi"]), code, deployed or None, dict(raw.get("linkReferences") or links))


def _code(source: Any, where: str) -> tuple[bytes, dict[str, Any]]:
    links: dict[str, Any] = {}
    if isinstance(source, Mapping):
        links = dict(source.get("linkReferences") or {})
        source = source.get("object")
    if source is None:
        return b"", links
    text = _LIBRARY_PLACEHOLDER.sub("0" * 40, str(source).removeprefix("0x"))
    try:
        return bytes.fromhex(text), links
    except ValueError as error:
        raise ArtifactError(f"{where}: bytecode is not hex ({error})") from error


def _check_relative(package: Package, name: str) -> None:
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts or not parts.parts or "\\" in name:
        raise ArtifactError(f"{package.spec}: {name!r} is not a plain path inside the package")


def _cached_path(package: Package, name: str, cache: Path) -> Path:
    return cache / package.spec / name


def _is_cached(package: Package, cache: Path) -> bool:
    try:
        for name, sha256 in package.files.items():
            _read_verified(_cached_path(package, name, cache), sha256)
    except ArtifactError:
        return False
    return True


def _read_verified(path: Path, sha256: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path}: not fetched yet; run `make setup` (needs the network once)") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ArtifactError(f"{path}: differs from {LOCK_PATH.name}; run `make setup` to fetch it anew")
    return data


def npm_pack(spec: str, folder: Path) -> Path:
    """The package's tarball in ``folder``, nothing of it run. Raises ArtifactError."""
    command = ["npm", "pack", "--ignore-scripts", "--prefer-offline", "--silent", spec]
    before = set(folder.glob("*.tgz"))
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_NPM_TIMEOUT_S, check=False
        )
    except FileNotFoundError as error:
        raise ArtifactError("npm is not installed; install Node.js >= 20 with npm") from error
    except subprocess.TimeoutExpired as error:
        raise ArtifactError(f"{spec}: npm did not answer within {_NPM_TIMEOUT_S} s") from error
    new = set(folder.glob("*.tgz")) - before
    if done.returncode != 0 or len(new) != 1:
        said = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise ArtifactError(
            f"{spec}: npm could not fetch it (exit {done.returncode}: {said}). It is needed once and is not in "
            f"{cache_dir()}; connect to the network and repeat `make setup`"
        )
    return new.pop()


def _integrity(tarball: Path) -> str:
    return "sha512-" + base64.b64encode(hashlib.sha512(tarball.read_bytes()).digest()).decode()


def check_integrity(package: Package, tarball: Path) -> None:
    """Raises ArtifactError unless the tarball is the one that the lock names."""
    found = _integrity(tarball)
    if found != package.integrity:
        raise ArtifactError(f"{package.spec}: tarball is {found}, {LOCK_PATH.name} says {package.integrity}")


def _read_members(package: Package, tarball: Path) -> dict[str, bytes]:
    """Contents of the wanted files only; links, devices and oversize members are refused, nothing else is read."""
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(tarball, "r:gz") as archive:
            for member in archive:
                name = member.name.partition("/")[2]  # npm puts everything below one top folder
                if name not in package.files:
                    continue
                stream = archive.extractfile(member) if member.isreg() else None
                if stream is None or member.size > _MAX_FILE_BYTES:
                    raise ArtifactError(f"{package.spec}: {name} is not a plain file of a sane size")
                found[name] = stream.read()
    except (tarfile.TarError, OSError, EOFError) as error:
        raise ArtifactError(f"{package.spec}: the tarball is damaged ({error})") from error
    if absent := sorted(set(package.files) - set(found)):
        raise ArtifactError(f"{package.spec}: the package has no {', '.join(absent)}")
    return found


def _extract(package: Package, tarball: Path, cache: Path) -> None:
    for name, data in _read_members(package, tarball).items():
        if hashlib.sha256(data).hexdigest() != package.files[name]:
            raise ArtifactError(f"{package.spec}: {name} differs from {LOCK_PATH.name}")
        write_atomically(_cached_path(package, name, cache), data)


def write_atomically(path: Path, data: bytes) -> None:
    """One rename makes the whole file appear."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".part-")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def relock(progress: Progress, path: Path = LOCK_PATH) -> None:
    """Rewrite the hashes of the lock from what npm delivers now for its names, versions and file paths."""
    # Imported late: that module builds on this one.
    from ouro.testnet.family_contracts import SECTION, relock_families

    entries = []
    with tempfile.TemporaryDirectory(prefix="ouro-npm-") as folder:
        for package in read_lock(path):
            progress(f"locking {package.spec}")
            tarball = npm_pack(package.spec, Path(folder))
            members = _read_members(package, tarball)
            files = {name: hashlib.sha256(members[name]).hexdigest() for name in sorted(members)}
            entries.append(
                {
                    "name": package.name,
                    "version": package.version,
                    "integrity": _integrity(tarball),
                    "files": files,
                }
            )
            tarball.unlink()
    whole: dict[str, Any] = {"packages": entries}
    further = json.loads(path.read_text()).get(SECTION)
    if further is not None:
        whole[SECTION] = relock_families(further, progress)
    write_atomically(path, (json.dumps(whole, indent=2) + "\n").encode())


def _main() -> int:
    parser = argparse.ArgumentParser(prog="python -m ouro.testnet.artifacts", description="Fetch locked contracts.")
    parser.add_argument("--lock", action="store_true", help="rewrite the hashes in contracts.lock instead")
    arguments = parser.parse_args()

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    try:
        if arguments.lock:
            relock(say)
        else:
            fetch(say)
    except ArtifactError as error:
        say(f"ouro: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main())
