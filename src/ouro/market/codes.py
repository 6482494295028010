"""What code stands behind pools and tokens, as hashes: a contract whose code is exchanged announces nothing.

A *print* is the hash of a contract's code and, where that delegates to another contract (a minimal proxy, a slot
of EIP-1967, a beacon, the older slot that USDC has), that contract's address and hash. Hundreds of hashes come from
one call: creation code that asks for each contract's hash and is never deployed. What a hash told once (whose clone
it is, that it delegates nowhere) holds for every contract with the same code.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ouro.chain.errors import RpcError
from ouro.chain.quantity import parse_data
from ouro.chain.rpc import Caller
from ouro.hashing import keccak, selector
from ouro.market.errors import SnapshotError, SyncError
from ouro.market.multicall import read_many
from ouro.market.reader import READ_TIMEOUT_MS, PinnedBlock, patiently
from ouro.market.sealed import read_sealed, write_sealed
from ouro.protocols.reads import Read, words
from ouro.types import Address

KIND, VERSION = "ouro-codes", 1

# for each address word behind the code: its EXTCODEHASH, and in a second row its EXTCODESIZE; one zero word before
_ASKER = bytes.fromhex(
    "602f380380602f60203960205b8181116024578051803f82523b81830152602001600c565b5060011b6020016000f3"
)
_ASKED_AT_ONCE, _ASK_GAS = 350, "0xe4e1c0"
_CODES_AT_ONCE, _SLOTS_AT_ONCE = 20, 100
_SMALL = 256
"""Bytes within which clones are looked for; some carry arguments behind their code."""
_SHARED = 3
"""Contracts with the same code from which on it is read, to know whether their slots have to be."""
_CLONE = re.compile(rb"\x73(.{20})\x5a\xf4", re.DOTALL)
_DELEGATECALL, _CALLCODE, _PUSH1, _PUSH32 = 0xF4, 0xF2, 0x60, 0x7F
_SLOTS = (
    keccak(b"eip1967.proxy.implementation"),
    keccak(b"eip1967.proxy.beacon"),
    keccak(b"org.zeppelinos.proxy.implementation"),
)
_SLOT_WORDS = tuple(
    f"0x{int.from_bytes(slot) - (k < 2):064x}"  # EIP-1967 takes one off, so that nobody knows a preimage
    for k, slot in enumerate(_SLOTS)
)
_IMPLEMENTATION = selector("implementation()")
_NO_CODE = {"0x" + bytes(32).hex(), "0x" + keccak(b"").hex()}


class Print(NamedTuple):
    """A contract's code and that of what it delegates to; empty where there is none."""

    code: str
    target: Address = ""
    target_code: str = ""

    @property
    def digest(self) -> str:
        """Short name of exactly this code, for an operator to accept."""
        return "0x" + keccak("|".join(self).encode())[:8].hex()

    def change(self, now: "Print") -> str | None:
        """What is different in ``now``, for people; None where nothing is."""
        if self == now:
            return None
        if not now.code:
            return "has no code any more"
        if self.code != now.code:
            return "has other code than before"
        if self.target != now.target:
            return f"delegates to {now.target or 'nothing'} instead of {self.target or 'nothing'}"
        return f"delegates to {now.target}, which has {'other' if now.target_code else 'no'} code"


@dataclass(slots=True)
class Knowledge:
    """What a code hash tells of every contract that has it: whose clone, and whether it delegates at all."""

    clones: dict[str, Address] = field(default_factory=dict)
    delegates: dict[str, bool] = field(default_factory=dict)


async def read_prints(
    reader: Caller, multicall: Address, addresses: Iterable[Address], block: PinnedBlock, known: Knowledge
) -> dict[Address, Print]:
    """Prints at ``block``. Raises ``SyncError`` where the node can't be read at it."""
    wanted = list(dict.fromkeys(addresses))
    found = await code_hashes(reader, wanted, block)
    await _learn(reader, block, found, known)
    targets = {address: known.clones.get(code, "") for address, (code, _) in found.items()}
    proxies = [a for a, (code, _) in found.items() if code and not targets[a] and known.delegates.get(code, True)]
    targets |= await _slot_targets(reader, multicall, proxies, block)
    behind = await code_hashes(reader, {target for target in targets.values() if target}, block)
    return {
        address: Print(code, targets[address], behind[targets[address]][0] if targets[address] else "")
        for address, (code, _) in found.items()
    }


