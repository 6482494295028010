"""Twocrypto NG: Curve's two-coin pool around a moving price, with the maths of v2.0.

``quote_in`` is ``exchange`` with all that follows from it: price average, last price, profit, and the price scale
where profit lets it move. Field sources: the ramp comes with its event, fees and rebalancing parameters with one
that tells them rounded, the rest moves in ways that events don't tell: ``must_refresh``. The average is read as its
getter gives it, brought up to the block: an output never depends on it, only what comes after does, by units.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec
import numpy as np

from ouro.hashing import topic
from ouro.protocols import curve_crypto_state as crypto
from ouro.protocols.base import (
    DecodeError,
    Limits,
    Quote,
    QuoteError,
    Segments,
    Source,
)
from ouro.protocols.creation import Announcement, CreationReader, NewPool, address_of
from ouro.protocols.curve_crypto_math import UNIT
from ouro.protocols.curve_crypto_state import FEE_UNIT, MAX_BALANCE, CryptoDelta, Fees, Rebalancing, TwocryptoState
from ouro.protocols.curve_stable_pieces import rows
from ouro.protocols.curve_stable_reading import call, word_or
from ouro.protocols.eventdata import data_words, require_address
from ouro.protocols.probes import Probe
from ouro.protocols.reads import Answers, Garbage, Script, answer_words
from ouro.protocols.steps import ExchangeCall, ExchangeSwap, Shape
from ouro.protocols.storage import Place, ViewCall
from ouro.protocols.swapevents import event_words, plausible
from ouro.protocols.unknown_layout import UnknownLayout
from ouro.types import BlockContext, Hop, Log

TOKEN_EXCHANGE = topic("TokenExchange(address,uint256,uint256,uint256,uint256,uint256,uint256)")
ADDED = topic("AddLiquidity(address,uint256[2],uint256,uint256,uint256)")
REMOVED = topic("RemoveLiquidity(address,uint256[2],uint256)")
REMOVED_ONE = topic("RemoveLiquidityOne(address,uint256,uint256,uint256,uint256,uint256)")
RAMP = topic("RampAgamma(uint256,uint256,uint256,uint256,uint256,uint256)")
STOP_RAMP = topic("StopRampA(uint256,uint256,uint256)")

DEPLOYED = topic(
    "TwocryptoPoolDeployed(address,string,string,address[2],address,bytes32,"
    "uint256[2],uint256,uint256,uint256,uint256,address)"
)

_VIEW = "get_dy(uint256,uint256,uint256)"
GAS = 210_000
_NODES = 64
_SMALLEST, _STEP = 1e-3, 1e-5
_NEAR = 8
_U64, _U128 = (1 << 64) - 1, (1 << 128) - 1


def _announced(event: Announcement) -> NewPool:
    coins = address_of(event.words[3], "coins[0]"), address_of(event.words[4], "coins[1]")
    if coins[0] == coins[1]:
        raise DecodeError(f"both coins are {coins[0]}")
    return event.pool(address_of(event.words[0], "pool"), coins)


class Twocrypto(UnknownLayout):
    """The family; stateless."""

    name: ClassVar[str] = "twocrypto"
    topics: ClassVar[tuple[str, ...]] = (TOKEN_EXCHANGE, ADDED, REMOVED, REMOVED_ONE, RAMP, STOP_RAMP)
    creations: ClassVar[Mapping[str, CreationReader]] = {DEPLOYED: _announced}
    sources: ClassVar[Mapping[str, Source]] = {
        **dict.fromkeys(TwocryptoState.__struct_fields__, Source.MUST_REFRESH),
        **dict.fromkeys(("address", "tokens", "precisions"), Source.FIXED),
        **dict.fromkeys(("initial", "future", "initial_time", "future_time"), Source.FROM_LOGS),
        "as_of": Source.FROM_TIME,
    }
    shape: ClassVar[Shape] = Shape.EXCHANGE
    least_gas: ClassVar[int] = 120_000
    balances_told: ClassVar[bool] = False
    drifts: ClassVar[bool] = True
    follows_clock: ClassVar[bool] = True

    # ------------------------------------------------------------------------------------------- finding, reading

    def read(self, pool: NewPool) -> Script[TwocryptoState]:
        """Getters in one round; then the pool must price as its own view does."""
        answers = yield [
            call(pool.address, "coins(uint256)", 0),
            call(pool.address, "coins(uint256)", 1),
            call(pool.address, "precisions()"),
            *(call(pool.address, name) for name in _RAMP_GETTERS),
            *_moving(pool.address),
        ]
        coins = tuple("0x" + (_word(answers[k], "coins") & ((1 << 160) - 1)).to_bytes(20).hex() for k in (0, 1))
        if pool.tokens and coins != tuple(pool.tokens):
            raise Garbage(f"its coins are {coins}, the factory announced {pool.tokens}")
        precisions = answer_words(answers[2], 2, "precisions()")
        initial, future, start, end = (
            _word(answer, name) for answer, name in zip(answers[3:7], _RAMP_GETTERS, strict=True)
        )
        state = TwocryptoState(
            address=pool.address,
            tokens=(coins[0], coins[1]),
            precisions=(precisions[0], precisions[1]),
            initial=(initial >> 128, initial & _U128),
            future=(future >> 128, future & _U128),
            initial_time=start,
            future_time=end,
            **_moved(answers[7:]),
        )
        return (yield from _proven(state))

    def refresh(self, state: TwocryptoState, pool: NewPool) -> Script[TwocryptoState]:
        """All that moves, in one round."""
        answers = yield _moving(state.address)
        fresh = msgspec.structs.replace(state, **_moved(answers))
        return state if fresh == state else fresh

    # --------------------------------------------------------------------------------------------------- following

    def decode(self, state: TwocryptoState, log: Log, timestamp: int) -> CryptoDelta | None:
        """The delta of a log of the pool."""
        require_address(log, state.address)
        return _decoded(log, timestamp)

    def apply(self, state: TwocryptoState, delta: CryptoDelta) -> TwocryptoState:
        """The pool after ``delta``; of a deposit or withdrawal only the balances, until the pool is read again."""
        return crypto.applied(state, delta)

    def at(self, state: TwocryptoState, timestamp: int) -> TwocryptoState:
        """The pool for a block at this time (its A and gamma may be on a ramp)."""
        return state if state.as_of == timestamp else msgspec.structs.replace(state, as_of=timestamp)

    # ----------------------------------------------------------------------------------------------------- quoting

    def quote_in(self, state: TwocryptoState, i: int, j: int, amount_in_wei: int, context: BlockContext) -> Quote:
        """``exchange``, refused too where the price tweak after it would be."""
        _check(state, i, j, amount_in_wei)
        out, after = crypto.exchanged(state, i, amount_in_wei, context.timestamp)
        if not out:
            raise QuoteError("the input buys less than one unit")
        return Quote(amount_in_wei, out, GAS, after)

    def quote_out(self, state: TwocryptoState, i: int, j: int, amount_out_wei: int, context: BlockContext) -> Quote:
        """The least input for which ``exchange`` gives at least this output."""
        _check(state, i, j, amount_out_wei)
        if amount_out_wei >= state.balances_wei[j]:
            raise QuoteError("insufficient liquidity")
        return self.quote_in(state, i, j, _least_input(state, i, amount_out_wei, context.timestamp), context)

    def time_key(self, state: TwocryptoState, context: BlockContext) -> Any:
        """A and gamma on their ramp."""
        return state.parameters(context.timestamp)

    def probe(
        self, state: TwocryptoState, i: int, j: int, amount_in_wei: int, context: BlockContext
    ) -> Probe | None:
        """``get_dy``, which knows nothing of the price tweak's own refusals."""
        _check(state, i, j, amount_in_wei)
        expected = crypto.bought(state, i, amount_in_wei, context.timestamp).out
        asked = call(state.address, _VIEW, i, j, amount_in_wei, gas=400_000)
        return Probe(asked, expected, f"{_VIEW} {i} {j} {amount_in_wei}")

    def spot_rate(self, state: TwocryptoState, i: int, j: int) -> float:
        """Marginal output per unit of input, fee included; on a ramp by the parameters of ``as_of``, or its end."""
        _direction(i, j)
        found = _values(state, i, [1e-6 * state.balances_wei[i]], state.as_of or state.future_time)
        return found[0][1] / found[0][0] if found else 0.0

    def limits(self, state: TwocryptoState, i: int, j: int, context: BlockContext) -> Limits:
        """The most that the pool's own checks let in, found by halving."""
        _direction(i, j)
        low, high = 0, min(20 * state.balances_wei[i], MAX_BALANCE)
        best = Limits(0, 0)
        while high - low > max(low >> 6, 1):
            middle = (low + high + 1) // 2
            try:
                best = Limits(middle, self.quote_in(state, i, j, middle, context).amount_out_wei)
                low = middle
            except QuoteError:
                high = middle
        return best

    def segments(self, state: TwocryptoState, i: int, j: int, context: BlockContext) -> Segments:
        """Pieces with the exact curve's amounts and rates at their ends, the fee unrounded."""
        _direction(i, j)
        most = self.limits(state, i, j, context).max_in_wei
        least = _SMALLEST * float(min(most, state.balances_wei[i]))
        ends = np.geomspace(least, float(most), _NODES) if most else np.empty(0)
        return _fitted(state, i, ends.tolist(), context.timestamp)

    # ------------------------------------------------------------------------------------------ storage, executing

    def view_calls(self, state: TwocryptoState, words: Mapping[Place, int]) -> Sequence[ViewCall]:
        """The view goes through factory, views and maths contracts as the exchange does."""
        return (ViewCall(state.address, call(state.address, _VIEW, 0, 1, 10**6).data),)

    def encode_swap(self, state: TwocryptoState, i: int, j: int) -> ExchangeSwap:
        """``exchange`` with 256-bit indices."""
        _direction(i, j)
        return ExchangeSwap(state.address, ExchangeCall.UINT256, i, j, state.tokens[i], state.tokens[j])

    def swapped(self, hop: Hop, log: Log) -> tuple[int, int] | None:
        """Its exchange event in the hop's direction."""
        if log.address != hop.pool or not log.topics or log.topics[0] != TOKEN_EXCHANGE:
            return None
        words = event_words(log)
        return plausible(words[1], words[3]) if len(words) == 6 and (words[0], words[2]) == (hop.i, hop.j) else None

    def to_json(self, state: TwocryptoState) -> dict[str, Any]:
        """A tagged, JSON-safe form."""
        return crypto.to_json(state)

    def from_json(self, value: dict[str, Any]) -> TwocryptoState:
        """The inverse of ``to_json``. Raises ``ValueError`` naming the field."""
        return crypto.from_json(value)


