"""The shadow EVM: an in-process copy of what a chain's trades touch, kept current by events.

Code and words are read once, at one block; then every block's pool deltas are turned into storage words by the
families. Words that no event tells (fee growth, a tick's outside values, a V2 pair's kLast) go stale on purpose: no
amount depends on them. A token whose balances can't be found, or whose ``balanceOf`` disagrees with the chain, is
named in ``faults``, and its pools are not simulated.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ouro.execution.capital import LoanKind, LoanSource
from ouro.execution.contract import BRIBE_RECIPIENTS_SLOT, OPERATORS_SLOT, SCRATCH_SLOTS
from ouro.execution.evmdb import EvmDatabase, read_word_call
from ouro.execution.program import NATIVE
from ouro.execution.reading import (
    BALANCE_OF,
    Reader,
    Readings,
    TokenReader,
    Tokens,
    read_accesses,
    read_codes,
    read_native,
    read_words,
)
from ouro.execution.rehearsal import rehearsal
from ouro.execution.slots import BalanceSlot
from ouro.hashing import keccak
from ouro.protocols.base import BalanceChange, Family, StorageWrite, home_of
from ouro.protocols.registry import FAMILIES
from ouro.protocols.storage import Place, ViewCall
from ouro.types import Address, PoolId

_EXECUTOR_SLOTS = (*range(4), *SCRATCH_SLOTS)
_OTHERS_SLOTS = range(20)
_U256 = (1 << 256) - 1
_CLONE_HEAD, _CLONE_TAIL = bytes.fromhex("363d3d373d3d3d363d73"), bytes.fromhex("5af43d82803e903d91602b57fd5bf3")


class ShadowError(RuntimeError):
    """The copy can't follow the chain; load it anew."""


class FamilyWrites(Protocol):
    """What is needed here of the family of a delta."""

    def storage_writes(self, state: Any, delta: Any) -> tuple[StorageWrite | BalanceChange, ...]: ...
    def paid_fee_place(self, state: Any, delta: Any) -> Place | None: ...


@dataclass(frozen=True, slots=True)
class Difference:
    """A word that is not what the chain has."""

    address: Address
    slot: int
    shadow: int
    chain: int


@dataclass(slots=True)
class _Block:
    number: int
    undo: list[tuple[Address, int, int | None]]


