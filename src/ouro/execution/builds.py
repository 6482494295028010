"""The builds of the executor that the package ships, and which of them a chain can run.

A build is an artifact file ``artifacts/OuroExecutor*.json``; all come from one source. The plain one comes first
and needs the youngest hard fork. What a build needs is read from its code, so it can't be stated wrongly.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from ouro.chain.errors import RpcError
from ouro.chain.rpc import Caller
from ouro.execution.contract import creation_code, executor_artifact
from ouro.types import Address

# Opcode → name and the hard fork that brought it, of what compilers emit today.
_RECENT = {
    0x1E: ("CLZ", "osaka"),
    0x48: ("BASEFEE", "london"),
    0x49: ("BLOBHASH", "cancun"),
    0x4A: ("BLOBBASEFEE", "cancun"),
    0x5C: ("TLOAD", "cancun"),
    0x5D: ("TSTORE", "cancun"),
    0x5E: ("MCOPY", "cancun"),
    0x5F: ("PUSH0", "shanghai"),
}
# Runs each opcode with what it takes from the stack, leaving the stack as it was or one deeper.
_PROBES = {
    0x1E: "60001e", 0x48: "48", 0x49: "600049", 0x4A: "4a",
    0x5C: "60005c", 0x5D: "600060005d", 0x5E: "6000600060005e", 0x5F: "5f",
}  # fmt: skip
# Then answers the single byte 01, which is no wish of any later rule on deployed code.
_ANSWER_ONE = "600160005360016000f3"


class DeployError(Exception):
    """Why nothing was, or nothing more will be, sent; one line that says what to do."""

    def __init__(self, text: str) -> None:
        # Words of nodes may be part of it: they must not add lines, nor steer a terminal.
        line = " ".join(text.split())
        super().__init__("".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in line))


@dataclass(frozen=True, slots=True)
class Build:
    """One compilation. ``immutables`` are the (start, length) of runtime bytes that the constructor fills in."""

    name: str
    compiler: str
    abi: list[dict[str, Any]]
    creation_code: bytes
    runtime_code: bytes
    immutables: tuple[tuple[int, int], ...]

    def matches(self, code: bytes) -> bool:
        """Whether ``code`` is this build's, its immutables aside."""
        return len(code) == len(self.runtime_code) and self._masked(code) == self._masked(self.runtime_code)

    def _masked(self, code: bytes) -> bytes:
        masked = bytearray(code)
        for start, length in self.immutables:
            masked[start : start + length] = bytes(length)
        return bytes(masked)

    def recent_opcodes(self) -> frozenset[int]:
        """What it uses that chains may not have."""
        return (opcodes_of(self.creation_code) | opcodes_of(self.runtime_code)) & _RECENT.keys()

    def deployment(self, owner: Address, operators: Iterable[Address], treasury: Address | None) -> bytes:
        """Creation code with its constructor arguments."""
        plain = creation_code(owner, list(operators), treasury)
        return self.creation_code + plain[len(executor_artifact().creation_code) :]


@cache
def builds() -> tuple[Build, ...]:
    """All builds, the plain one first."""
    folder = files("ouro.execution").joinpath("artifacts")
    names = sorted(
        (entry.name for entry in folder.iterdir() if entry.name.startswith("OuroExecutor")),
        key=lambda name: (name != "OuroExecutor.json", name),
    )
    return tuple(
        _build(name.removesuffix(".json"), json.loads(folder.joinpath(name).read_text()))
        for name in names
        if name.endswith(".json")
    )


def _build(name: str, raw: dict[str, Any]) -> Build:
    references = raw.get("immutable_references") or {}
    immutables = tuple((place["start"], place["length"]) for places in references.values() for place in places)
    code, runtime = (bytes.fromhex(raw[key].removeprefix("0x")) for key in ("bytecode", "deployed_bytecode"))
    return Build(name, raw["compiler"], raw["abi"], code, runtime, immutables)


def build_of(code: bytes) -> Build | None:
    """The build that ``code`` on a chain is, None if it is none of ours."""
    return next((build for build in builds() if build.matches(code)), None)


def opcodes_of(code: bytes) -> frozenset[int]:
    """The opcodes of ``code``, data of pushes left out."""
    found, pos = set(), 0
    while pos < len(code):
        op = code[pos]
        found.add(op)
        pos += 1 + max(0, op - 0x5F if op <= 0x7F else 0)
    return frozenset(found)


async def missing_opcodes(node: Caller, opcodes: Iterable[int]) -> list[str]:
    """Those of ``opcodes`` that the chain does not execute, as names with their hard fork.

    Tried on the chain itself, as the code of a creation that is only simulated. Raises ``DeployError`` where the
    node does not even simulate a creation without them.
    """
    if not await _runs(node, ""):
        raise DeployError(
            "the node does not simulate contract creations (eth_call without to); use another endpoint"
        )
    wanted = sorted(set(opcodes) & _RECENT.keys())
    return ["{} ({})".format(*_RECENT[op]) for op in wanted if not await _runs(node, _PROBES[op])]


async def _runs(node: Caller, probe: str) -> bool:
    try:
        answer = await node.call("eth_call", [{"data": "0x" + probe + _ANSWER_ONE}, "latest"])
    except RpcError:
        return False
    return answer == "0x01"


async def choose_build(node: Caller, available: tuple[Build, ...] | None = None) -> Build:
    """The first build that the chain can run. Raises ``DeployError`` naming what it lacks."""
    lacks: list[str] = []
    for build in builds() if available is None else available:
        missing = await missing_opcodes(node, build.recent_opcodes())
        if not missing:
            return build
        lacks.append(f"{build.name} needs {', '.join(missing)}")
    raise DeployError(f"the chain's hard fork is too old: {'; '.join(lacks)}; no build for it is shipped")
