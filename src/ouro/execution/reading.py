"""Reading code and storage from a node in batches, at one block."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ouro.execution.slots import (
    PLAIN_TOKEN_SLOTS,
    PROXY_SLOTS,
    BalanceSlot,
    balance_slot_candidates,
    holds,
)
from ouro.hashing import selector
from ouro.protocols.storage import Place, ViewCall
from ouro.types import Address

BALANCE_OF = selector("balanceOf(address)")
_TRANSFER = selector("transfer(address,uint256)")
_CHUNK = 400
_ADDRESS_MASK = (1 << 160) - 1


class Reader(Protocol):
    """What an endpoint offers: results in order, a failed call as an exception object in its place."""

    async def batch(self, calls: Sequence[tuple[str, list[Any]]]) -> list[Any]: ...


async def _ask(reader: Reader, calls: Sequence[tuple[str, list[Any]]]) -> list[Any]:
    answers: list[Any] = []
    for start in range(0, len(calls), _CHUNK):
        answers += await reader.batch(calls[start : start + _CHUNK])
    return answers


def _bytes(value: Any) -> bytes | None:
    """A 0x-hex answer; None for errors and for anything else a node may come up with."""
    if not isinstance(value, str) or not value.startswith("0x"):
        return None
    try:
        return bytes.fromhex(value[2:].zfill(len(value[2:]) + len(value) % 2))
    except ValueError:
        return None


async def read_words(reader: Reader, places: Iterable[Place], block_number: int) -> dict[Place, int]:
    """Storage words; those that the node can't give are missing."""
    wanted, tag = list(dict.fromkeys(places)), hex(block_number)
    calls = [("eth_getStorageAt", [address, f"0x{slot:064x}", tag]) for address, slot in wanted]
    answers = [_bytes(answer) for answer in await _ask(reader, calls)]
    return {
        place: int.from_bytes(word, "big")
        for place, word in zip(wanted, answers, strict=True)
        if word is not None and len(word) <= 32
    }


async def read_codes(reader: Reader, addresses: Iterable[Address], block_number: int) -> dict[Address, bytes]:
    """Contract codes; empty where there is none, missing where the node can't tell."""
    wanted, tag = list(dict.fromkeys(addresses)), hex(block_number)
    answers = await _ask(reader, [("eth_getCode", [address, tag]) for address in wanted])
    found = {address: _bytes(answer) for address, answer in zip(wanted, answers, strict=True)}
    return {address: code for address, code in found.items() if code is not None}


async def read_native(reader: Reader, accounts: Iterable[Address], block_number: int) -> dict[Address, int]:
    """Balances of the native coin; missing where the node can't tell."""
    wanted = list(dict.fromkeys(accounts))
    answers = await _ask(reader, [("eth_getBalance", [account, hex(block_number)]) for account in wanted])
    found = {account: _bytes(answer) for account, answer in zip(wanted, answers, strict=True)}
    return {account: int.from_bytes(value, "big") for account, value in found.items() if value is not None}


@dataclass(slots=True)
class Accesses:
    """Contracts and words that calls touch."""

    contracts: set[Address] = field(default_factory=set)
    places: list[Place] = field(default_factory=list)
    by_call: list[list[Place]] = field(default_factory=list)
    """The same, one list for each call."""


async def read_accesses(reader: Reader, calls: Sequence[ViewCall], block_number: int) -> Accesses:
    """What these calls read, by ``eth_createAccessList``; nothing where the node has no such method."""
    requests = []
    for call in calls:
        request = {"to": call.to, "data": "0x" + call.data.hex()}
        if call.sender is not None:
            request["from"] = call.sender
        requests.append(("eth_createAccessList", [request, hex(block_number)]))
    found = Accesses()
    for answer in await _ask(reader, requests):
        entries = answer.get("accessList") if isinstance(answer, dict) else None
        of_this: list[Place] = []
        for entry in entries or ():
            address = str(entry["address"]).lower()
            found.contracts.add(address)
            of_this += [(address, int(key, 16)) for key in entry["storageKeys"]]
        found.by_call.append(of_this)
        found.places += of_this
    return found


@dataclass(slots=True)
class Readings:
    """Words, codes and native balances of one block, and why some accounts can't be used."""

    words: dict[Place, int] = field(default_factory=dict)
    native: dict[Address, int] = field(default_factory=dict)
    codes: dict[Address, bytes] = field(default_factory=dict)
    faults: dict[Address, str] = field(default_factory=dict)