class ShadowEvm:
    """One chain's copy. ``number`` is the block whose state it holds; ``ring_depth`` how far it can go back."""

    def __init__(
        self,
        chain: str,
        chain_id: int,
        *,
        ring_depth: int = 64,
        spec_id: str = "Cancun",
        bribe_recipients: Sequence[Address] = (),
    ) -> None:
        self.chain = chain
        self._bribe_recipients = tuple(bribe_recipients)
        self.lenders: tuple[LoanSource, ...] = ()
        self.number = -1
        self.database = EvmDatabase(spec_id, chain_id)
        self.balance_slots: dict[Address, BalanceSlot] = {}
        self.faults: dict[Address | PoolId, str] = {}
        self.executor: Address = ""
        self.treasury: Address = ""
        self._beside: dict[PoolId, set[Place]] = {}
        """Words that views of a pool told, where swaps write them and no event does."""
        self._pools: dict[PoolId, Any] = {}
        self._added_at: dict[PoolId, int] = {}
        self._journal: deque[_Block] = deque(maxlen=ring_depth)
        self.readings = 0
        """How often words were put that no delta told of: what was asked of the copy before may be another now."""
        self._waiting: dict[PoolId, list[tuple[FamilyWrites, Any, Any]]] = {}
        """Deltas of the last block whose words nobody has asked for yet."""

    # ---------------------------------------------------------------------------------------------------- loading

    async def load(
        self,
        reader: Reader,
        states: Iterable[Any],
        *,
        executor: Address,
        operators: Sequence[Address],
        block_number: int,
    ) -> None:
        """Read everything at ``block_number``: executor, operators, pools, their tokens.

        Raises ShadowError when the executor has no code or its state can't be read; a pool or token that fails is
        only named in ``faults``.
        """
        self.number = block_number
        self.executor = executor.lower()
        self._journal.clear()
        self._waiting.clear()
        self._pools.clear()
        self._added_at.clear()
        self.faults.clear()
        await self._load_executor(reader, operators)
        await self.add(reader, states)

    def adopt(self, number: int, executor: Address, treasury: Address, states: Iterable[Any]) -> None:
        """Take over what was put into ``database`` (and ``balance_slots``, ``faults``) as the state after block
        ``number``."""
        self.number, self.executor, self.treasury = number, executor, treasury
        self._journal.clear()
        self._waiting.clear()
        self._pools = {state.address: state for state in states}
        self._added_at = dict.fromkeys(self._pools, number)

    async def add(self, reader: Reader, states: Iterable[Any], *, again: bool = False) -> None:
        """Read more pools (and their tokens) at the block that the copy holds; with ``again`` also known ones.

        Raises ShadowError, nothing changed, if ``apply`` went on meanwhile: words of two blocks would mix.
        """
        number = self.number
        fresh = {state.address: state for state in states if again or state.address not in self._pools}
        loaded = await self._read_pools(reader, list(fresh.values()))
        tokens = await self._read_tokens(reader, list(fresh.values()), loaded.words)
        if self.number != number:
            raise ShadowError(
                f"{self.chain}: block {self.number} came while pools were read at {number}; try again"
            )
        for address in fresh:
            self.faults.pop(address, None)
        for part in (loaded, tokens):
            self.faults.update(part.faults)
            self._put(part)
        self.balance_slots.update(tokens.balance_slots)
        self._check_balances(tokens.balances)
        self._pools.update(fresh)
        self._added_at.update(dict.fromkeys(fresh, number))

    async def add_lenders(
        self, reader: Reader, sources: Sequence[LoanSource], operators: Sequence[Address]
    ) -> None:
        """Read what a loan of each source touches, so that plans on it can be rehearsed; ``lenders`` are those.

        Found by asking the node what a loan of one unit, paid back at once, would touch. A lender that refuses, or
        a node that can't tell, is named in ``faults`` and left out.
        """
        self.lenders = tuple(source for source in sources if source.kind is LoanKind.INVENTORY)
        for source in sources:
            if source.kind is LoanKind.INVENTORY or not operators:
                continue
            if source.kind is LoanKind.V3_FLASH and self.has(source.lender):
                self.lenders += (source,)  # a watched pool: all its words are here
                continue
            call = ViewCall(self.executor, rehearsal(source), operators[0])
            found = await read_accesses(reader, [call], self.number)
            if source.lender not in found.contracts:
                self.faults[source.lender] = f"no loan of {source.token} could be tried there"
                continue
            codes = await read_codes(reader, found.contracts, self.number)
            native = await read_native(reader, found.contracts, self.number)
            words = await read_words(reader, found.places, self.number)
            known = self.database.codes
            fresh = {address: code for address, code in codes.items() if not known.get(address)}
            self._put(Readings(words, native, fresh))
            self.lenders += (source,)

    async def reload_executor(self, reader: Reader, operators: Sequence[Address]) -> None:
        """Read the executor's own words again, at the copy's block. Raises ShadowError when it can't be read."""
        await self._load_executor(reader, operators)

    def has(self, pool: PoolId) -> bool:
        """Whether ``pool`` was read (it may have a fault all the same)."""
        return pool in self._pools

    def supports(self, pools: Iterable[PoolId]) -> str | None:
        """None when these pools can be simulated, else which can't and why."""
        for pool in pools:
            if pool not in self._pools or pool in self.faults:
                return f"pool {pool} can't be simulated{self._why(pool)}"
            for token in self._pools[pool].tokens:
                if token in self.faults and token != NATIVE:
                    return f"token {token}{self._why(token)}"
        return None

    def _why(self, address: Address) -> str:
        return f": {self.faults.get(address, 'it was not loaded')}"

    async def _load_executor(self, reader: Reader, operators: Sequence[Address]) -> None:
        slots = [*_EXECUTOR_SLOTS, *(_entry(operator, OPERATORS_SLOT) for operator in operators)]
        slots += [_entry(account, BRIBE_RECIPIENTS_SLOT) for account in self._bribe_recipients]
        codes = await read_codes(reader, [self.executor, *self._bribe_recipients], self.number)
        balances = await read_native(reader, self._bribe_recipients, self.number)
        words = await read_words(reader, [(self.executor, slot) for slot in slots], self.number)
        if not codes.get(self.executor) or len(words) != len(slots):
            raise ShadowError(f"{self.chain}: no executor code or state at {self.executor}, block {self.number}")
        for operator in operators:
            self.database.set_account(operator.lower(), balance_wei=10**24)
        self._put(Readings(words, native=balances, codes=codes))
        self.treasury = "0x" + (words[self.executor, 2] & (1 << 160) - 1).to_bytes(20, "big").hex()

    async def _read_pools(self, reader: Reader, states: Sequence[Any]) -> Readings:
        wanted = {state.address: list(_family(state).places(state)) for state in states}
        homes = {home_of(state) for state in states}
        codes = await read_codes(reader, homes, self.number)
        clones = {target for code in codes.values() if (target := clone_target(code))}
        words = await read_words(reader, [place for places in wanted.values() for place in places], self.number)
        for state in states:
            wanted[state.address] += _family(state).ring_places(state, words)
        words |= await read_words(
            reader, {place for ps in wanted.values() for place in ps} - words.keys(), self.number
        )
        beside = await self._read_beside(reader, states, words)
        codes |= await read_codes(reader, {*clones, *beside.codes} - homes, self.number)
        faults: dict[Address, str] = {}
        for state in states:
            if problem := _pool_problem(state, codes, words, wanted[state.address]):
                faults[state.address] = problem
        managers = [home_of(state) for state in states if home_of(state) != state.address]
        native = await read_native(reader, managers, self.number)
        return Readings(words | beside.words, native, codes, faults)

    async def _read_beside(self, reader: Reader, states: Sequence[Any], words: dict[Place, int]) -> Readings:
        """What swaps read in other contracts, as far as the node tells, else those contracts' first words."""
        of_each = [list(_family(state).view_calls(state, words)) for state in states]
        calls = [call for some in of_each for call in some]
        found = await read_accesses(reader, calls, self.number)
        told = iter(found.by_call)
        for state, some in zip(states, of_each, strict=True):
            places = {place for _ in some for place in next(told, ())}
            if _family(state).views_move:
                self._beside[state.address] = places
        others = {call.to for call in calls} - {home_of(state) for state in states}
        places = {*found.places, *((other, slot) for other in others for slot in _OTHERS_SLOTS)}
        read = await read_words(reader, places - words.keys(), self.number)
        return Readings(read, codes=dict.fromkeys(found.contracts | others, b""))

    async def _read_tokens(
        self, reader: Reader, states: Sequence[Any], words: dict[Place, int] | None = None
    ) -> Tokens:
        holders: dict[Address, list[Address]] = {}
        for state in states:
            moved = (home_of(state), *_family(state).other_holders(state, words or {}))
            for token in state.tokens:
                if token != NATIVE:
                    holders.setdefault(token, []).extend(moved)
        own = [self.executor, self.treasury]
        readings = TokenReader(reader, self.number, self.balance_slots)
        return await readings.read({token: [*dict.fromkeys(pools), *own] for token, pools in holders.items()})

    def _check_balances(self, balances: dict[tuple[Address, Address], int]) -> None:
        """The token's own code on the copy must say what it says on the chain."""
        for (token, holder), expected in balances.items():
            got = read_word_call(self.database, token, BALANCE_OF + bytes(12) + bytes.fromhex(holder[2:]))
            if got != expected and token not in self.faults:
                self.faults[token] = f"balanceOf({holder}) is {got} in the shadow, {expected} on the chain"

    def _put(self, readings: Readings) -> None:
        self.catch_up()
        self.readings += 1
        for address, code in readings.codes.items():
            self.database.set_account(address, code, readings.native.get(address, 0))
        for (address, slot), value in readings.words.items():
            self.database.write(address, slot, value)

    # -------------------------------------------------------------------------------------------------- following

    def apply(self, number: int, deltas: Iterable[tuple[FamilyWrites, Any, Any]]) -> None:
        """Go on to block ``number``: ``deltas`` are (family, state before, delta) of its logs, in order.

        Words that only the pool itself reads are written when they are asked for (``bring_up``), at the latest with
        ``catch_up`` or the next block: a decision needs those of a few pools of many.

        Deltas of pools that are not here are skipped. Raises ShadowError when a block is missing.
        """
        if number != self.number + 1:
            raise ShadowError(f"{self.chain}: block {number} does not follow {self.number}; load the shadow anew")
        self.catch_up()
        block = _Block(number, [])
        at_once: list[tuple[FamilyWrites, Any, Any]] = []
        for step in deltas:
            family, state, _ = step
            if state.address not in self._pools:
                continue
            self._pools[state.address] = state
            if _stands_alone(family, state):
                self._waiting.setdefault(state.address, []).append(step)
            else:
                at_once.append(step)
        self._journal.append(block)
        self.number = number
        self._write_steps(at_once)

    def bring_up(self, pools: Iterable[PoolId]) -> None:
        """Have the words of these pools (and of all that don't stand alone) as they are after the last block."""
        waiting = self._waiting
        if waiting:
            self._write_steps([step for pool in pools for step in waiting.pop(pool, ())])

    def catch_up(self) -> None:
        """Have every word as it is after the last block. What no plan asked for was left for when there is time."""
        if self._waiting:
            waiting, self._waiting = self._waiting, {}
            self._write_steps([step for steps in waiting.values() for step in steps])

    def _write_steps(self, steps: Sequence[tuple[FamilyWrites, Any, Any]]) -> None:
        """The words of deltas of the last block; each word once, however often the block wrote it."""
        if not steps:
            return
        fresh: dict[Place, int] = {}
        words, slots = self.database.words, self.balance_slots
        for family, state, delta in steps:
            for change in family.storage_writes(state, delta):
                if isinstance(change, StorageWrite):
                    fresh[change.address, change.slot] = change.value
                elif (slot := slots.get(change.token)) is not None:
                    place = change.token, slot.slot(change.holder)
                    held = fresh[place] if place in fresh else words.get(place, 0)
                    fresh[place] = (held + change.change_wei) & _U256
            paid = family.paid_fee_place(state, delta)
            if paid is not None and not words.get(paid) and not fresh.get(paid):
                fresh[paid] = 1
        self._journal[-1].undo.extend([(*place, words.get(place)) for place in fresh])
        self.database.write_all(fresh)

    async def reread(self, reader: Reader, states: Iterable[Any]) -> None:
        """After ``apply``: of pools that moved, what no event tells and a swap may fail on.

        Balances of managers and of pools whose fees leave without an event, their books, their native coin.
        Nothing is taken over when a block came meanwhile.
        """
        self.catch_up()
        number = self.number
        moved = [state for state in states if state.address in self._pools]
        places = {place for state in moved for place in _family(state).drifting_places(state)}
        for state in moved:
            places.update(_family(state).ring_places(state, self.database.words))
            places.update(self._beside.get(state.address, ()))
        for state in moved:
            if not _family(state).balances_told:
                known = [token for token in state.tokens if token in self.balance_slots]
                places |= {(token, self.balance_slots[token].slot(home_of(state))) for token in known}
        native = {home_of(state) for state in moved if NATIVE in state.tokens}
        words = await read_words(reader, places, number)
        coins = await read_native(reader, native, number)
        if self.number != number or not self._journal:
            return
        for (address, slot), value in words.items():
            if self.database.words.get((address, slot)) != value:
                self._change(self._journal[-1], StorageWrite(address, slot, value))
        for address, balance_wei in coins.items():
            self.database.set_account(address, self.database.codes[address], balance_wei)

    def _change(self, block: _Block, change: StorageWrite) -> None:
        address, slot = change.address, change.slot
        block.undo.append((address, slot, self.database.words.get((address, slot))))
        self.database.write(address, slot, change.value)

    def rollback(self, to_number: int) -> None:
        """Back to the state after ``to_number``. Raises ShadowError, nothing changed, when that is too far."""
        if to_number > self.number or self.number - to_number > len(self._journal):
            raise ShadowError(
                f"{self.chain}: can't go from block {self.number} to {to_number} with {len(self._journal)} blocks"
                " kept; load the shadow anew"
            )
        self.catch_up()
        while self.number > to_number:
            block = self._journal.pop()
            for address, slot, old in reversed(block.undo):
                self.database.write(address, slot, old or 0)
            self.number = block.number - 1
        # What these pools were before they were read here is not in the journal.
        for address in [pool for pool, number in self._added_at.items() if number > to_number]:
            del self._pools[address], self._added_at[address]
            self.faults[address] = "it was read in a block that was taken back; add it again"

    async def stale_views(self, reader: Reader) -> list[Difference]:
        """Words that views told and that are not what the chain has at this copy's block: none after a refresh."""
        places = {place for pool, some in self._beside.items() if pool in self._pools for place in some}
        found = await read_words(reader, places, self.number)
        mine = self.database.words
        return [
            Difference(*place, mine.get(place, 0), value)
            for place, value in found.items()
            if mine.get(place, 0) != value
        ]

    async def verify(self, reader: Reader, states: Iterable[Any] | None = None) -> list[Difference]:
        """Compare every word that events keep exact with the chain at this copy's block.

        ``states`` are the pools' current states (ticks that appeared since loading are then compared too).
        """
        self.catch_up()
        number = self.number
        for state in states or ():
            if state.address in self._pools:
                self._pools[state.address] = state
        places = [place for state in self._pools.values() for place in _family(state).places_from_logs(state)]
        for state in self._pools.values():
            places += [
                (token, self.balance_slots[token].slot(home_of(state)))
                for token in state.tokens
                if token in self.balance_slots
            ]
        mine = {place: self.database.words.get(place, 0) for place in places}
        theirs = await read_words(reader, places, number)
        return [
            Difference(address, slot, mine[address, slot], value)
            for (address, slot), value in theirs.items()
            if value != mine[address, slot]
        ]


