"""The contracts of the further families: from larger packages, fetched and compiled only when a chain needs them.

Section ``families`` of ``contracts.lock`` names version and sha512 of each package, and the sha256 of every
contract's creation code: shipped by a package, or compiled here from a package's sources with the compiler that
they ask for. What was made is kept in the ignored cache, is verified at each use, and needs no network.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from ouro.testnet import artifacts
from ouro.testnet.artifacts import Artifact, ArtifactError, Package, Progress
from ouro.testnet.packages import run_compiler, source_texts, whole_package

SECTION = "families"
OURS = ""
_OWN_SOURCES = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class _Sources:
    """Contracts to compile together: ``wanted`` is name → source path; ``roots``, prefix → (package, folder).

    The package ``OURS`` is this repository's.
    """

    wanted: Mapping[str, str]
    roots: Mapping[str, tuple[str, str]]
    vendors: tuple[str, str] | None
    compiler: str
    evm_version: str


_MEZO = "sphere-mezo-solidity-files"
_SOLIDLY = _Sources(
    wanted={"SolidlyPool": "contracts/Pool.sol", "SolidlyPoolFactory": "contracts/factories/PoolFactory.sol"},
    roots={
        "contracts/": (_MEZO, "domains/aerodrome/contracts"),
        "@openzeppelin/contracts/": ("@openzeppelin/contracts", "."),
    },
    vendors=None,
    compiler="solc-0.8.26",
    evm_version="cancun",
)
_SLIPSTREAM = _Sources(
    wanted={"CLPool": "contracts/core/CLPool.sol", "CLFactory": "contracts/core/CLFactory.sol"},
    roots={
        "contracts/": (_MEZO, "domains/aerodrome-slipstream/contracts"),
        "vendor/": (_MEZO, "domains/aerodrome-slipstream/vendor"),
    },
    vendors=(_MEZO, "domains/aerodrome-slipstream/vendor"),
    compiler="solc-0.7.6",
    evm_version="istanbul",
)
_VAULT = _Sources(
    wanted={"OffsetVault": "OffsetVault.sol"},
    roots={"": (OURS, "vaults"), "@openzeppelin/contracts/": ("@openzeppelin/contracts", ".")},
    vendors=None,
    compiler="solc-0.8.26",
    evm_version="cancun",
)
_COMPILED = {name: sources for sources in (_SOLIDLY, _SLIPSTREAM, _VAULT) for name in sources.wanted}
_ALGEBRA, _JOE = "@cryptoalgebra/integral-core", "@traderjoe-xyz/core"
_CONNEXT, _STABLE = "@connext/smart-contracts", "artifacts/contracts/core/connext"
_BALANCER, _TASKS = "@balancer-labs/v2-deployments", "dist/tasks"
_SHIPPED = {
    "PancakeV3Factory": ("@pancakeswap/v3-core", "artifacts/contracts/PancakeV3Factory.sol/PancakeV3Factory.json"),
    "PancakeV3Pool": ("@pancakeswap/v3-core", "artifacts/contracts/PancakeV3Pool.sol/PancakeV3Pool.json"),
    "AlgebraFactory": (_ALGEBRA, "artifacts/contracts/AlgebraFactory.sol/AlgebraFactory.json"),
    "AlgebraPoolDeployer": (_ALGEBRA, "artifacts/contracts/AlgebraPoolDeployer.sol/AlgebraPoolDeployer.json"),
    "AlgebraVaultFactoryStub": (
        _ALGEBRA,
        "artifacts/contracts/AlgebraVaultFactoryStub.sol/AlgebraVaultFactoryStub.json",
    ),
    **{
        f"Adaptive{name}": ("@cryptoalgebra/core", f"artifacts/contracts/{name}.sol/{name}.json")
        for name in ("AlgebraFactory", "AlgebraPoolDeployer", "AlgebraPool")
    },
    "PoolManager": ("@uniswap/v4-core", "out/PoolManager.sol/PoolManager.json"),
    "JoeFactory": (_JOE, "deployments/avalanche/JoeFactory.json"),
    "JoeRouter02": (_JOE, "deployments/avalanche/JoeRouter02.json"),
    "DXswapFactory": ("@swapr/core", "build/DXswapFactory.json"),
    "DXswapPair": ("@swapr/core", "build/DXswapPair.json"),
    "StableSwap": (_CONNEXT, f"{_STABLE}/helpers/StableSwap.sol/StableSwap.json"),
    "StableSwapLibrary": (_CONNEXT, f"{_STABLE}/libraries/SwapUtilsExternal.sol/SwapUtilsExternal.json"),
    "StableSwapShares": (_CONNEXT, f"{_STABLE}/helpers/LPToken.sol/LPToken.json"),
    "BalancerAuthorizer": (_BALANCER, f"{_TASKS}/20210418-authorizer/artifact/Authorizer.json"),
    "BalancerVault": (_BALANCER, f"{_TASKS}/20210418-vault/artifact/Vault.json"),
    "BalancerFeeProvider": (
        _BALANCER,
        f"{_TASKS}/20220725-protocol-fee-percentages-provider/artifact/ProtocolFeePercentagesProvider.json",
    ),
    "WeightedPoolFactory": (_BALANCER, f"{_TASKS}/20230206-weighted-pool-v3/artifact/WeightedPoolFactory.json"),
    "ComposableStablePoolFactory": (
        _BALANCER,
        f"{_TASKS}/20230206-composable-stable-pool-v3/artifact/ComposableStablePoolFactory.json",
    ),
}
NAMES: tuple[str, ...] = (*_SHIPPED, *_COMPILED)
"""Every contract that ``family_artifact`` knows."""


@dataclass(frozen=True, slots=True)
class _Lock:
    packages: Mapping[str, Package]
    contracts: Mapping[str, str]


def family_artifact(name: str) -> Artifact:
    """The contract ``name`` of ``NAMES``, verified; fetches and compiles at the first time.

    Raises ``ArtifactError`` when a package can't be had or differs from the lock.
    """
    wanted = _read_lock().contracts.get(name)
    if wanted is None:
        raise ArtifactError(f"{name}: not in section {SECTION!r} of {artifacts.LOCK_PATH.name}")
    return _verified(_kept_path(name), name, wanted) or _make(name, _silent)[name]


def fetch_families(names: Iterable[str], progress: Progress | None = None) -> None:
    """Have these contracts ready, telling what takes time. Raises ``ArtifactError``."""
    for name in names:
        if _verified(_kept_path(name), name, _read_lock().contracts.get(name, "")) is None:
            _make(name, progress or _silent)


def _silent(_: str) -> None:
    pass


def _kept_path(name: str) -> Path:
    return artifacts.cache_dir() / SECTION / f"{name}.json"


@lru_cache(maxsize=64)
def _verified(path: Path, name: str, wanted: str) -> Artifact | None:
    try:
        artifact = artifacts.normalise(json.loads(path.read_text()), name)
    except (OSError, ValueError, KeyError, ArtifactError):
        return None
    return artifact if hashlib.sha256(artifact.bytecode).hexdigest() == wanted else None


def _make(name: str, progress: Progress) -> dict[str, Artifact]:
    """Build ``name`` (and what is compiled with it), compare with the lock, keep it."""
    lock = _read_lock()
    made = _build(name, lock.packages, progress)
    for found, artifact in made.items():
        digest = hashlib.sha256(artifact.bytecode).hexdigest()
        if digest != lock.contracts.get(found):
            raise ArtifactError(f"{found}: creation code has sha256 {digest}, the lock {lock.contracts.get(found)}")
        kept = {
            "abi": artifact.abi,
            "bytecode": artifact.bytecode.hex(),
            "linkReferences": artifact.link_references,
        }
        text = json.dumps(kept)
        artifacts.write_atomically(_kept_path(found), text.encode())
    _verified.cache_clear()
    return made


def _build(name: str, packages: Mapping[str, Package], progress: Progress) -> dict[str, Artifact]:
    if name in _SHIPPED:
        package, path = _SHIPPED[name]
        text = (whole_package(packages[package], progress) / path).read_text()
        return {name: artifacts.normalise(json.loads(text), f"{package} {path}")}
    sources = _COMPILED[name]

    def folder(place: tuple[str, str]) -> Path:
        package, path = place
        return _OWN_SOURCES / path if package == OURS else whole_package(packages[package], progress) / path

    roots = {prefix: folder(place) for prefix, place in sources.roots.items()}
    if sources.vendors is not None:
        for vendor in folder(sources.vendors).iterdir():
            roots |= {f"{vendor.name}/": vendor, f"@{vendor.name}/": vendor}
    compiler = whole_package(packages[sources.compiler], progress) / "soljson.js"
    progress(f"compiling {', '.join(sources.wanted)}")
    return _compile(sources, roots, compiler)


# --------------------------------------------------------------------------------------------------------- packages


@lru_cache(maxsize=4)
def _parse_lock(path: Path, _changed_ns: int) -> _Lock:
    try:
        section = json.loads(path.read_text())[SECTION]
        packages = {
            key: Package(str(entry.get("name", key)), str(entry["version"]), str(entry["integrity"]), {})
            for key, entry in section["packages"].items()
        }
        return _Lock(packages, {str(name): str(digest) for name, digest in section["contracts"].items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(
            f"{path}: section {SECTION!r} is unreadable ({error!r}); restore it from git"
        ) from error


def _read_lock() -> _Lock:
    path = artifacts.LOCK_PATH
    return _parse_lock(path, path.stat().st_mtime_ns if path.exists() else 0)


# -------------------------------------------------------------------------------------------------------- compiling


def _compile(sources: _Sources, roots: Mapping[str, Path], compiler: Path) -> dict[str, Artifact]:
    texts = source_texts(sources.wanted.values(), roots)
    request = {
        "language": "Solidity",
        "sources": {name: {"content": text} for name, text in texts.items()},
        "settings": {
            "evmVersion": sources.evm_version,
            "optimizer": {"enabled": True, "runs": 200},
            "outputSelection": {"*": {"*": ["abi", "evm.bytecode"]}},
        },
    }
    output = run_compiler(json.dumps(request, sort_keys=True), compiler)
    found: dict[str, Artifact] = {}
    for name, path in sources.wanted.items():
        found[name] = artifacts.normalise(output["contracts"][path][PurePosixPath(path).stem], name)
    return found


def relock_families(section: Mapping[str, Any], progress: Callable[[str], None]) -> dict[str, Any]:
    """The section with the hashes of what its packages' contracts are now."""
    packages = {
        key: Package(str(entry.get("name", key)), entry["version"], entry["integrity"], {})
        for key, entry in section["packages"].items()
    }
    digests: dict[str, str] = {}
    for name in NAMES:
        if name not in digests:
            made = _build(name, packages, progress)
            digests |= {found: hashlib.sha256(a.bytecode).hexdigest() for found, a in made.items()}
    return {**section, "contracts": {name: digests[name] for name in sorted(digests)}}