@dataclass(slots=True)
class Tokens(Readings):
    """The same for tokens. ``balances`` are the chain's, by (token, holder)."""

    balance_slots: dict[Address, BalanceSlot] = field(default_factory=dict)
    balances: dict[tuple[Address, Address], int] = field(default_factory=dict)


class TokenReader:
    """Finds where tokens keep balances and reads all that a transfer touches."""

    def __init__(self, reader: Reader, block_number: int, known: Mapping[Address, BalanceSlot]) -> None:
        self._reader = reader
        self._number = block_number
        self._known = known

    async def read(self, holders: Mapping[Address, Sequence[Address]]) -> Tokens:
        """``holders`` by token: the accounts whose balances matter, those likely to have one first."""
        found = Tokens()
        found.codes = await read_codes(self._reader, holders, self._number)
        for token in holders:
            if not found.codes.get(token):
                found.faults[token] = "no code"
        await self._read_balances(holders, found)
        await self._find_slots(holders, found)
        await self._read_surroundings(holders, found)
        places = [
            (token, found.balance_slots[token].slot(holder))
            for token in holders
            if token in found.balance_slots
            for holder in holders[token]
        ]
        found.words |= await read_words(self._reader, places, self._number)
        found.native = await read_native(self._reader, holders, self._number)
        return found

    async def _read_balances(self, holders: Mapping[Address, Sequence[Address]], found: Tokens) -> None:
        pairs = [(token, holder) for token in holders for holder in holders[token] if token not in found.faults]
        calls = [
            ("eth_call", [{"to": token, "data": _hex(BALANCE_OF, holder)}, hex(self._number)])
            for token, holder in pairs
        ]
        for (token, holder), answer in zip(pairs, await _ask(self._reader, calls), strict=True):
            word = _bytes(answer)
            if word is None or len(word) < 32:
                found.faults[token] = f"balanceOf({holder}) fails"
            else:
                found.balances[token, holder] = int.from_bytes(word[:32], "big")

    async def _find_slots(self, holders: Mapping[Address, Sequence[Address]], found: Tokens) -> None:
        found.balance_slots = {token: self._known[token] for token in holders if token in self._known}
        probes: dict[Address, Address] = {}
        for token in holders:
            if token not in found.faults and token not in found.balance_slots:
                # The more digits, the less likely that another mapping holds the same number.
                best = max(holders[token], key=lambda holder, t=token: found.balances[t, holder])
                if found.balances[token, best]:
                    probes[token] = best
                else:
                    found.faults[token] = "no holder with a balance to find its mapping by"
        candidates = list(balance_slot_candidates())
        places = [(token, place.slot(holder)) for token, holder in probes.items() for place in candidates]
        words = await read_words(self._reader, places, self._number)
        for token, holder in probes.items():
            balance = found.balances[token, holder]
            for place in candidates:
                if holds(words.get((token, place.slot(holder)), 0), balance):
                    found.balance_slots[token] = place
                    break
            else:
                found.faults[token] = "its balance mapping was not found"

    async def _read_surroundings(self, holders: Mapping[Address, Sequence[Address]], found: Tokens) -> None:
        """Words and codes that a transfer touches besides balances: flags, proxies and what they delegate to."""
        tokens = [token for token in holders if token not in found.faults]
        places = [(token, slot) for token in tokens for slot in (*range(PLAIN_TOKEN_SLOTS), *PROXY_SLOTS)]
        places += await self._access_lists({token: holders[token][0] for token in tokens})
        found.words |= await read_words(self._reader, places, self._number)
        others = {address for address, _ in places}
        others |= {_account(found.words.get((token, slot), 0)) for token in tokens for slot in PROXY_SLOTS}
        others -= {*found.codes, _account(0)}
        found.codes |= await read_codes(self._reader, sorted(others), self._number)

    async def _access_lists(self, holders: Mapping[Address, Address]) -> list[Place]:
        """By ``eth_createAccessList`` of a transfer out of a pool; empty where the node has no such method."""
        calls = [
            ViewCall(token, bytes.fromhex(_hex(_TRANSFER, holder, 1)[2:]), holder)
            for token, holder in holders.items()
        ]
        return (await read_accesses(self._reader, calls, self._number)).places


def _account(word: int) -> Address:
    return "0x" + (word & _ADDRESS_MASK).to_bytes(20, "big").hex()


def _hex(head: bytes, account: Address, amount: int | None = None) -> str:
    tail = b"" if amount is None else amount.to_bytes(32, "big")
    return "0x" + (head + bytes(12) + bytes.fromhex(account[2:]) + tail).hex()
