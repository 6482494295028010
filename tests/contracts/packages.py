"""Contracts that only these tests need: a lock of their own, fetched by ``make contract-tests``, not by set-up."""

import importlib.util
import json
from functools import cache
from pathlib import Path
from types import ModuleType

from world import ROOT

from ouro.testnet.artifacts import Artifact, cache_dir, fetch, normalise, read_lock

LOCK = ROOT / "contracts" / "test-packages.lock"


def available() -> bool:
    """Whether the files are here; never asks the network."""
    return all((_folder(p.spec) / name).exists() for p in read_lock(LOCK) for name in p.files)


def fetch_all() -> Path:
    """Fetch and verify what is missing."""
    return fetch(print, read_lock(LOCK))


def _folder(spec: str) -> Path:
    return cache_dir() / spec


@cache
def test_artifact(package: str, path: str) -> Artifact:
    """A contract of the tests' own lock."""
    entry = next(p for p in read_lock(LOCK) if p.name == package)
    return normalise(json.loads((_folder(entry.spec) / path).read_text()), path)


@cache
def compiler() -> ModuleType:
    """contracts/compile.py as a module."""
    spec = importlib.util.spec_from_file_location("contracts_compile", ROOT / "contracts" / "compile.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def morpho_code() -> bytes:
    """Creation code of Morpho Blue, from its sources."""
    entry = next(p for p in read_lock(LOCK) if p.name == "sphere-mezo-solidity-files")
    base = "domains/morpho/contracts/"
    sources = {name.removeprefix(base): (_folder(entry.spec) / name).read_text() for name in entry.files}
    _, output = compiler().compile_sources(sources)
    return bytes.fromhex(output["contracts"]["Morpho.sol"]["Morpho"]["evm"]["bytecode"]["object"])


@cache
def own_code(source: str, contract: str) -> bytes:
    """Creation code of a test contract below contracts/src."""
    module = compiler()
    _, output = module.compile_sources(module.collect(source))
    return bytes.fromhex(output["contracts"][source][contract]["evm"]["bytecode"]["object"])


if __name__ == "__main__":
    fetch_all()