def _pool_problem(
    state: Any, codes: dict[Address, bytes], words: dict[Place, int], wanted: Iterable[Place]
) -> str | None:
    """Why a pool that was read can't be simulated."""
    if not codes.get(home_of(state)):
        return "no code"
    if any(place not in words for place in wanted):
        return "its storage can't be read"
    for place, value in _family(state).known_words(state).items():
        if words.get(place) != value:
            return f"its storage is not laid out as {state.family}'s: slot {place[1]:#x} is not what its state says"
    return None


def _family(state: Any) -> Family:
    return FAMILIES[state.family]


def _stands_alone(family: Any, state: Any) -> bool:
    """Whether nothing but a swap through this very pool reads what its logs change: a contract of its own, of a
    family that keeps no words elsewhere."""
    alone = getattr(family, "folds", False) and not getattr(family, "managed", False)
    return alone and home_of(state) == state.address


def clone_target(code: bytes) -> Address | None:
    """What a minimal proxy (EIP-1167) delegates to; None for other code."""
    if len(code) == 45 and code.startswith(_CLONE_HEAD) and code.endswith(_CLONE_TAIL):
        return "0x" + code[10:30].hex()
    return None


def _entry(account: Address, mapping: int) -> int:
    """Where a mapping by account keeps its word."""
    padded = bytes(12) + bytes.fromhex(account[2:])
    return int.from_bytes(keccak(padded + mapping.to_bytes(32, "big")), "big")
