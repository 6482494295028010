"""What the system asks of any pool in Balancer's third Vault: finding, following, execution; the curve is its own.

The Vault does scaling, rates and fees (``balancer_v3_vault``). What yield takes leaves no event, so balances, rates
and pauses are read again every block; logs move them within it. Pools with hooks on swaps, and curves that answer
otherwise than ours, are refused when they are read.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

import msgspec

from ouro.hashing import selector, topic
from ouro.protocols import balancer_v3_reading
from ouro.protocols import balancer_v3_state as states
from ouro.protocols import balancer_v3_vault as vault
from ouro.protocols.balancer_math import ONE, checked, mul_down
from ouro.protocols.balancer_v2_family import POOL_CREATED_TOPIC
from ouro.protocols.balancer_v2_vault import check_direction
from ouro.protocols.balancer_v3_vault import Curve
from ouro.protocols.base import DecodeError, Quote, QuoteError, Source
from ouro.protocols.creation import Announcement, CreationReader, NewPool, address_of
from ouro.protocols.eventdata import data_words, in_range, topic_words, uint
from ouro.protocols.probes import Probe
from ouro.protocols.reads import Script, uint_word
from ouro.protocols.steps import Shape, VaultSwap
from ouro.protocols.storage import Place, ViewCall
from ouro.protocols.swapevents import event_words, plausible
from ouro.protocols.unknown_layout import UnknownLayout
from ouro.types import Address, BlockContext, Hop, Log

VERSION = 3

SWAP_TOPIC = topic("Swap(address,address,address,uint256,uint256,uint256,uint256)")
ADDED_TOPIC = topic("LiquidityAdded(address,address,uint8,uint256,uint256[],uint256[])")
REMOVED_TOPIC = topic("LiquidityRemoved(address,address,uint8,uint256,uint256[],uint256[])")
FEE_TOPIC = topic("SwapFeePercentageChanged(address,uint256)")
PAUSE_TOPIC = topic("PoolPausedStateChanged(address,bool)")
RESCUE_TOPIC = topic("PoolRecoveryModeStateChanged(address,bool)")
AGGREGATE_TOPIC = topic("AggregateSwapFeePercentageChanged(address,uint256)")
YIELD_TOPIC = topic("AggregateYieldFeePercentageChanged(address,uint256)")
_SETTINGS = {
    FEE_TOPIC: ("swap_fee", ONE - 1),
    AGGREGATE_TOPIC: ("aggregate_swap_fee", ONE),
    YIELD_TOPIC: ("aggregate_yield_fee", ONE),
    PAUSE_TOPIC: ("stopped", 1),
    RESCUE_TOPIC: ("rescued", 1),
}
_SWITCHES = frozenset(("stopped", "rescued"))
VAULT_TOPICS = (SWAP_TOPIC, ADDED_TOPIC, REMOVED_TOPIC, *_SETTINGS)

_INFO = selector("getPoolTokenInfo(address)")
_CONFIG = selector("getPoolConfig(address)")
_RATES = selector("getPoolTokenRates(address)")
_RESERVES = selector("getReservesOf(address)")
_FEES = selector("getAggregateSwapFeeAmount(address,address)")
_VAULT_PAUSED = selector("isVaultPaused()")


class SwapDelta(msgspec.Struct, frozen=True):
    """A swap; ``fee`` is the whole fee in units of the input."""

    i: int
    j: int
    amount_in: int
    amount_out: int
    fee: int


class LiquidityDelta(msgspec.Struct, frozen=True):
    """What came in (or left: negative) by token, and the fees in it."""

    amounts: tuple[int, ...]
    fees: tuple[int, ...]


class SettingDelta(msgspec.Struct, frozen=True):
    """A fee, a pause or the recovery mode."""

    field: str
    value: int


V3Delta: TypeAlias = SwapDelta | LiquidityDelta | SettingDelta


def _announced(event: Announcement) -> NewPool:
    return event.pool(address_of(event.topics[1], "pool"), ())


class ThirdVault(UnknownLayout):
    """What both families share."""

    shape: ClassVar[Shape] = Shape.VAULT
    creations: ClassVar[Mapping[str, CreationReader]] = {POOL_CREATED_TOPIC: _announced}
    managed: ClassVar[bool] = True
    balances_told: ClassVar[bool] = False
    drifts: ClassVar[bool] = True
    gas: ClassVar[int]
    most_tokens: ClassVar[int]

    def curve(self, state: Any, timestamp: int) -> Curve:
        """The pool's ``onSwap`` at a time."""
        raise NotImplementedError

    def home(self, pool: NewPool) -> Address:
        """The pool's own contract has the curve; the Vault is the same for all."""
        return pool.address

    def pool_named(self, log: Log) -> str | None:
        """The first topic of the Vault's logs."""
        if len(log.topics) < 2 or log.topics[0] not in VAULT_TOPICS:
            return None
        return "0x" + log.topics[1][-40:].lower()

    def refresh(self, state: Any, pool: NewPool) -> Script[Any]:
        """What the Vault says now."""
        return balancer_v3_reading.refreshed(state)

    def decode(self, state: Any, log: Log, timestamp: int) -> V3Delta | None:
        """Swaps, liquidity and settings of the Vault."""
        kind = log.topics[0] if log.topics else ""
        emitter = log.address.lower()
        if emitter == state.address:
            return None
        if emitter != state.manager:
            raise DecodeError(f"log of {log.address} was given to the pool {state.address} of {state.manager}")
        if self.pool_named(log) != state.address:
            return None
        if kind == SWAP_TOPIC:
            _, token_in, token_out = topic_words(log, 3, "Swap")
            amount_in, amount_out, _, fee = data_words(log, 4, "Swap")
            i, j = _place(state, token_in), _place(state, token_out)
            amounts = uint(amount_in, 128, "amountIn"), uint(amount_out, 128, "amountOut")
            return SwapDelta(i, j, *amounts, uint(fee, 128, "swapFeeAmount"))
        if kind in (ADDED_TOPIC, REMOVED_TOPIC):
            return _liquidity(state, log, 1 if kind == ADDED_TOPIC else -1)
        if kind in _SETTINGS:
            field, most = _SETTINGS[kind]
            (value,) = data_words(log, 1, field)
            return SettingDelta(field, in_range(value, 0, most, field))
        return None

    def apply(self, state: Any, delta: V3Delta) -> Any:
        """The pool after ``delta``, at the rates that are known: the next refresh tells what yield took."""
        try:
            if isinstance(delta, SwapDelta):
                fresh = vault.settled(state)
                return vault.moved(fresh, delta.i, delta.j, delta.amount_in, delta.amount_out, delta.fee)
            if isinstance(delta, LiquidityDelta):
                return _changed(vault.settled(state), delta)
        except QuoteError as error:
            raise DecodeError(f"{state.address}: {error.reason}") from error
        value = bool(delta.value) if delta.field in _SWITCHES else delta.value
        return msgspec.structs.replace(state, **{delta.field: value})

    def quote_in(self, state: Any, i: int, j: int, amount_in_wei: int, context: BlockContext) -> Quote:
        """A swap given in."""
        return vault.quote_in(state, i, j, amount_in_wei, self.curve(state, context.timestamp), self.gas)

    def quote_out(self, state: Any, i: int, j: int, amount_out_wei: int, context: BlockContext) -> Quote:
        """A swap given out: what the contract asks, which may be a little more than the least input."""
        return vault.quote_out(state, i, j, amount_out_wei, self.curve(state, context.timestamp), self.gas)

    def probe(self, state: Any, i: int, j: int, amount_in_wei: int, context: BlockContext) -> Probe | None:
        """The curve alone, at the pool's own ``onSwap``: the Vault answers whole swaps to its caller only."""
        check_direction(state, i, j)
        net = mul_down(checked(amount_in_wei * state.scaling[i]), state.rates[i])
        return balancer_v3_reading.probe(state, self.curve(state, context.timestamp), i, j, net) if net else None

    def view_calls(self, state: Any, words: Mapping[Place, int]) -> Sequence[ViewCall]:
        """The Vault's getters read the words of balances, reserves and fees, the curve's view the pool's own."""
        who = uint_word(int(state.address, 16))
        calls = [ViewCall(state.manager, data + who) for data in (_INFO, _CONFIG, _RATES)]
        calls.append(ViewCall(state.manager, _VAULT_PAUSED))
        for token in state.tokens:
            calls.append(ViewCall(state.manager, _RESERVES + uint_word(int(token, 16))))
            calls.append(ViewCall(state.manager, _FEES + who + uint_word(int(token, 16))))
        try:
            net = state.last_live[0] // 1_000
            asked = balancer_v3_reading.probe(state, self.curve(state, 0), 0, 1, net).call
        except QuoteError:
            return calls
        return [*calls, ViewCall(asked.target, asked.data)]

    def encode_swap(self, state: Any, i: int, j: int) -> VaultSwap:
        """By the pool's address, in the Vault's books."""
        check_direction(state, i, j)
        return VaultSwap(state.manager, state.address, VERSION, state.tokens[i], state.tokens[j])

    def swapped(self, hop: Hop, log: Log) -> tuple[int, int] | None:
        """From the Vault's Swap event of this pool and these tokens."""
        if len(log.topics) != 4 or log.topics[0] != SWAP_TOPIC:
            return None
        named = tuple("0x" + word[-40:].lower() for word in log.topics[1:])
        words = event_words(log)
        if named != (hop.pool, hop.token_in, hop.token_out) or len(words) != 4:
            return None
        return plausible(*words[:2])

    def is_empty(self, state: Any) -> bool:
        """Whether there is nothing to trade."""
        return state.stopped or not all(state.balances)


