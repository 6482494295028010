"""Recordings made up at any scale: real topology and depths, seeded swaps, and logs that the families decode.

Every block touches the same number of pools, drawn by the square root of depth. A pool's traders are noise; then an
arbitrageur brings it back to its value, unless the pool is left standing, which is a gap until a later block closes
it. States are led by the families' own ``decode`` and ``apply``, so a recording can't contradict itself.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from eth_abi.abi import encode

from ouro.chain.fees import FeeModel, base_fee_after
from ouro.config.model import ChainConfig, DexConfig
from ouro.hashing import keccak
from ouro.market.journal import Head
from ouro.market.tokens import TokenInfo
from ouro.protocols.base import QuoteError
from ouro.protocols.registry import FAMILIES
from ouro.protocols.uniswap_v2 import SYNC_TOPIC, UniswapV2State
from ouro.protocols.uniswap_v3 import UniswapV3State
from ouro.protocols.v3_events import BURN_TOPIC, MINT_TOPIC, SWAP_TOPIC
from ouro.protocols.v3_math import Q96
from ouro.protocols.v3_swap import MAX_LIMIT, MIN_LIMIT, swap
from ouro.replay.contracts import image
from ouro.replay.pools import first_state
from ouro.replay.recording import Origin, RecordingWriter
from ouro.replay.topology import Topology, topology
from ouro.types import Address, BlockContext, BlockUpdate, Log

GWEI = 10**9
_EXECUTOR, _OWNER = "0x" + "0e" * 20, "0x" + "c0" * 20
_FACTORY_V2, _FACTORY_V3 = "0x" + "f2" * 20, "0x" + "f3" * 20
_FIRST_NUMBER, _FIRST_TIMESTAMP = 20_000_000, 1_700_000_000
_GAS_LIMIT = 30_000_000
_LOGS_PER_TRANSACTION = 3
_JITTER_S = 0.15
_PROVIDERS = 0.03
"""Of the logs of a V3 pool: somebody adds or takes back liquidity."""
_TRADER, _ROUTER = "0x" + "7a" * 20, "0x" + "70" * 20


@dataclass(frozen=True, slots=True)
class Scale:
    """How large a recording is. ``logs`` and ``touched`` are of each block; ``unknown`` the share of logs of pools
    that nobody watches; ``standing`` the share of touched pools that are left away from their value."""

    pools: int = 10_000
    blocks: int = 1_000
    logs: int = 200
    touched: int = 25
    unknown: float = 0.1
    standing: float = 0.06
    base_fee_gwei: float = 8.0
    block_time_ms: int = 12_000
    burst_every: int = 0
    """Every so many blocks one has ten times the logs; 0: never."""
    empty_every: int = 0
    """Every so many blocks one has no logs; 0: never."""


def generate(
    path: Path, scale: Scale, *, seed: int, operators: tuple[Address, ...], data: Path | None = None
) -> Path:
    """Write a recording. ``operators`` may sign in it; ``data`` is the folder of the recorded snapshots, if any."""
    flow = Flow(scale, seed, operators, data)
    writer = RecordingWriter(path, flow.origin())
    try:
        for block in flow.blocks():
            writer.add(block)
    except BaseException:
        writer.abandon()
        raise
    return writer.finish()


class Flow:
    """A made-up chain, block by block."""

    def __init__(self, scale: Scale, seed: int, operators: tuple[Address, ...], data: Path | None) -> None:
        self.scale = scale
        self.topology: Topology = topology(scale.pools, seed, data)
        self._rng = np.random.default_rng([seed, 2])
        self._seed = seed
        self._operators = operators
        values, specs = self.topology.values, self.topology.pools
        self.states: list[Any] = [first_state(spec, values, self._rng, _FIRST_TIMESTAMP) for spec in specs]
        # what one unit of the first token is worth in the second: where arbitrage brings a pool back to
        self._fair = np.array([values[spec.tokens[0]] / values[spec.tokens[1]] for spec in specs])
        depth = np.sqrt(np.array([spec.depth_wei for spec in specs]))
        self._weights: npt.NDArray[np.float64] = depth / depth.sum()
        self._standing: list[int] = []
        self._provided: dict[int, list[tuple[int, int, int]]] = {}
        self._base_fee = int(scale.base_fee_gwei * GWEI)

    def origin(self) -> Origin:
        """The state before the first block."""
        tokens = {token: TokenInfo(token, f"T{k}", 18) for k, token in enumerate(sorted(self.topology.values))}
        used = {token for spec in self.topology.pools for token in spec.tokens}
        return Origin(
            chain="generated",
            config=self.config(),
            head=Head(_FIRST_NUMBER, self._hash(0), _FIRST_TIMESTAMP, self._base_fee),
            fees=FeeModel(),
            states={state.address: state for state in self.states},
            tokens={token: info for token, info in tokens.items() if token in used},
            image=image(
                self.states,
                number=_FIRST_NUMBER,
                wrapped_native=self.topology.hub,
                executor=_EXECUTOR,
                owner=_OWNER,
                operators=self._operators,
            ),
            source=f"generated from {self.topology.source}",
        )

    def config(self) -> ChainConfig:
        """As a person would have configured this chain."""
        starts = self.topology.start_tokens()
        return ChainConfig(
            chain_id=9_310_001,
            profile="ethereum",
            endpoints=("replay:",),
            block_time_ms=self.scale.block_time_ms,
            wrapped_native=self.topology.hub,
            multicall="0x" + "ca" * 20,
            executor=_EXECUTOR,
            owner=_OWNER,
            operators=self._operators,
            start_tokens=starts,
            stable_tokens=starts[1:2],
            dexes=(
                DexConfig(name="pairs", family="uniswap_v2", factory=_FACTORY_V2, fee_ppm=3_000),
                DexConfig(name="ranges", family="uniswap_v3", factory=_FACTORY_V3),
            ),
        )

    def blocks(self) -> Iterator[BlockUpdate]:
        """Block after block."""
        scale, rng = self.scale, self._rng
        for k in range(1, scale.blocks + 1):
            size = scale.logs
            if scale.burst_every and k % scale.burst_every == 0:
                size *= 10
            if scale.empty_every and k % scale.empty_every == 0:
                size = 0
            number, timestamp = _FIRST_NUMBER + k, _FIRST_TIMESTAMP + k * scale.block_time_ms // 1_000
            block_hash = self._hash(k)
            drafts = self._drafts(size, timestamp, number) if size else []
            gas_used = int(_GAS_LIMIT * float(np.clip(rng.normal(0.5, 0.2), 0.02, 1.0)))
            received = k * scale.block_time_ms * 1_000_000 + int(max(0.0, rng.normal(0.3, _JITTER_S)) * 1e9)
            yield BlockUpdate(
                chain="generated",
                number=number,
                hash=block_hash,
                parent_hash=self._hash(k - 1),
                timestamp=timestamp,
                base_fee_wei=self._base_fee,
                gas_used=gas_used,
                gas_limit=_GAS_LIMIT,
                logs=self._logs(drafts, number, block_hash),
                received_ns=received,
            )
            self._base_fee = base_fee_after(self._base_fee, gas_used, _GAS_LIMIT)

    def _hash(self, k: int) -> str:
        return "0x" + keccak(f"block|{self._seed}|{k}".encode()).hex()

    def _logs(
        self, drafts: list[tuple[Address, tuple[str, ...], str]], number: int, block_hash: str
    ) -> tuple[Log, ...]:
        logs = []
        tx_index, tx_hash = -1, ""
        for index, (address, topics, data) in enumerate(drafts):
            if index // _LOGS_PER_TRANSACTION != tx_index:
                tx_index = index // _LOGS_PER_TRANSACTION
                tx_hash = "0x" + keccak(f"{block_hash}|{tx_index}".encode()).hex()
            logs.append(Log(address, topics, data, number, block_hash, tx_hash, tx_index, index))
        return tuple(logs)

    # ------------------------------------------------------------------------------------------------- what happens

    def _drafts(self, size: int, timestamp: int, number: int) -> list[tuple[Address, tuple[str, ...], str]]:
        """Address, topics and data of the block's logs; states go along."""
        scale, rng = self.scale, self._rng
        touched = min(scale.touched, len(self.states), size)
        closed, self._standing = self._standing[: touched // 2], self._standing[touched // 2 :]
        drawn = rng.choice(len(self.states), touched, replace=False, p=self._weights).tolist()
        pools = list(dict.fromkeys([*closed, *drawn]))[:touched]
        unknown = int(size * scale.unknown)
        turns = rng.permutation(np.arange(size - unknown) % touched).tolist()
        left = np.bincount(np.array(turns, dtype=np.int64), minlength=touched).tolist()
        stays = set(np.flatnonzero(rng.random(touched) < scale.standing).tolist())
        context = BlockContext(number, timestamp, 0)
        drafts = []
        for turn in turns:
            left[turn] -= 1
            pool = pools[turn]
            last = left[turn] == 0
            if last and turn in stays:
                self._standing.append(pool)
                drafts.append(self._shove(pool, context, strong=True))
            elif last:
                drafts.append(self._bring_back(pool, context))
            elif isinstance(self.states[pool], UniswapV3State) and rng.random() < _PROVIDERS:
                drafts.append(self._provide(pool, context))
            else:
                drafts.append(self._shove(pool, context, strong=False))
        for _ in range(unknown):
            place = int(rng.integers(len(drafts) + 1)) if drafts else 0
            drafts.insert(place, self._of_nobody())
        return drafts

    def _shove(self, pool: int, context: BlockContext, *, strong: bool) -> tuple[Address, tuple[str, ...], str]:
        """A trader who does not look at the price."""
        rng = self._rng
        share = min(0.05, float(rng.lognormal(-4.2, 0.5) if strong else rng.lognormal(-7.0, 1.0)))
        first = bool(rng.random() < 0.5)
        state = self.states[pool]
        if isinstance(state, UniswapV2State):
            return self._pair_swap(pool, first, int(share * (state.reserve0 if first else state.reserve1)), context)
        # the price of x·y = k moves by twice the share, its root by as much as the share
        return self._swap_to(pool, math.sqrt(self._price(pool)) * (1.0 - share if first else 1.0 + share), context)

    def _bring_back(self, pool: int, context: BlockContext) -> tuple[Address, tuple[str, ...], str]:
        """Somebody trades the pool to its value; the fee is paid on top."""
        wanted = float(self._fair[pool]) * float(self._rng.lognormal(0.0, 0.0002))
        state = self.states[pool]
        if isinstance(state, UniswapV3State):
            return self._swap_to(pool, math.sqrt(wanted), context)
        r0, r1 = float(state.reserve0), float(state.reserve1)
        lacking = math.sqrt(r0 * r1 / wanted) - r0
        if lacking > 0:
            return self._pair_swap(pool, True, int(lacking * 1.003), context)
        return self._pair_swap(pool, False, int((math.sqrt(r0 * r1 * wanted) - r1) * 1.003), context)

    def _price(self, pool: int) -> float:
        return (self.states[pool].sqrt_price_x96 / Q96) ** 2

    def _pair_swap(
        self, pool: int, first: bool, amount_wei: int, context: BlockContext
    ) -> tuple[Address, tuple[str, ...], str]:
        state = self.states[pool]
        try:
            i, j = (0, 1) if first else (1, 0)
            after = FAMILIES[state.family].quote_in(state, i, j, max(amount_wei, 1_000), context).next_state
        except QuoteError:
            after = state
        return self._led(pool, (SYNC_TOPIC,), _words(after.reserve0, after.reserve1), context)

    def _swap_to(self, pool: int, sqrt_price: float, context: BlockContext) -> tuple[Address, tuple[str, ...], str]:
        """As much as it takes, by the pool's own rule for a swap with a price limit."""
        state = self.states[pool]
        target = min(max(int(sqrt_price * Q96), MIN_LIMIT), MAX_LIMIT)
        first = target < state.sqrt_price_x96
        amounts, after = (0, 0), (state.sqrt_price_x96, state.liquidity, state.tick)
        if target != state.sqrt_price_x96:
            done = swap(state, first, 1 << 120, target)
            amounts = (
                (done.amount_in_wei, -done.amount_out_wei) if first else (-done.amount_out_wei, done.amount_in_wei)
            )
            after = (done.sqrt_price_x96, done.liquidity, done.tick)
        topics = (SWAP_TOPIC, _topic(_ROUTER), _topic(_TRADER))
        return self._led(pool, topics, _words(*amounts, *after), context)

    def _provide(self, pool: int, context: BlockContext) -> tuple[Address, tuple[str, ...], str]:
        """A position of a twentieth of the liquidity appears around the price, or one that came so leaves."""
        state, rng = self.states[pool], self._rng
        provided = self._provided.setdefault(pool, [])
        if provided and rng.random() < 0.5:
            lower, upper, amount = provided.pop(0)
            topics = (BURN_TOPIC, _topic(_TRADER), _topic_int(lower), _topic_int(upper))
            return self._led(pool, topics, _words(amount, 10**12, 10**12), context)
        spacing = state.tick_spacing
        half = spacing * int(rng.integers(4, 60))
        lower = (state.tick - half) // spacing * spacing
        upper, amount = lower + 2 * half, max(1, state.liquidity // 20)
        provided.append((lower, upper, amount))
        topics = (MINT_TOPIC, _topic(_TRADER), _topic_int(lower), _topic_int(upper))
        return self._led(pool, topics, _words(int(_ROUTER, 16), amount, 10**15, 10**15), context)

    def _led(
        self, pool: int, topics: tuple[str, ...], data: str, context: BlockContext
    ) -> tuple[Address, tuple[str, ...], str]:
        """The log, with the pool's state led by it as the market will lead it."""
        state = self.states[pool]
        family = FAMILIES[state.family]
        log = Log(state.address, topics, data, context.number, "", "", 0, 0)
        self.states[pool] = family.apply(state, family.decode(state, log, context.timestamp))
        return state.address, topics, data

    def _of_nobody(self) -> tuple[Address, tuple[str, ...], str]:
        address = "0x" + bytes(self._rng.bytes(20)).hex()
        return address, (SYNC_TOPIC,), _words(*(int(x) for x in self._rng.integers(1, 1 << 62, 2)))


def _words(*values: int) -> str:
    return "0x" + encode(["int256"] * len(values), list(values)).hex()


def _topic(address: Address) -> str:
    return "0x" + "00" * 12 + address[2:]


def _topic_int(value: int) -> str:
    return "0x" + (value % (1 << 256)).to_bytes(32, "big").hex()
