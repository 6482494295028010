"""Compile our own contracts with npm's solc into the artifacts that the package ships.

    python contracts/compile.py           write the artifacts
    python contracts/compile.py --check   recompile and compare; exit 1 when a committed artifact differs

The artifacts are committed, so running Ouro needs no compiler; ``--check`` in CI keeps them honest.

The storage build of the executor, for chains without EIP-1153, is the same source with every ``tload`` and
``tstore`` rewritten (``storage_source``). Its source is written and checked as the artifacts are.
"""

import argparse
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "contracts" / "src"
EVM_VERSION = "cancun"
OPTIMIZER_RUNS = 1_000_000

# source file below contracts/src → (contract, artifact path)
CONTRACTS: dict[str, tuple[str, Path]] = {
    "OuroExecutor.sol": ("OuroExecutor", ROOT / "src/ouro/execution/artifacts/OuroExecutor.json"),
    "TestToken.sol": ("TestToken", ROOT / "src/ouro/testnet/artifacts_own/TestToken.json"),
    "MarketRouter.sol": ("MarketRouter", ROOT / "src/ouro/testnet/artifacts_own/MarketRouter.json"),
    "PancakeDeployer.sol": ("PancakeDeployer", ROOT / "src/ouro/testnet/artifacts_own/PancakeDeployer.json"),
    "SlipstreamStub.sol": ("SlipstreamStub", ROOT / "src/ouro/testnet/artifacts_own/SlipstreamStub.json"),
    "Create3Factory.sol": ("Create3Factory", ROOT / "src/ouro/execution/artifacts/Create3Factory.json"),
    "OuroExecutorStorage.sol": (
        "OuroExecutorStorage",
        ROOT / "src/ouro/execution/artifacts/OuroExecutorStorage.json",
    ),
    "PoolDriver.sol": ("PoolDriver", ROOT / "tests/differential/PoolDriver.json"),
}

# source file → (EVM version, through the IR, optimizer runs), where not the usual ones. The factory's are frozen:
# its address on all chains, and with it the executor's, comes from its code.
Settings = tuple[str, bool, int]
USUAL: Settings = (EVM_VERSION, False, OPTIMIZER_RUNS)
THROUGH_IR: Settings = (EVM_VERSION, True, OPTIMIZER_RUNS)
SETTINGS: dict[str, Settings] = {
    "OuroExecutor.sol": THROUGH_IR,
    "Create3Factory.sol": ("london", False, 200),
    # Nothing younger than SELFBALANCE: what has no transient storage often has no PUSH0 either.
    "OuroExecutorStorage.sol": ("london", True, OPTIMIZER_RUNS),
}

# written source file → the one that it is made of
REWRITTEN = {"OuroExecutorStorage.sol": "OuroExecutor.sol"}

# 2394: "transient storage can break composability", told of every use of it
_KNOWN_WARNINGS = {"2394"}
_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_IMPORT = re.compile(r"""\bimport\b[^;]*?["']([^"']+)["'][^;]*;""")
_NODE = """
const solc = require('solc');
let input = '';
process.stdin.on('data', chunk => input += chunk);
process.stdin.on('end', () => process.stdout.write(
  JSON.stringify({version: solc.version(), output: JSON.parse(solc.compile(input))})));
"""


class CompileError(RuntimeError):
    """The sources do not compile, or the compiler can't be run."""


def collect(name: str, found: dict[str, str] | None = None) -> dict[str, str]:
    """Source text of ``name`` and of everything it imports, by path below contracts/src (wasm reads no files)."""
    found = {} if found is None else found
    if name in found:
        return found
    path = SOURCES / name
    try:
        if name in REWRITTEN:
            found[name] = storage_source((SOURCES / REWRITTEN[name]).read_text())
        else:
            found[name] = path.read_text()
    except OSError as error:
        raise CompileError(f"{path}: {error.strerror}") from error
    for target in _IMPORT.findall(_COMMENT.sub("", found[name])):
        absolute = (path.parent / target).resolve()
        if not absolute.is_relative_to(SOURCES):
            raise CompileError(f"{path}: import {target!r} leaves contracts/src")
        collect(absolute.relative_to(SOURCES).as_posix(), found)
    return found


_STORAGE_NOTE = """// SPDX-License-Identifier: MIT
// Written by contracts/compile.py from OuroExecutor.sol: transient words became storage words. Do not edit.
//
// A word that was used rests as RESTING instead of zero: writing it costs 5000 gas in the end and not 22100. What
// is stored never needs that bit: hashes (HASHED) and addresses leave it free, and no token has such a balance.
"""
_STORAGE_CONSTANT = """contract OuroExecutorStorage is ExecutorRoles {
    uint256 private constant RESTING = 1 << 255;
    uint256 private constant USED = (1 << 255) - 1;
"""
# The two words that every execution uses are paid for with the deployment.
_ROLES = "        ExecutorRoles(owner_, treasury_, operators_)\n"
_STORAGE_START = """    {
        assembly ("memory-safe") {
            sstore(EXPECTED, RESTING)
            sstore(TOKENS, RESTING)
        }
    }
"""


