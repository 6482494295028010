"""How the pools of each kind of venue are created, filled, read and traded with.

Uniswap V2's and V3's own routers serve where they exist; everything else goes through our ``MarketRouter``, which
trades and provides liquidity from its own purse.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from ouro.hashing import keccak
from ouro.testnet.abi import call_bytes, call_data, decode_result
from ouro.testnet.client import Client
from ouro.testnet.deployment import Pool, Venue
from ouro.testnet.positions import plan_positions, plan_ranges
from ouro.testnet.profiles import EVEN_WEIGHTS, NATIVE, RecordedPool
from ouro.testnet.sender import Sender
from ouro.types import Address

DEADLINE = 2**40
MIN_SQRT_RATIO = 4_295_128_739
MAX_SQRT_RATIO = 1_461_446_703_485_210_103_287_273_052_203_988_822_378_723_970_342
_KEY = "(address,address,uint24,int24,address)"
_V4_POOLS_SLOT = 6

Tokens = tuple[Address, Address]
Call = tuple[Address, str]


@dataclass(frozen=True, slots=True)
class Seen:
    """A pool's state as read: reserves of a pair, or price and in-range liquidity."""

    reserves: tuple[int, int] = (0, 0)
    sqrt_price_x96: int = 0
    liquidity: int = 0
    weights: tuple[int, int] = EVEN_WEIGHTS
    """Per cent of a pair's value in each token."""


@dataclass(frozen=True, slots=True)
class Located:
    """A created pool; ``manager`` holds its tokens where it does not itself, under ``pool_id`` where it has one."""

    address: str
    manager: Address | None = None
    pool_id: str = ""


def recorded_state(recorded: RecordedPool) -> Seen:
    """What a seeded pool has to show."""
    if recorded.is_pair:
        return Seen(reserves=recorded.reserves, weights=recorded.weights)
    return Seen(sqrt_price_x96=recorded.sqrt_price_x96, liquidity=recorded.liquidity)


class Dialect:
    """One kind of pool. ``swap_gas`` bounds what a trader's swap may take."""

    swap_gas: int = 700_000

    def create(self, sender: Sender, venue: Venue, recorded: RecordedPool, tokens: Tokens) -> None:
        """Queue the creation."""
        raise NotImplementedError

    def find(self, venue: Venue, recorded: RecordedPool, tokens: Tokens) -> Call:
        """The call whose answer is the pool's address."""
        raise NotImplementedError

    def locate(self, client: Client, venue: Venue, asked: Sequence[tuple[RecordedPool, Tokens]]) -> list[Located]:
        """Where the created pools of ``venue`` are, in the order of their creation."""
        calls = [self.find(venue, recorded, tokens) for recorded, tokens in asked]
        answers = client.batch([("eth_call", [{"to": to, "data": data}, "latest"]) for to, data in calls])
        return [Located(decode_result(("address",), answer)[0].lower()) for answer in answers]

    def fill(self, sender: Sender, venue: Venue, pool: Pool, recorded: RecordedPool) -> None:
        """Queue what gives the pool its recorded state."""

    def reads(self, pool: Pool) -> tuple[Call, ...]:
        """Calls that tell the state."""
        raise NotImplementedError

    def seen(self, answers: Sequence[str]) -> Seen:
        """What the answers of ``reads`` say."""
        raise NotImplementedError

    def swap(self, venue: Venue, pool: Pool, zero_for_one: bool, amount_in: int, trader: Address) -> Call:
        """A trader's transaction that sells ``amount_in`` for whatever comes."""
        raise NotImplementedError