async def code_hashes(
    reader: Caller, addresses: Iterable[Address], block: PinnedBlock
) -> dict[Address, tuple[str, int]]:
    """Hash and size of each contract's code; an empty hash where there is none."""
    wanted = list(addresses)
    found: dict[Address, tuple[str, int]] = {}
    for k in range(0, len(wanted), _ASKED_AT_ONCE):
        part = wanted[k : k + _ASKED_AT_ONCE]
        answer = await _ask(reader, part, block)
        if answer is None:
            codes = await _codes(reader, part, block)
            found |= {a: ("0x" + keccak(code).hex() if code else "", len(code)) for a, code in codes.items()}
            continue
        for place, address in enumerate(part):
            code = f"0x{answer[1 + place]:064x}"
            found[address] = ("" if code in _NO_CODE else code, answer[1 + len(part) + place])
    return found


async def _ask(reader: Caller, addresses: Sequence[Address], block: PinnedBlock) -> list[int] | None:
    """The asker's words; None where the node does not run creation code in a call."""
    data = _ASKER + b"".join(bytes.fromhex(address[2:]).rjust(32, b"\0") for address in addresses)
    request = {"data": "0x" + data.hex(), "gas": _ASK_GAS}

    async def ask() -> Any:
        return await reader.call("eth_call", [request, block.tag], READ_TIMEOUT_MS)

    try:
        answer = words(bytes.fromhex(parse_data(await patiently(ask, "code hashes"))[2:]))
    except (RpcError, ValueError):
        return None
    return answer if len(answer) == 1 + 2 * len(addresses) and not answer[0] else None


async def _codes(reader: Caller, addresses: Sequence[Address], block: PinnedBlock) -> dict[Address, bytes]:
    calls = [("eth_getCode", [address, block.tag]) for address in addresses]
    return dict(zip(addresses, await _batched(reader, calls, _CODES_AT_ONCE, "contract code"), strict=True))


async def _batched(reader: Caller, calls: list[tuple[str, list[Any]]], at_once: int, what: str) -> list[bytes]:
    found: list[bytes] = []
    for k in range(0, len(calls), at_once):
        part = calls[k : k + at_once]

        async def ask(part: list[tuple[str, list[Any]]] = part) -> list[Any]:
            return await reader.batch(part, READ_TIMEOUT_MS)

        for answer in await patiently(ask, what):
            try:
                found.append(bytes.fromhex(parse_data(answer)[2:]))
            except ValueError as error:
                raise SyncError(f"{what} can't be read: {answer!s:.80}") from error
    return found


async def _learn(
    reader: Caller, block: PinnedBlock, found: Mapping[Address, tuple[str, int]], known: Knowledge
) -> None:
    """Read the code of small contracts and of those that are many alike, once for each hash."""
    alike = Counter(code for code, _ in found.values())
    samples = {
        code: address
        for address, (code, size) in found.items()
        if code and code not in known.delegates and (size <= _SMALL or alike[code] >= _SHARED)
    }
    codes = await _codes(reader, list(samples.values()), block)
    for code, address in samples.items():
        runtime = codes[address]
        if "0x" + keccak(runtime).hex() != code:
            raise SyncError(f"{address}: the node tells two codes of one block")
        known.delegates[code] = _may_delegate(runtime)
        clone = _CLONE.search(runtime) if len(runtime) <= _SMALL else None
        if clone:
            known.clones[code] = "0x" + clone.group(1).hex()


