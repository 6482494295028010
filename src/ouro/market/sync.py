"""The state of pools at one pinned block, read by multicall; and the check that logs led to the same state."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ouro.chain.rpc import Caller
from ouro.market.errors import SyncError
from ouro.market.market import Market
from ouro.market.multicall import read_many, require_multicall
from ouro.market.reader import READ_TIMEOUT_MS, PinnedBlock, patiently, pin
from ouro.market.scripts import run_scripts
from ouro.market.tokens import TokenInfo, parse_token, token_reads
from ouro.market.venues import NATIVE
from ouro.protocols.base import Family, Garbage, Source
from ouro.protocols.creation import NewPool
from ouro.protocols.reads import Read
from ouro.types import Address, PoolId

_POOLS_AT_ONCE = 500
_CODES_AT_ONCE = 20

Progress = Callable[[str], None]


@dataclass(slots=True)
class Synced:
    """States at the block, pools that can't be used with the reason, and what the tokens say of themselves."""

    states: dict[PoolId, Any] = field(default_factory=dict)
    rejected: dict[PoolId, str] = field(default_factory=dict)
    tokens: dict[Address, TokenInfo] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Difference:
    """A field in which our copy and the chain disagree, at the same block."""

    pool: PoolId
    field: str
    ours: Any
    chain: Any


async def read_states(
    reader: Caller,
    multicall: Address,
    pools: Sequence[NewPool],
    block: PinnedBlock,
    families: Mapping[str, Family],
    *,
    known_tokens: Mapping[Address, TokenInfo] | None = None,
    progress: Progress = lambda _: None,
) -> Synced:
    """Every pool's state at ``block``. A pool that misbehaves is rejected by itself.

    Raises ``SyncError`` when the node can't be read at that block.
    """
    await require_multicall(reader, multicall, block)
    found = Synced(tokens=dict(known_tokens or {}))
    for k in range(0, len(pools), _POOLS_AT_ONCE):
        part = pools[k : k + _POOLS_AT_ONCE]
        dead = await _read_tokens(reader, multicall, [pool.tokens for pool in part], block, found)
        usable = [pool for pool in part if not _has_dead(pool.address, pool.tokens, dead, found)]
        scripts = [families[pool.family].read(pool) for pool in usable]
        for pool, result in zip(usable, await run_scripts(reader, multicall, scripts, block), strict=True):
            _keep(pool, result, families[pool.family], found)
        await _check_told_tokens(reader, multicall, usable, block, found)
        await _explain_missing_code(reader, block, usable, families, found)
        progress(f"{min(k + _POOLS_AT_ONCE, len(pools))} of {len(pools)} pools read at block {block.number}")
    return found


def _has_dead(pool: PoolId, tokens: Iterable[Address], dead: set[Address], found: Synced) -> bool:
    for token in tokens:
        if token in dead:
            found.rejected[pool] = f"token {token} has no code"
            return True
    return False


async def _check_told_tokens(
    reader: Caller, multicall: Address, pools: Iterable[NewPool], block: PinnedBlock, found: Synced
) -> None:
    """Tokens that only the pools themselves tell are looked at after them."""
    told = [found.states[pool.address] for pool in pools if not pool.tokens and pool.address in found.states]
    if not told:
        return
    dead = await _read_tokens(reader, multicall, [state.tokens for state in told], block, found)
    for state in told:
        if _has_dead(state.address, state.tokens, dead, found):
            del found.states[state.address]


def _keep(pool: NewPool, result: Any, family: Family, found: Synced) -> None:
    if isinstance(result, Garbage):
        found.rejected[pool.address] = str(result)
        return
    try:
        # the family's own reader of foreign values checks every field and how they fit together
        found.states[pool.address] = family.from_json(family.to_json(result))
    except ValueError as error:
        found.rejected[pool.address] = f"its answers contradict each other: {error}"