class _Pair(Dialect):
    swap_gas = 250_000

    def create(self, sender: Sender, venue: Venue, recorded: RecordedPool, tokens: Tokens) -> None:
        data = call_data("createPair(address,address)", *tokens)
        sender.send(venue.factory, data, gas=4_000_000, what=f"createPair {recorded.label}")

    def find(self, venue: Venue, recorded: RecordedPool, tokens: Tokens) -> Call:
        return venue.factory, call_data("getPair(address,address)", *tokens)

    def fill(self, sender: Sender, venue: Venue, pool: Pool, recorded: RecordedPool) -> None:
        for token, amount in zip(pool.tokens, recorded.reserves, strict=True):
            data = call_data("transfer(address,uint256)", pool.address, amount)
            sender.send(token, data, gas=120_000, what=f"transfer to {recorded.label}")
        data = call_data("mint(address)", sender.account)
        sender.send(pool.address, data, gas=500_000, what=f"mint of {recorded.label}")

    def reads(self, pool: Pool) -> tuple[Call, ...]:
        return ((pool.address, _constant("getReserves()")),)

    def seen(self, answers: Sequence[str]) -> Seen:
        return Seen(reserves=(_word(answers[0], 0), _word(answers[0], 1)))

    def swap(self, venue: Venue, pool: Pool, zero_for_one: bool, amount_in: int, trader: Address) -> Call:
        path = list(pool.tokens if zero_for_one else pool.tokens[::-1])
        signature = "swapExactTokensForTokens(uint256,uint256,address[],address,uint256)"
        return venue.router, call_data(signature, amount_in, 0, path, trader, DEADLINE)


class _Solidly(_Pair):
    swap_gas = 600_000

    def create(self, sender: Sender, venue: Venue, recorded: RecordedPool, tokens: Tokens) -> None:
        data = call_data("createPool(address,address,bool)", *tokens, recorded.stable)
        sender.send(venue.factory, data, gas=4_000_000, what=f"createPool {recorded.label}")

    def find(self, venue: Venue, recorded: RecordedPool, tokens: Tokens) -> Call:
        return venue.factory, call_data("getPool(address,address,bool)", *tokens, recorded.stable)

    def swap(self, venue: Venue, pool: Pool, zero_for_one: bool, amount_in: int, trader: Address) -> Call:
        token_in = pool.tokens[0 if zero_for_one else 1]
        return venue.router, call_data("pairSwap(address,address,uint256)", pool.address, token_in, amount_in)


class _UniswapV3(Dialect):
    """Through Uniswap's own position manager and router."""

    def create(self, sender: Sender, venue: Venue, recorded: RecordedPool, tokens: Tokens) -> None:
        assert venue.position_manager is not None
        create = "createAndInitializePoolIfNecessary(address,address,uint24,uint160)"
        mint = "mint((address,address,uint24,int24,int24,uint256,uint256,uint256,uint256,address,uint256))"
        calls = [call_bytes(create, *tokens, recorded.fee_ppm, recorded.sqrt_price_x96)]
        for position in plan_positions(recorded):
            parameters = (
                *tokens, recorded.fee_ppm, position.lower, position.upper, position.amount0, position.amount1,
                0, 0, sender.account, DEADLINE,
            )  # fmt: skip
            calls.append(call_bytes(mint, parameters))
        data = call_data("multicall(bytes[])", calls)
        sender.send(venue.position_manager, data, gas=9_000_000, what=f"positions of {recorded.label}")

    def find(self, venue: Venue, recorded: RecordedPool, tokens: Tokens) -> Call:
        return venue.factory, call_data("getPool(address,address,uint24)", *tokens, recorded.fee_ppm)

    def reads(self, pool: Pool) -> tuple[Call, ...]:
        return ((pool.address, _constant("slot0()")), (pool.address, _constant("liquidity()")))

    def seen(self, answers: Sequence[str]) -> Seen:
        return Seen(sqrt_price_x96=_word(answers[0], 0), liquidity=_word(answers[1], 0))

    def swap(self, venue: Venue, pool: Pool, zero_for_one: bool, amount_in: int, trader: Address) -> Call:
        token_in, token_out = pool.tokens if zero_for_one else pool.tokens[::-1]
        signature = "exactInputSingle((address,address,uint24,address,uint256,uint256,uint256,uint160))"
        arguments = (token_in, token_out, pool.fee_ppm, trader, DEADLINE, amount_in, 0, 0)
        return venue.router, call_data(signature, arguments)


