"""Protocol packages that only the differential tests need: fetched when a family asks, verified, compiled once.

``packages.lock`` names version and sha512 of each tarball. Contents are unpacked below the same ignored cache as
the contracts of ``contracts.lock``; nothing of them is ever committed (their licences differ from ours).
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ouro.testnet.artifacts import Artifact, ArtifactError, Package, cache_dir, normalise
from ouro.testnet.packages import run_compiler, source_texts, whole_package

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BALANCER_V3 = "@balancer-labs/v3-"
_SLOW_TIMEOUT_S = 1_800


def package_dir(name: str) -> Path:
    """The unpacked package, fetched and verified on first use. Raises ``ArtifactError``."""
    version, integrity = json.loads((HERE / "packages.lock").read_text())[name]
    package = Package(name.split("-0.")[0] if name.startswith("solc-") else name, version, integrity, {})
    return whole_package(package, lambda _: None)


def package_artifact(name: str, path: str) -> Artifact:
    """A compiled contract that a package ships."""
    return normalise(json.loads((package_dir(name) / path).read_text()), f"{name} {path}")


def compiled(
    roots: Mapping[str, Path],
    wanted: Mapping[str, str],
    compiler: str | None,
    evm_version: str,
    runs: int = 200,
    *,
    through_ir: bool = False,
    only_kept: bool = False,
) -> dict[str, Artifact]:
    """Contracts by name: ``wanted`` maps each to its source path, ``roots`` import prefixes to folders.

    ``compiler`` is a name of ``packages.lock``, None for the project's own solc. The output is cached by its input.
    ``through_ir`` takes minutes for large sources; ``only_kept`` raises ``ArtifactError`` instead of compiling.
    """
    sources = source_texts(wanted.values(), roots)
    request: dict[str, Any] = {
        "language": "Solidity",
        "sources": {name: {"content": text} for name, text in sources.items()},
        "settings": {
            "evmVersion": evm_version,
            "optimizer": {"enabled": True, "runs": runs},
            "outputSelection": {"*": {"*": ["abi", "evm.bytecode", "evm.deployedBytecode.object"]}},
        },
    }
    if through_ir:
        request["settings"]["viaIR"] = True
    text = json.dumps(request, sort_keys=True)
    key = hashlib.sha256(f"{compiler}{sorted(wanted)}{text}".encode()).hexdigest()[:24]
    kept = cache_dir() / "compiled" / f"{key}.json"
    if only_kept and not kept.is_file():
        raise ArtifactError("it has not been compiled here yet")
    if not kept.is_file():
        binary = package_dir(compiler) / "soljson.js" if compiler else None
        output = run_compiler(text, binary, _SLOW_TIMEOUT_S) if through_ir else run_compiler(text, binary)
        chosen = {name: output["contracts"][path][name] for name, path in wanted.items()}
        kept.parent.mkdir(parents=True, exist_ok=True)
        partial = kept.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps(chosen))
        partial.replace(kept)
    return {name: normalise(raw, name) for name, raw in json.loads(kept.read_text()).items()}


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


def balancer_v3_kept() -> bool:
    """Whether ``balancer_v3`` would give them at once, without fetching or compiling."""
    names = ("vault", "interfaces", "solidity-utils", "pool-weighted", "pool-stable", "pool-utils")
    lock = json.loads((HERE / "packages.lock").read_text())
    wanted = {BALANCER_V3 + name for name in names} | {"@openzeppelin/contracts"}
    if not all((cache_dir() / "whole" / f"{name}@{lock[name][0]}").is_dir() for name in wanted):
        return False
    try:
        return bool(balancer_v3(only_kept=True))
    except ArtifactError:
        return False


def balancer_v3(*, only_kept: bool = False) -> dict[str, Artifact]:
    """Balancer's third Vault and two factories, from their sources: two minutes of one core when not yet cached.

    With a single optimizer run, with which the Vault stays below the limit of deployed code.
    """
    roots = {"@openzeppelin/contracts/": package_dir("@openzeppelin/contracts")}
    for name in ("vault", "interfaces", "solidity-utils", "pool-weighted", "pool-stable", "pool-utils"):
        roots[f"{BALANCER_V3}{name}/"] = package_dir(BALANCER_V3 + name)
    paths = {
        "Vault": "vault/contracts/Vault",
        "VaultExtension": "vault/contracts/VaultExtension",
        "VaultAdmin": "vault/contracts/VaultAdmin",
        "ProtocolFeeController": "vault/contracts/ProtocolFeeController",
        "WeightedPoolFactory": "pool-weighted/contracts/WeightedPoolFactory",
        "StablePoolFactory": "pool-stable/contracts/StablePoolFactory",
    }
    wanted = {name: f"{BALANCER_V3}{path}.sol" for name, path in paths.items()}
    return compiled(roots, wanted, "solc-0.8.26", "cancun", runs=1, through_ir=True, only_kept=only_kept)


def main() -> None:
    """Fetch and compile everything that the families' worlds need, so that tests can run off-line."""
    for name in json.loads((HERE / "packages.lock").read_text()):
        if name.startswith(BALANCER_V3):
            continue  # `make balancer-v3` alone needs them
        print(package_dir(name), flush=True)
    for contract in ("FamilyDriver", "PancakeDeployer", "SlipstreamStub"):
        own(contract)
    aerodrome()
    slipstream()
    # these modules import this one
    from tests.differential.balancer_stable_cases import rate_provider_code
    from tests.differential.erc4626_cases import vault_codes

    rate_provider_code()
    vault_codes()


if __name__ == "__main__":
    main()