async def _read_tokens(
    reader: Caller,
    multicall: Address,
    pairs: Iterable[tuple[Address, ...]],
    block: PinnedBlock,
    found: Synced,
) -> set[Address]:
    """Fill ``found.tokens``; returns the tokens without code."""
    mentioned = dict.fromkeys(token for tokens in pairs for token in tokens if token != NATIVE)
    tokens = [token for token in mentioned if token not in found.tokens]
    reads: list[Read] = [read for token in tokens for read in token_reads(token)]
    answers = await read_many(reader, multicall, reads, block)
    for k, token in enumerate(tokens):
        found.tokens[token] = parse_token(token, answers[2 * k], answers[2 * k + 1])
    mute = [token for token in mentioned if found.tokens[token].decimals is None]
    return await _without_code(reader, mute, block)


async def _without_code(reader: Caller, addresses: Sequence[Address], block: PinnedBlock) -> set[Address]:
    missing: set[Address] = set()
    for k in range(0, len(addresses), _CODES_AT_ONCE):
        part = addresses[k : k + _CODES_AT_ONCE]
        calls = [("eth_getCode", [address, block.tag]) for address in part]

        async def ask(calls: list[tuple[str, list[Any]]] = calls) -> list[Any]:
            return await reader.batch(calls, READ_TIMEOUT_MS)

        for address, code in zip(part, await patiently(ask, "contract code"), strict=True):
            if code == "0x":
                missing.add(address)
    return missing


async def _explain_missing_code(
    reader: Caller,
    block: PinnedBlock,
    asked: Sequence[NewPool],
    families: Mapping[str, Family],
    found: Synced,
) -> None:
    homes: dict[Address, list[PoolId]] = {}
    for pool in asked:
        if pool.address in found.rejected:
            homes.setdefault(families[pool.family].home(pool), []).append(pool.address)
    for home in await _without_code(reader, list(homes), block):
        for pool_id in homes[home]:
            found.rejected[pool_id] = f"no code at the pool's address at block {block.number}"


def describe(market: Market, pool: PoolId) -> NewPool:
    """What ``read_states`` needs to read a known pool again."""
    announced = market.announced.get(pool)
    if announced is not None:
        return announced
    state = market.states[pool]
    return market.families[state.family].described(state)


async def verify(
    market: Market,
    reader: Caller,
    multicall: Address,
    block: PinnedBlock | None = None,
    pools: Sequence[PoolId] | None = None,
) -> list[Difference]:
    """Where the market's states, led there by logs, differ from what the contracts say at the market's head.

    Fields that no log tells are compared only where they were read again at that block.

    ``pools`` limits the check. The market may move on meanwhile: its states are immutable, the ones of this moment
    are checked. Raises ``SyncError`` when the node doesn't have the head block (any more).
    """
    head = market.head
    if head is None:
        raise SyncError(f"{market.chain}: the market has not started, there is nothing to verify")
    chosen = market.states if pools is None else {pool: market.states[pool] for pool in pools}
    ours = {pool: state for pool, state in chosen.items() if market.usable(pool)}
    block = block or await pin(reader, head.number, multicall)
    if (block.number, block.hash) != (head.number, head.hash):
        theirs = f"{block.number} {block.hash}"
        raise SyncError(f"{market.chain}: the market is at block {head.number} {head.hash}, the node at {theirs}")
    descriptions = [describe(market, pool) for pool in ours]
    found = await read_states(reader, multicall, descriptions, block, market.families, known_tokens=market.tokens)
    differences = [Difference(pool, "state", "readable", why) for pool, why in found.rejected.items()]
    for pool, theirs in found.states.items():
        family = market.families[theirs.family]
        differences += differing(family, ours[pool], theirs, confirmed=market.is_confirmed(pool))
    return differences


def differing(family: Family, ours: Any, theirs: Any, *, confirmed: bool = True) -> list[Difference]:
    """Fields in which two states of one pool differ.

    Fields that no log tells only count where they are ``confirmed``; of a table that forgets what is too old to
    matter, the part that both have counts.
    """
    if theirs == ours:
        return []
    skipped = {} if confirmed else family.sources
    left, right = family.to_json(ours), family.to_json(theirs)
    found = []
    for key in left:
        mine, other = left[key], right[key]
        if key in family.windows:
            common = min(len(mine), len(other))
            mine, other = mine[len(mine) - common :], other[len(other) - common :]
        if mine != other and skipped.get(key) is not Source.MUST_REFRESH:
            found.append(Difference(ours.address, key, mine, other))
    return found