class _PancakeV3(_UniswapV3):
    """Uniswap V3's shape without its periphery."""

    mint = "mint(address,int24,int24,uint128,bytes)"

    def create(self, sender: Sender, venue: Venue, recorded: RecordedPool, tokens: Tokens) -> None:
        data = call_data("createPool(address,address,uint24)", *tokens, recorded.fee_ppm)
        sender.send(venue.factory, data, gas=9_000_000, what=f"createPool {recorded.label}")

    def fill(self, sender: Sender, venue: Venue, pool: Pool, recorded: RecordedPool) -> None:
        data = call_data("initialize(uint160)", recorded.sqrt_price_x96)
        sender.send(pool.address, data, gas=2_000_000, what=f"initialize {recorded.label}")
        self._provide(sender, venue, pool, recorded)

    def _provide(self, sender: Sender, venue: Venue, pool: Pool, recorded: RecordedPool) -> None:
        for lower, upper, liquidity in plan_ranges(recorded):
            call = self._mint_call(venue.router, lower, upper, liquidity)
            data = call_data("run(address,bytes)", pool.address, call)
            sender.send(venue.router, data, gas=2_000_000, what=f"mint of {recorded.label}")

    def _mint_call(self, owner: Address, lower: int, upper: int, liquidity: int) -> bytes:
        return call_bytes("mint(address,int24,int24,uint128,bytes)", owner, lower, upper, liquidity, b"")

    def swap(self, venue: Venue, pool: Pool, zero_for_one: bool, amount_in: int, trader: Address) -> Call:
        limit = MIN_SQRT_RATIO + 1 if zero_for_one else MAX_SQRT_RATIO - 1
        signature = "swap(address,bool,int256,uint160,bytes)"
        call = call_bytes(signature, venue.router, zero_for_one, amount_in, limit, b"")
        return venue.router, call_data("run(address,bytes)", pool.address, call)


class _Slipstream(_PancakeV3):
    """Keyed by tick spacing, born with a price."""

    def create(self, sender: Sender, venue: Venue, recorded: RecordedPool, tokens: Tokens) -> None:
        signature = "createPool(address,address,int24,uint160)"
        data = call_data(signature, *tokens, recorded.tick_spacing, recorded.sqrt_price_x96)
        sender.send(venue.factory, data, gas=9_000_000, what=f"createPool {recorded.label}")

    def find(self, venue: Venue, recorded: RecordedPool, tokens: Tokens) -> Call:
        return venue.factory, call_data("getPool(address,address,int24)", *tokens, recorded.tick_spacing)

    def fill(self, sender: Sender, venue: Venue, pool: Pool, recorded: RecordedPool) -> None:
        self._provide(sender, venue, pool, recorded)


class _AlgebraIntegral(_PancakeV3):
    """One pool a pair; fee and spacing are the factory's defaults."""

    def create(self, sender: Sender, venue: Venue, recorded: RecordedPool, tokens: Tokens) -> None:
        data = call_data("createPool(address,address,bytes)", *tokens, b"")
        sender.send(venue.factory, data, gas=9_000_000, what=f"createPool {recorded.label}")

    def find(self, venue: Venue, recorded: RecordedPool, tokens: Tokens) -> Call:
        return venue.factory, call_data("poolByPair(address,address)", *tokens)

    def reads(self, pool: Pool) -> tuple[Call, ...]:
        return ((pool.address, _constant("globalState()")), (pool.address, _constant("liquidity()")))

    def _mint_call(self, owner: Address, lower: int, upper: int, liquidity: int) -> bytes:
        signature = "mint(address,address,int24,int24,uint128,bytes)"
        return call_bytes(signature, owner, owner, lower, upper, liquidity, b"")


class _AlgebraAdaptive(_AlgebraIntegral):
    """The generation before: fees follow volatility, the spacing is fixed."""

    def create(self, sender: Sender, venue: Venue, recorded: RecordedPool, tokens: Tokens) -> None:
        data = call_data("createPool(address,address)", *tokens)
        sender.send(venue.factory, data, gas=40_000_000, what=f"createPool {recorded.label}")