def _place(state: Any, word: int) -> int:
    token = f"0x{uint(word, 160, 'token'):040x}"
    if token not in state.tokens:
        raise DecodeError(f"{token} is none of the tokens of {state.address}")
    return state.tokens.index(token)


def _liquidity(state: Any, log: Log, sign: int) -> LiquidityDelta:
    """(total supply, amounts, swap fees) as the event's data."""
    n = len(state.tokens)
    words = data_words(log, 5 + 2 * n, "a change of liquidity")
    if words[1:4] != (96, 96 + 32 * (n + 1), n) or words[4 + n] != n:
        raise DecodeError(f"a change of liquidity of {state.address}: two lists of {n} amounts are expected")
    amounts = tuple(sign * uint(word, 128, "amount") for word in words[4 : 4 + n])
    return LiquidityDelta(amounts, tuple(uint(word, 128, "fee") for word in words[5 + n :]))


def _changed(state: Any, delta: LiquidityDelta) -> Any:
    taken = [0 if state.rescued else mul_down(fee, state.aggregate_swap_fee) for fee in delta.fees]
    balances = tuple(a + b - c for a, b, c in zip(state.balances, delta.amounts, taken, strict=True))
    if min(balances) < 0 or max(balances) > states.MAX_BALANCE:
        raise QuoteError(f"the Vault would hold {balances}")
    lives = tuple(vault.live(state, k, balance) for k, balance in enumerate(balances))
    return msgspec.structs.replace(state, balances=balances, last_live=lives)


SHARED_SOURCES = {
    **dict.fromkeys(("address", "manager", "tokens", "scaling", "least_trade", "pays_yield"), Source.FIXED),
    **dict.fromkeys(("balances", "last_live", "rates", "stopped"), Source.MUST_REFRESH),
    **dict.fromkeys(("swap_fee", "aggregate_swap_fee", "aggregate_yield_fee", "rescued"), Source.FROM_LOGS),
}