def _may_delegate(code: bytes) -> bool:
    """Whether an instruction runs another contract's code here. Data behind the code may look like one: fine."""
    at = 0
    while at < len(code):
        if code[at] in (_DELEGATECALL, _CALLCODE):
            return True
        at += 2 + code[at] - _PUSH1 if _PUSH1 <= code[at] <= _PUSH32 else 1
    return False


async def _slot_targets(
    reader: Caller, multicall: Address, proxies: Sequence[Address], block: PinnedBlock
) -> dict[Address, Address]:
    """What their slots name, a beacon's implementation in its stead; only of those that have one set."""
    calls = [("eth_getStorageAt", [address, slot, block.tag]) for address in proxies for slot in _SLOT_WORDS]
    told = await _batched(reader, calls, _SLOTS_AT_ONCE, "proxy slots")
    found: dict[Address, Address] = {}
    beacons: dict[Address, Address] = {}
    for k, address in enumerate(proxies):
        implementation, beacon, older = (_account(word) for word in told[3 * k : 3 * k + 3])
        if implementation or older:
            found[address] = implementation or older
        elif beacon:
            beacons[address] = beacon
    reads = [Read(beacon, _IMPLEMENTATION, 30_000) for beacon in beacons.values()]
    for (address, beacon), answer in zip(
        beacons.items(), await read_many(reader, multicall, reads, block), strict=True
    ):
        found[address] = (_account(answer) if answer else "") or beacon
    return found


def _account(word: bytes) -> Address:
    value = int.from_bytes(word[:32]) & (1 << 160) - 1
    return "0x" + value.to_bytes(20).hex() if value else ""


# --------------------------------------------------------------------------------------------------------- the book


class CodeBook:
    """The print that each contract had when it was first seen, kept in a file of its own.

    ``accepted``: digests of changed code that the operator has looked at, by contract.
    """

    def __init__(self, accepted: Mapping[Address, str] | None = None) -> None:
        self.prints: dict[Address, Print] = {}
        self.known = Knowledge()
        self.accepted = dict(accepted or {})

    def compare(self, now: Mapping[Address, Print]) -> dict[Address, str]:
        """Note what is new; the contracts whose code is not what it was, each with the reason."""
        found: dict[Address, str] = {}
        for address, print_now in now.items():
            before = self.prints.get(address)
            accepted = self.accepted.get(address) == print_now.digest
            if accepted or (before is None and print_now.code):
                self.prints[address] = print_now
            elif before is None:
                continue  # born after that block
            elif what := before.change(print_now):
                word = f'to trade it again set accepted_code."{address}" = "{print_now.digest}" and start anew'
                found[address] = f"{what}; {word}"
        return found

    async def check(
        self, reader: Caller, multicall: Address, addresses: Iterable[Address], block: PinnedBlock
    ) -> dict[Address, str]:
        """Read and compare. Raises ``SyncError``; nothing is noted then."""
        return self.compare(await read_prints(reader, multicall, addresses, block, self.known))

    def save(self, path: Path, chain_id: int) -> None:
        """Write the prints, sealed. Blocking."""
        rows = ([address, *one] for address, one in list(self.prints.items()))
        write_sealed(path, KIND, VERSION, {"chain_id": chain_id}, rows)

    def load(self, path: Path, chain_id: int) -> None:
        """Read them back. Blocking. Raises ``SnapshotError`` for a damaged file, ``FileNotFoundError``."""
        header, rows = read_sealed(path, KIND, VERSION)
        if header.get("chain_id") != chain_id:
            raise SnapshotError(f"{path}: of chain id {header.get('chain_id')}, {chain_id} is configured")
        found: dict[Address, Print] = {}
        for row in rows:
            if not (isinstance(row, list) and len(row) == 4 and all(isinstance(part, str) for part in row)):
                raise SnapshotError(f"{path}: malformed print {str(row)[:80]}")
            found[row[0]] = Print(*row[1:])
        self.prints = found


def codes_path(data_dir: Path, chain_name: str) -> Path:
    """Where a chain's prints are kept."""
    return data_dir / "market" / f"{chain_name}.codes.gz"