class _UniswapV4(Dialect):
    """Inside the manager's lock; a pool's address is its id, the venue's factory is the manager."""

    def create(self, sender: Sender, venue: Venue, recorded: RecordedPool, tokens: Tokens) -> None:
        key = _v4_key(tokens, recorded.fee_ppm, recorded.tick_spacing)
        data = call_data(f"initialize({_KEY},uint160)", key, recorded.sqrt_price_x96)
        sender.send(venue.factory, data, gas=2_000_000, what=f"initialize {recorded.label}")

    def locate(self, client: Client, venue: Venue, asked: Sequence[tuple[RecordedPool, Tokens]]) -> list[Located]:
        """By its key alone."""
        return [
            Located(v4_pool_id(tokens, recorded.fee_ppm, recorded.tick_spacing), venue.factory)
            for recorded, tokens in asked
        ]

    def fill(self, sender: Sender, venue: Venue, pool: Pool, recorded: RecordedPool) -> None:
        key = _v4_key(pool.tokens, recorded.fee_ppm, recorded.tick_spacing)
        signature = f"modifyLiquidity({_KEY},(int24,int24,int256,bytes32),bytes)"
        for lower, upper, liquidity in plan_ranges(recorded):
            call = call_bytes(signature, key, (lower, upper, liquidity, bytes(32)), b"")
            to, data = self._locked(venue, pool, call)
            sender.send(to, data, gas=2_000_000, what=f"liquidity of {recorded.label}")

    def reads(self, pool: Pool) -> tuple[Call, ...]:
        assert pool.manager is not None
        base = int.from_bytes(keccak(bytes.fromhex(pool.address[2:]) + _V4_POOLS_SLOT.to_bytes(32)))
        return tuple((pool.manager, _extsload(base + at)) for at in (0, 3))

    def seen(self, answers: Sequence[str]) -> Seen:
        mask = (1 << 160) - 1
        return Seen(sqrt_price_x96=_word(answers[0], 0) & mask, liquidity=_word(answers[1], 0))

    def swap(self, venue: Venue, pool: Pool, zero_for_one: bool, amount_in: int, trader: Address) -> Call:
        key = _v4_key(pool.tokens, pool.fee_ppm, pool.tick_spacing)
        limit = MIN_SQRT_RATIO + 1 if zero_for_one else MAX_SQRT_RATIO - 1
        signature = f"swap({_KEY},(bool,int256,uint160),bytes)"
        # exact input is negative here
        return self._locked(venue, pool, call_bytes(signature, key, (zero_for_one, -amount_in, limit), b""))

    @staticmethod
    def _locked(venue: Venue, pool: Pool, call: bytes) -> Call:
        signature = "locked(address,address,address,bytes)"
        return venue.router, call_data(signature, venue.factory, *pool.tokens, call)


DIALECTS: dict[str, Dialect] = {
    "v2": _Pair(),
    "v3": _UniswapV3(),
    "solidly": _Solidly(),
    "pancakeswap_v3": _PancakeV3(),
    "slipstream": _Slipstream(),
    "algebra_integral": _AlgebraIntegral(),
    "algebra_adaptive": _AlgebraAdaptive(),
    "uniswap_v4": _UniswapV4(),
}


def v4_pool_id(tokens: Tokens, fee_ppm: int, tick_spacing: int) -> str:
    """keccak of the encoded key of a pool without hooks."""
    key = _v4_key(tokens, fee_ppm, tick_spacing)
    return "0x" + keccak(call_bytes(f"key({_KEY})", key)[4:]).hex()


def _v4_key(tokens: Tokens, fee_ppm: int, tick_spacing: int) -> tuple[Address, Address, int, int, Address]:
    return (*tokens, fee_ppm, tick_spacing, NATIVE)


@lru_cache(maxsize=1024)
def _extsload(slot: int) -> str:
    return call_data("extsload(bytes32)", slot.to_bytes(32))


@lru_cache(maxsize=16)
def _constant(signature: str) -> str:
    return call_data(signature)


def _word(answer: str, position: int) -> int:
    return int(answer[2 + 64 * position : 66 + 64 * position], 16)
