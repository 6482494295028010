"""Creation events of the factories: what a new pool is, read from one log."""

from dataclasses import dataclass

from ouro.config.model import DexConfig
from ouro.hashing import topic
from ouro.protocols.base import DecodeError
from ouro.types import Address, Log

PAIR_CREATED = topic("PairCreated(address,address,address,uint256)")
POOL_CREATED = topic("PoolCreated(address,address,uint24,int24,address)")
CREATION_TOPICS = (PAIR_CREATED, POOL_CREATED)
TOPIC_OF_FAMILY = {"uniswap_v2": PAIR_CREATED, "uniswap_v3": POOL_CREATED}

_ZERO = "0x" + "00" * 20
_MAX_TICK_SPACING = 16_384


@dataclass(frozen=True, slots=True)
class NewPool:
    """A pool as its factory announced it. ``tick_spacing`` is 0 for families without ticks."""

    dex: str
    family: str
    address: Address
    token0: Address
    token1: Address
    fee_ppm: int
    tick_spacing: int
    created_block: int


def _address(word: str, what: str) -> Address:
    if len(word) != 64 or word[:24] != "0" * 24:
        raise DecodeError(f"{what} is not an address: 0x{word}")
    address = "0x" + word[24:].lower()
    if address == _ZERO:
        raise DecodeError(f"{what} is the zero address")
    return address


def parse_creation(log: Log, dex: DexConfig) -> NewPool:
    """The pool that a factory's log announces. Raises ``DecodeError`` naming what is wrong."""
    try:
        words = [log.data[k : k + 64] for k in range(2, len(log.data), 64)]
        token0 = _address(log.topics[1][2:], "token0")
        token1 = _address(log.topics[2][2:], "token1")
        if dex.family == "uniswap_v2":
            pool = _address(words[0], "pair")
            fee_ppm, tick_spacing = dex.fee_ppm or 0, 0
        else:
            fee_ppm, tick_spacing = int(log.topics[3], 16), int(words[0], 16)
            pool = _address(words[1], "pool")
    except (IndexError, ValueError) as error:
        raise DecodeError(f"dex {dex.name!r}: malformed creation event in tx {log.tx_hash}: {error}") from error
    if token0 == token1 or pool in (token0, token1):
        raise DecodeError(f"dex {dex.name!r}: pool {pool} does not have two distinct tokens")
    if dex.family == "uniswap_v3" and not (0 <= fee_ppm < 1_000_000 and 0 < tick_spacing < _MAX_TICK_SPACING):
        raise DecodeError(f"dex {dex.name!r}: pool {pool} has fee {fee_ppm} and tick spacing {tick_spacing}")
    return NewPool(dex.name, dex.family, pool, token0, token1, fee_ppm, tick_spacing, log.block_number)


def decode_creation(log: Log, dex: DexConfig) -> NewPool | None:
    """As ``parse_creation``; None for another event of the factory or a malformed one."""
    if not log.topics or log.topics[0] != TOPIC_OF_FAMILY[dex.family]:
        return None
    try:
        return parse_creation(log, dex)
    except DecodeError:
        return None
