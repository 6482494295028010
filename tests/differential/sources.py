"""Protocol packages that only the differential tests need: fetched when a family asks, verified, compiled once.

``packages.lock`` names version and sha512 of each tarball. Contents are unpacked below the same ignored cache as
the contracts of ``contracts.lock``; nothing of them is ever committed (their licences differ from ours).
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from ouro.testnet.artifacts import (
    Artifact,
    ArtifactError,
    Package,
    cache_dir,
    check_integrity,
    normalise,
    npm_pack,
)

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
_IMPORT = re.compile(r"""\bimport\b[^;]*?["']([^"']+)["'][^;]*;""")
_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_NODE = """
const wrapper = require('solc/wrapper');
const solc = process.argv[1] ? wrapper(require(process.argv[1])) : require('solc');
let input = '';
process.stdin.on('data', chunk => input += chunk);
process.stdin.on('end', () => process.stdout.write(solc.compile(input)));
"""


def package_dir(name: str) -> Path:
    """The unpacked package, fetched and verified on first use. Raises ``ArtifactError``."""
    version, integrity = json.loads((HERE / "packages.lock").read_text())[name]
    package = Package(name.split("-0.")[0] if name.startswith("solc-") else name, version, integrity, {})
    target = cache_dir() / "whole" / package.spec
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".part-") as folder:
        tarball = npm_pack(package.spec, Path(folder))
        check_integrity(package, tarball)
        unpacked = Path(folder) / "unpacked"
        _unpack(tarball, unpacked)
        try:
            unpacked.rename(target)
        except OSError:
            if not target.is_dir():  # another process was faster
                raise
    return target


def _unpack(tarball: Path, target: Path) -> None:
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


def package_artifact(name: str, path: str) -> Artifact:
    """A compiled contract that a package ships."""
    return normalise(json.loads((package_dir(name) / path).read_text()), f"{name} {path}")


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


def compiled(
    roots: Mapping[str, Path], wanted: Mapping[str, str], compiler: str | None, evm_version: str, runs: int = 200
) -> dict[str, Artifact]:
    """Contracts by name: ``wanted`` maps each to its source path, ``roots`` import prefixes to folders.

    ``compiler`` is a name of ``packages.lock``, None for the project's own solc. The output is cached by its input.
    """
    sources: dict[str, str] = {}
    for path in wanted.values():
        _collect(path, roots, sources)
    request = {
        "language": "Solidity",
        "sources": {name: {"content": text} for name, text in sources.items()},
        "settings": {
            "evmVersion": evm_version,
            "optimizer": {"enabled": True, "runs": runs},
            "outputSelection": {"*": {"*": ["abi", "evm.bytecode", "evm.deployedBytecode.object"]}},
        },
    }
    text = json.dumps(request, sort_keys=True)
    key = hashlib.sha256(f"{compiler}{sorted(wanted)}{text}".encode()).hexdigest()[:24]
    kept = cache_dir() / "compiled" / f"{key}.json"
    if not kept.is_file():
        output = _run_compiler(text, compiler)
        chosen = {name: output["contracts"][path][name] for name, path in wanted.items()}
        kept.parent.mkdir(parents=True, exist_ok=True)
        partial = kept.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps(chosen))
        partial.replace(kept)
    return {name: normalise(raw, name) for name, raw in json.loads(kept.read_text()).items()}


def _run_compiler(text: str, compiler: str | None) -> dict[str, Any]:
    command = ["node", "-e", _NODE]
    if compiler is not None:
        command.append(str(package_dir(compiler) / "soljson.js"))
    done = subprocess.run(command, input=text, capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode:
        raise ArtifactError(f"{compiler or 'solc'} did not run: {done.stderr[-400:]}")
    output = json.loads(done.stdout)
    problems = [e["formattedMessage"] for e in output.get("errors", []) if e["severity"] == "error"]
    if problems:
        raise ArtifactError("\n".join(problems)[:2000])
    return output


def own(name: str, evm_version: str = "cancun") -> Artifact:
    """A contract of ``Drivers.sol`` beside this file."""
    return compiled({"": HERE}, {name: "Drivers.sol"}, None, evm_version)[name]


def aerodrome() -> dict[str, Artifact]:
    """Solidly-type pools (Aerodrome V1) from their sources."""
    folder = package_dir("sphere-mezo-solidity-files") / "domains" / "aerodrome"
    roots = {"contracts/": folder / "contracts", "@openzeppelin/": package_dir("@openzeppelin/contracts").parent}
    roots["@openzeppelin/contracts/"] = package_dir("@openzeppelin/contracts")
    wanted = {"Pool": "contracts/Pool.sol", "PoolFactory": "contracts/factories/PoolFactory.sol"}
    return compiled(roots, wanted, "solc-0.8.26", "cancun")


def slipstream() -> dict[str, Artifact]:
    """Aerodrome Slipstream (concentrated pools keyed by tick spacing) from its sources."""
    folder = package_dir("sphere-mezo-solidity-files") / "domains" / "aerodrome-slipstream"
    roots = {"contracts/": folder / "contracts", "vendor/": folder / "vendor"}
    for vendor in (folder / "vendor").iterdir():
        roots[f"{vendor.name}/"] = vendor
        roots[f"@{vendor.name}/"] = vendor
    wanted = {"CLPool": "contracts/core/CLPool.sol", "CLFactory": "contracts/core/CLFactory.sol"}
    return compiled(roots, wanted, "solc-0.7.6", "istanbul")


def main() -> None:
    """Fetch and compile everything that the families' worlds need, so that tests can run off-line."""
    for name in json.loads((HERE / "packages.lock").read_text()):
        print(package_dir(name), flush=True)
    for contract in ("FamilyDriver", "PancakeDeployer", "SlipstreamStub"):
        own(contract)
    aerodrome()
    slipstream()


if __name__ == "__main__":
    main()
