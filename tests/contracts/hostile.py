"""Compiles the hostile pool and token once per run."""

import importlib.util
from functools import cache

from world import ROOT


@cache
def hostile_code() -> bytes:
    """Creation code of contracts/src/Hostile.sol; test contracts have no committed artifact."""
    spec = importlib.util.spec_from_file_location("contracts_compile", ROOT / "contracts" / "compile.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    _, output = module.compile_sources(module.collect("Hostile.sol"))
    return bytes.fromhex(output["contracts"]["Hostile.sol"]["Hostile"]["evm"]["bytecode"]["object"])