_RAMP_GETTERS = ("initial_A_gamma()", "future_A_gamma()", "initial_A_gamma_time()", "future_A_gamma_time()")
_GETTERS = (
    "D()",
    "price_scale()",
    "price_oracle()",
    "last_prices()",
    "last_timestamp()",
    "xcp_profit()",
    "virtual_price()",
    "totalSupply()",
    "packed_fee_params()",
    "packed_rebalancing_params()",
)


def _moving(pool: str) -> list[Any]:
    return [*(call(pool, "balances(uint256)", k) for k in (0, 1)), *(call(pool, name) for name in _GETTERS)]


def _word(answer: bytes | None, name: str) -> int:
    return answer_words(answer, 1, name)[0]


def _moved(answers: Answers) -> dict[str, Any]:
    """The fields that ``_moving`` asked for."""
    balances = tuple(_word(answer, "balances") for answer in answers[:2])
    found = {name: _word(answer, name) for name, answer in zip(_GETTERS, answers[2:], strict=True)}
    fees, rebalancing = (
        tuple(found[name] >> shift & _U64 for shift in (128, 64, 0))
        for name in ("packed_fee_params()", "packed_rebalancing_params()")
    )
    if not found["price_scale()"] or not rebalancing[2]:
        raise Garbage("the pool has no price scale or no averaging time")
    return {
        "balances_wei": balances,
        "d": found["D()"],
        "price_scale": found["price_scale()"],
        "price_oracle": found["price_oracle()"],
        "last_price": found["last_prices()"],
        "updated": found["last_timestamp()"] & _U128,
        "xcp_profit": found["xcp_profit()"],
        "virtual_price": found["virtual_price()"],
        "supply": found["totalSupply()"],
        "fees": Fees(*fees),
        "rebalancing": Rebalancing(*rebalancing),
    }


