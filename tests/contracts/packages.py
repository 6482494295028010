"""Contracts that only these tests need: a lock of their own, fetched by ``make contract-tests``, not by set-up."""

import importlib.util
import json
import os
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
    return _compiled(sources, "Morpho.sol", "Morpho", compiler().THROUGH_IR)


@cache
def own_code(source: str, contract: str) -> bytes:
    """Creation code of a test contract below contracts/src, for the oldest rules that a build is tested on."""
    return _compiled(compiler().collect(source), source, contract, ("london", True, 200))


def _compiled(sources: dict[str, str], source: str, contract: str, settings: tuple[str, bool, int]) -> bytes:
    """Compiled once per text and settings: the compiler takes seconds."""
    key = compiler().source_sha256({**sources, "settings": repr(settings)})
    kept = cache_dir().parent / "contract-tests" / f"{contract}-{key[:24]}.hex"
    if not kept.exists():
        _, output = compiler().compile_sources(sources, settings)
        kept.parent.mkdir(parents=True, exist_ok=True)
        part = kept.with_suffix(f".{os.getpid()}")
        part.write_text(output["contracts"][source][contract]["evm"]["bytecode"]["object"])
        part.replace(kept)
    return bytes.fromhex(kept.read_text())


if __name__ == "__main__":
    fetch_all()
