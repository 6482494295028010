"""Builders of blocks and logs for the market's tests."""

from dataclasses import dataclass, field

from ouro.hashing import keccak
from ouro.protocols.uniswap_v2 import SYNC_TOPIC, UniswapV2State
from ouro.types import BlockUpdate, Log

CHAIN = "test"


def address(number: int, kind: str = "pool") -> str:
    """A made-up address."""
    return "0x" + keccak(f"{kind}{number}".encode())[:20].hex()


def word(value: int) -> str:
    """A 32-byte word, two's complement for negatives."""
    return f"{value % (1 << 256):064x}"


def v2_state(number: int, reserve0: int = 10**21, reserve1: int = 2 * 10**21, tokens: int = 5) -> UniswapV2State:
    """A pair between two of a handful of tokens."""
    pair = (address(number % tokens, "token"), address((number + 1) % tokens, "token"))
    return UniswapV2State(address(number), pair, reserve0, reserve1, 3000)


@dataclass
class ChainBuilder:
    """Makes blocks that follow each other; ``salt`` makes another branch at the same height."""

    number: int = 100
    hash: str = "0x" + "ab" * 32
    timestamp: int = 1_700_000_000
    history: list[tuple[int, str, int]] = field(default_factory=list)

    def block(self, logs: list[tuple[str, tuple[str, ...], str]], salt: str = "") -> BlockUpdate:
        """The next block, with logs given as (address, topics, data)."""
        self.history.append((self.number, self.hash, self.timestamp))
        number = self.number + 1
        block_hash = "0x" + keccak(f"{self.hash}{number}{salt}".encode()).hex()
        tx_hash = "0x" + keccak(block_hash.encode()).hex()
        update = BlockUpdate(
            chain=CHAIN,
            number=number,
            hash=block_hash,
            parent_hash=self.hash,
            timestamp=self.timestamp + 1,
            base_fee_wei=10**9,
            gas_used=0,
            gas_limit=30_000_000,
            logs=tuple(
                Log(a, topics, data, number, block_hash, tx_hash, 0, k) for k, (a, topics, data) in enumerate(logs)
            ),
            received_ns=0,
        )
        self.number, self.hash, self.timestamp = number, block_hash, update.timestamp
        return update

    def back(self, blocks: int) -> tuple[int, str]:
        """Forget the last blocks; returns the number and hash to roll back to."""
        for _ in range(blocks):
            self.number, self.hash, self.timestamp = self.history.pop()
        return self.number, self.hash


def sync_log(pool: str, reserve0: int, reserve1: int) -> tuple[str, tuple[str, ...], str]:
    """A pair's Sync."""
    return pool, (SYNC_TOPIC,), "0x" + word(reserve0) + word(reserve1)
