"""Creation events of the factories: what a new pool is, read from one log."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ouro.config.model import DexConfig
from ouro.hashing import topic
from ouro.protocols import uniswap_v4
from ouro.protocols.base import DecodeError
from ouro.types import Address, Log, PoolId

PAIR_CREATED = topic("PairCreated(address,address,address,uint256)")
POOL_CREATED = topic("PoolCreated(address,address,uint24,int24,address)")
SPACED_POOL_CREATED = topic("PoolCreated(address,address,int24,address)")
STABLE_POOL_CREATED = topic("PoolCreated(address,address,bool,address,uint256)")
STABLE_PAIR_CREATED = topic("PairCreated(address,address,bool,address,uint256)")
ALGEBRA_POOL = topic("Pool(address,address,address)")
ALGEBRA_CUSTOM_POOL = topic("CustomPool(address,address,address,address)")

_ZERO = "0x" + "00" * 20
_MAX_TICK_SPACING = 16_384


@dataclass(frozen=True, slots=True)
class NewPool:
    """A pool as its factory announced it.

    ``fee_ppm`` is 0 where the pool tells its fee, the pool key's fee field for ``uniswap_v4``; ``tick_spacing`` is
    0 for families without ticks or with one that changes. ``factory`` is the announcing contract, for
    ``uniswap_v4`` the manager.
    """

    dex: str
    family: str
    address: PoolId
    token0: Address
    token1: Address
    fee_ppm: int
    tick_spacing: int
    created_block: int
    factory: Address = ""
    stable: bool = False
    hooks: Address = ""


def _address(word: str, what: str) -> Address:
    if len(word) != 64 or word[:24] != "0" * 24:
        raise DecodeError(f"{what} is not an address: 0x{word}")
    address = "0x" + word[24:].lower()
    if address == _ZERO:
        raise DecodeError(f"{what} is the zero address")
    return address


class _Event:
    """The words of a creation event and the dex that it belongs to."""

    def __init__(self, log: Log, dex: DexConfig) -> None:
        self.log, self.dex = log, dex
        self.topics = [value[2:] for value in log.topics]
        self.words = [log.data[k : k + 64] for k in range(2, len(log.data), 64)]

    def pool(
        self, address: PoolId, first: int = 1, fee_ppm: int = 0, spacing: int = 0, stable: bool = False
    ) -> NewPool:
        """A pool whose tokens are the topics ``first`` and ``first + 1``."""
        token0, token1 = (_address(self.topics[first + k], f"token{k}") for k in (0, 1))
        return self.named(address, token0, token1, fee_ppm, spacing, stable)

    def named(
        self,
        address: PoolId,
        token0: Address,
        token1: Address,
        fee_ppm: int,
        spacing: int,
        stable: bool = False,
        hooks: Address = "",
    ) -> NewPool:
        """A pool with these tokens."""
        dex = self.dex
        return NewPool(
            dex.name,
            dex.family,
            address,
            token0,
            token1,
            fee_ppm,
            spacing,
            self.log.block_number,
            factory=self.log.address,
            stable=stable,
            hooks=hooks,
        )


def _pair(event: _Event) -> NewPool:
    return event.pool(_address(event.words[0], "pair"), fee_ppm=event.dex.fee_ppm or 0)


def _v3(event: _Event) -> NewPool:
    fee_ppm, spacing = int(event.topics[3], 16), int(event.words[0], 16)
    if not (0 <= fee_ppm < 1_000_000 and 0 < spacing < _MAX_TICK_SPACING):
        raise DecodeError(f"fee {fee_ppm} and tick spacing {spacing} are out of range")
    return event.pool(_address(event.words[1], "pool"), fee_ppm=fee_ppm, spacing=spacing)


def _spaced(event: _Event) -> NewPool:
    spacing = int(event.topics[3], 16)
    if not 0 < spacing < _MAX_TICK_SPACING:
        raise DecodeError(f"tick spacing {spacing} is out of range")
    return event.pool(_address(event.words[0], "pool"), spacing=spacing)


def _stable(event: _Event) -> NewPool:
    flag = int(event.topics[3], 16)
    if flag > 1:
        raise DecodeError(f"stable is {flag}, neither true nor false")
    return event.pool(_address(event.words[0], "pool"), stable=bool(flag))


def _algebra(event: _Event) -> NewPool:
    return event.pool(_address(event.words[0], "pool"))


def _custom_algebra(event: _Event) -> NewPool:
    return event.pool(_address(event.words[0], "pool"), first=2)


def _v4(event: _Event) -> NewPool:
    """The key is checked against the id, so that a wrong one can't name another pool."""
    low = "0x" + event.topics[2][24:].lower()
    high = _address(event.topics[3], "currency1")
    fee, spacing, hooks_word = int(event.words[0], 16), int(event.words[1], 16), int(event.words[2], 16)
    if fee >> 24 or not 0 < spacing <= uniswap_v4.MAX_TICK_SPACING or hooks_word >> 160:
        raise DecodeError(f"fee {fee}, tick spacing {spacing} or hooks {hooks_word:#x} is out of range")
    hooks = "0x" + hooks_word.to_bytes(20).hex()
    identity = "0x" + event.topics[1].lower()
    if identity != uniswap_v4.pool_id((low, high), fee, spacing, hooks):
        raise DecodeError(f"{identity} is not the id of its key")
    return event.named(identity, low, high, fee, spacing, hooks=hooks)


_READERS: Mapping[str, Mapping[str, Callable[[_Event], NewPool]]] = {
    "uniswap_v2": {PAIR_CREATED: _pair},
    "swapr": {PAIR_CREATED: _pair},
    "uniswap_v3": {POOL_CREATED: _v3},
    "pancakeswap_v3": {POOL_CREATED: _v3},
    "slipstream": {SPACED_POOL_CREATED: _spaced},
    "solidly": {STABLE_POOL_CREATED: _stable, STABLE_PAIR_CREATED: _stable},
    "algebra_adaptive": {ALGEBRA_POOL: _algebra},
    "algebra_integral": {ALGEBRA_POOL: _algebra, ALGEBRA_CUSTOM_POOL: _custom_algebra},
    "uniswap_v4": {uniswap_v4.INITIALIZE_TOPIC: _v4},
}
CREATION_TOPICS: tuple[str, ...] = tuple(dict.fromkeys(topic for readers in _READERS.values() for topic in readers))


def creation_topics(family: str) -> tuple[str, ...]:
    """First topics of the events by which a factory of ``family`` announces pools."""
    return tuple(_READERS[family])


def parse_creation(log: Log, dex: DexConfig) -> NewPool:
    """The pool that a factory's log announces. Raises ``DecodeError`` naming what is wrong."""
    try:
        pool = _READERS[dex.family][log.topics[0]](_Event(log, dex))
    except (KeyError, IndexError, ValueError) as error:
        raise DecodeError(f"dex {dex.name!r}: malformed creation event in tx {log.tx_hash}: {error}") from error
    except DecodeError as error:
        raise DecodeError(f"dex {dex.name!r}: creation event in tx {log.tx_hash}: {error}") from error
    if pool.token0 == pool.token1 or pool.address in (pool.token0, pool.token1):
        raise DecodeError(f"dex {dex.name!r}: pool {pool.address} does not have two distinct tokens")
    return pool


def decode_creation(log: Log, dex: DexConfig) -> NewPool | None:
    """As ``parse_creation``; None for another event of the factory or a malformed one."""
    if not log.topics or log.topics[0] not in _READERS[dex.family]:
        return None
    try:
        return parse_creation(log, dex)
    except DecodeError:
        return None