def storage_source(source: str) -> str:
    """The executor's source for chains without transient storage. Raises CompileError where it isn't understood."""
    out, pos = [], 0
    for found in re.finditer(r"\bt(load|store)\(", _COMMENT.sub(lambda m: " " * len(m.group()), source)):
        if found.start() < pos:
            raise CompileError("OuroExecutor.sol: tload or tstore inside another's arguments")
        end, parts = _arguments(source, found.end())
        if found.group(1) == "load":
            new = f"and(sload({parts[0]}), USED)"
        else:
            new = f"sstore({parts[0]}, {'RESTING' if parts[1] == '0' else f'or({parts[1]}, RESTING)'})"
        out += [source[pos : found.start()], new]
        pos = end
    text = "".join([*out, source[pos:]])
    for old, new in (
        ("// SPDX-License-Identifier: MIT\n", _STORAGE_NOTE),
        ("contract OuroExecutor is ExecutorRoles {\n", _STORAGE_CONSTANT),
        (f"{_ROLES}    {{}}\n", _ROLES + _STORAGE_START),
    ):
        if text.count(old) != 1:
            raise CompileError(f"OuroExecutor.sol: {old.strip()!r} has to be there once")
        text = text.replace(old, new)
    return text


def _arguments(source: str, start: int) -> tuple[int, list[str]]:
    """The arguments of a call whose bracket opened before ``start``, and where it ends."""
    depth, parts, begin = 0, [], start
    for pos in range(start, len(source)):
        letter = source[pos]
        if letter == ")" and depth == 0:
            return pos + 1, [*parts, source[begin:pos].strip()]
        if letter == "," and depth == 0:
            parts.append(source[begin:pos].strip())
            begin = pos + 1
        depth += (letter == "(") - (letter == ")")
    raise CompileError("OuroExecutor.sol: a bracket is not closed")


def source_sha256(sources: dict[str, str]) -> str:
    """One hash over all files that go into a contract, with their names."""
    digest = hashlib.sha256()
    for name in sorted(sources):
        digest.update(f"{name}\0{len(sources[name].encode())}\0".encode() + sources[name].encode())
    return digest.hexdigest()


def compile_sources(sources: dict[str, str], settings: Settings = THROUGH_IR) -> tuple[str, dict[str, Any]]:
    """Run solc once over ``sources``; returns its version and the standard JSON output."""
    evm_version, via_ir, runs = settings
    request = {
        "language": "Solidity",
        "sources": {name: {"content": text} for name, text in sources.items()},
        "settings": {
            "evmVersion": evm_version,
            "viaIR": via_ir,
            "optimizer": {"enabled": True, "runs": runs},
            "metadata": {"bytecodeHash": "none", "appendCBOR": False},
            "outputSelection": {"*": {"*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"]}},
        },
    }
    try:
        done = subprocess.run(
            ["node", "-e", _NODE], input=json.dumps(request), capture_output=True, text=True, cwd=ROOT, check=False
        )
    except FileNotFoundError as error:
        raise CompileError("node is not installed; install Node.js >= 20") from error
    if done.returncode != 0:
        raise CompileError(f"solc did not run; `make setup` installs it ({done.stderr.strip()[-300:]})")
    answer = json.loads(done.stdout)
    problems = [e["formattedMessage"] for e in answer["output"].get("errors", []) if e["severity"] == "error"]
    if problems:
        raise CompileError("\n".join(problems))
    for warning in answer["output"].get("errors", []):
        if warning.get("errorCode") not in _KNOWN_WARNINGS:
            print(warning["formattedMessage"], file=sys.stderr)
    return answer["version"].split(".Emscripten")[0], answer["output"]


def build(names: list[str]) -> dict[Path, str]:
    """Artifact texts by path for the contracts of these source files."""
    texts: dict[Path, str] = {}
    for name in names:
        # One by one: what the optimizer makes of a contract depends on what is compiled beside it.
        texts |= _build_one(name, SETTINGS.get(name, USUAL))
    return texts


def _build_one(name: str, settings: Settings) -> dict[Path, str]:
    sources = collect(name)
    version, output = compile_sources(sources, settings)
    evm_version, _, runs = settings
    contract, path = CONTRACTS[name]
    compiled = output["contracts"][name][contract]
    artifact = {
        "contract": contract,
        "compiler": f"solc {version}, {evm_version}, optimizer {runs} runs",
        "source_sha256": source_sha256(sources),
        "abi": compiled["abi"],
        "bytecode": "0x" + compiled["evm"]["bytecode"]["object"],
        "deployed_bytecode": "0x" + compiled["evm"]["deployedBytecode"]["object"],
    }
    texts = {path: json.dumps(artifact, indent=1) + "\n"}
    if name in REWRITTEN:
        texts[SOURCES / name] = sources[name]
    return texts


def main(arguments: list[str]) -> int:
    """Entry point; exit code 0 when all is written, or (``--check``) equal."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="compare with the committed artifacts, write nothing")
    parser.add_argument("sources", nargs="*", metavar="SOURCE", help="source files; all by default")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.sources if name not in CONTRACTS]:
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(CONTRACTS)}")
    try:
        texts = build(options.sources or list(CONTRACTS))
    except CompileError as error:
        print(f"contracts: {error}", file=sys.stderr)
        return 1
    stale = [path for path, text in texts.items() if not path.exists() or path.read_text() != text]
    for path in stale:
        if options.check:
            print(f"contracts: {path.relative_to(ROOT)} is not what its source compiles to; run `make contracts`")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(texts[path])
            print(f"wrote {path.relative_to(ROOT)}")
    return 1 if options.check and stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