def _proven(state: TwocryptoState) -> Script[TwocryptoState]:
    """The state where the pool's view agrees with it: other generations of the maths do not."""
    if not all(state.balances_wei) or state.initial != state.future:
        return state
    amounts = [one for share in (10**5, 10**3, 11) if (one := state.balances_wei[0] // share)]
    answers = yield [call(state.address, _VIEW, 0, 1, one, gas=400_000) for one in amounts]
    for amount, answer in zip(amounts, answers, strict=True):
        told = word_or(answer, None)
        try:
            ours: int | None = crypto.bought(state, 0, amount, state.future_time).out
        except QuoteError:
            ours = None
        if told != ours:
            raise Garbage(f"its get_dy is {told} for {amount}, the maths of v2.0 gives {ours}")
    return state


def _decoded(log: Log, timestamp: int) -> CryptoDelta | None:
    first = log.topics[0] if log.topics else ""
    if first == TOKEN_EXCHANGE:
        i, sold, j, got, _, scale = data_words(log, 6, "TokenExchange")
        if {i, j} != {0, 1}:
            raise DecodeError(f"an exchange of coin {i} for {j} in a pool of two")
        return crypto.ExchangeDelta(i, sold, got, scale, timestamp)
    if first == ADDED:
        x, y, *_ = data_words(log, 5, "AddLiquidity")
        return crypto.OtherDelta((x, y))
    if first == REMOVED:
        x, y, _ = data_words(log, 3, "RemoveLiquidity")
        return crypto.OtherDelta((-x, -y))
    if first == REMOVED_ONE:
        _, coin, amount, _, _ = data_words(log, 5, "RemoveLiquidityOne")
        if coin not in (0, 1):
            raise DecodeError(f"a withdrawal of coin {coin} from a pool of two")
        return crypto.OtherDelta((-amount, 0) if coin == 0 else (0, -amount))
    if first == RAMP:
        a, later_a, gamma, later_gamma, start, end = data_words(log, 6, "RampAgamma")
        return crypto.RampDelta((a, gamma), (later_a, later_gamma), start, end)
    if first == STOP_RAMP:
        a, gamma, at = data_words(log, 3, "StopRampA")
        return crypto.RampDelta((a, gamma), (a, gamma), at, at)
    return None


def _direction(i: int, j: int) -> None:
    if (i, j) not in ((0, 1), (1, 0)):
        raise QuoteError(f"a pool has coins 0 and 1, not {i} and {j}")


def _check(state: TwocryptoState, i: int, j: int, amount: int) -> None:
    _direction(i, j)
    if amount <= 0:
        raise QuoteError(f"the amount must be positive, got {amount}")
    if not all(state.balances_wei) or not state.supply:
        raise QuoteError("the pool is empty")
    if amount > MAX_BALANCE:
        raise QuoteError("the balance would leave 128 bits")


def _least_input(state: TwocryptoState, i: int, amount_out: int, now: int) -> int:
    """By doubling and bisection on what ``exchange`` pays; a few inputs below, where it may jump by a unit."""

    def enough(amount: int) -> bool:
        try:
            return crypto.bought(state, i, amount, now).out >= amount_out
        except QuoteError:
            return False

    low, high = 0, max(state.balances_wei[i] * amount_out // state.balances_wei[1 - i] // 2, 1)
    while not enough(high):
        if high > 40 * state.balances_wei[i]:
            raise QuoteError("insufficient liquidity")
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return next((amount for amount in range(max(high - _NEAR, 1), high) if enough(amount)), high)


def _values(state: TwocryptoState, i: int, inputs: Sequence[float], now: int) -> list[tuple[float, float]]:
    """(input, output) along the curve, as far as the pool goes; the fee in floats, as its integer has steps."""
    found: list[tuple[float, float]] = []
    mid, out_fee, gamma = (float(value) for value in state.fees)
    for amount in inputs:
        whole = int(amount)
        try:
            gross, (x, y), _, _ = crypto.gross_out(state, i, whole, now)
        except (QuoteError, ZeroDivisionError):
            break
        weight = gamma / (gamma + UNIT - UNIT * 4.0 * x * y / float(x + y) ** 2)
        found.append((float(whole), gross * (1.0 - (mid * weight + out_fee * (1.0 - weight)) / FEE_UNIT)))
    return found


def _fitted(state: TwocryptoState, i: int, ends: list[float], now: int) -> Segments:
    """Pieces through the curve's amounts at ``ends``, and rates there by small differences."""
    step = _STEP * state.balances_wei[i]
    asked = [max(x + by, 1.0) for x in (2 * step, *ends) for by in (-step, 0.0, step)]
    found = _values(state, i, asked, now)
    whole = len(found) // 3
    if whole < 2:
        return np.empty((0, 4))
    x, y = np.array(found[: 3 * whole]).T
    rates = (y[2::3] - y[0::3]) / np.maximum(x[2::3] - x[0::3], 1.0)
    # the first triple stands for the rate at nothing, extrapolated
    slope = (rates[1] - rates[0]) / max(x[4] - x[1], 1.0)
    rates[0] = max(rates[0] - slope * x[1], rates[0])
    nodes, gains = np.concatenate(([0.0], x[4::3])), np.concatenate(([0.0], y[4::3]))
    fitted = rows(nodes, gains, rates, 1.0, 1.0)
    if len(fitted):
        fitted[-1, 3] = nodes[len(fitted) // 2] - nodes[len(fitted) // 2 - 1]
        fitted[-1, 3] /= 2.0
    return fitted
