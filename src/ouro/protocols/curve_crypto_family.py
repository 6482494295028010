"""What Curve's cryptoswap pools of two and of three coins share: events, quotes, headers, pieces.

``quote_in`` is ``exchange`` with all that follows from it: price average, last price, profit, and the price scale
where profit lets it move. Field sources: the ramp comes with its event, fees and rebalancing parameters with one
that tells them rounded, the rest moves in ways that events don't tell: ``must_refresh``. The average is read as its
getter gives it, brought up to the block: an output never depends on it, only what comes after does, by units.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import msgspec
import numpy as np

from ouro.hashing import topic
from ouro.protocols import headers
from ouro.protocols.base import DecodeError, ExactHeader, Limits, Quote, QuoteError, Segments
from ouro.protocols.creation import NewPool
from ouro.protocols.curve_crypto_math import A_UNIT, UNIT
from ouro.protocols.curve_crypto_state import (
    FEE_UNIT,
    MAX_BALANCE,
    Bought,
    CryptoDelta,
    ExchangeDelta,
    Fees,
    OtherDelta,
    RampDelta,
    Rebalancing,
)
from ouro.protocols.curve_pieces import NOTHING, Curve, balance_fee, crypto, stable
from ouro.protocols.curve_stable_reading import call, word_or
from ouro.protocols.eventdata import data_words, require_address
from ouro.protocols.kernels.crypto import STABLE, most_taken
from ouro.protocols.probes import Probe
from ouro.protocols.quotes import from_limbs, to_limb_rows
from ouro.protocols.reads import Ask, Garbage, Script, answer_words
from ouro.protocols.steps import ExchangeCall, ExchangeSwap, Shape
from ouro.protocols.storage import Place, ViewCall
from ouro.protocols.swapevents import event_words, plausible
from ouro.protocols.unknown_layout import UnknownLayout
from ouro.types import BlockContext, Hop, Log

TOKEN_EXCHANGE = topic("TokenExchange(address,uint256,uint256,uint256,uint256,uint256,uint256)")
REMOVED_ONE = topic("RemoveLiquidityOne(address,uint256,uint256,uint256,uint256,uint256)")
RAMP = topic("RampAgamma(uint256,uint256,uint256,uint256,uint256,uint256)")
STOP_RAMP = topic("StopRampA(uint256,uint256,uint256)")
VIEW = "get_dy(uint256,uint256,uint256)"
RAMP_GETTERS = ("initial_A_gamma()", "future_A_gamma()", "initial_A_gamma_time()", "future_A_gamma_time()")
_PACKED = ("packed_fee_params()", "packed_rebalancing_params()")
_VIEW_GAS = 500_000
_NEAR = 8
_U64, _U128 = (1 << 64) - 1, (1 << 128) - 1
_PRECISIONS = {10**k for k in range(19)}
S = TypeVar("S", bound=Any)
Answers = Mapping[str, bytes | None]


def word(answers: Answers, name: str) -> int:
    """The one word that a getter answered. Raises ``Garbage``."""
    return answer_words(answers[name], 1, name)[0]


def asked(pool: str, names: Sequence[str], coins: int, indexed: Mapping[str, int]) -> dict[str, Ask]:
    """Reads by name: getters, balances, and ``indexed`` getters once for each index."""
    reads: dict[str, Ask] = {f"balances({k})": call(pool, "balances(uint256)", k) for k in range(coins)}
    reads |= {f"{name}({k})": call(pool, f"{name}(uint256)", k) for name, n in indexed.items() for k in range(n)}
    return reads | {name: call(pool, name) for name in (*names, *_PACKED)}


def answered(reads: Mapping[str, Ask]) -> Script[dict[str, bytes | None]]:
    """One round."""
    answers = yield list(reads.values())
    return dict(zip(reads, answers, strict=True))


def unpacked_fees(answers: Answers) -> tuple[Fees, Rebalancing]:
    """Both packed groups of parameters. Raises ``Garbage``."""
    fees, rebalancing = (tuple(word(answers, name) >> shift & _U64 for shift in (128, 64, 0)) for name in _PACKED)
    if not rebalancing[2]:
        raise Garbage("the pool has no averaging time")
    return Fees(*fees), Rebalancing(*rebalancing)


class CryptoFamily(UnknownLayout):
    """Base of both families; stateless."""

    n: ClassVar[int]
    kind: ClassVar[type[Any]]
    added: ClassVar[str]
    removed: ClassVar[str]
    gas: ClassVar[int]
    shape: ClassVar[Shape] = Shape.EXCHANGE
    least_gas: ClassVar[int] = 120_000
    balances_told: ClassVar[bool] = False
    drifts: ClassVar[bool] = True
    follows_clock: ClassVar[bool] = True

    # ------------------------------------------------------------------------------------------------- what differs

    @abstractmethod
    def bought(self, state: Any, i: int, j: int, amount: int, now: int) -> Bought[Any]:
        """What ``exchange`` pays. Raises ``QuoteError``."""

    @abstractmethod
    def exchanged(self, state: Any, i: int, j: int, amount: int, now: int) -> tuple[int, Any]:
        """(output, the pool after ``exchange``). Raises ``QuoteError``."""

    @abstractmethod
    def invariant(self, state: Any, now: int) -> int:
        """D as an exchange at that time takes it. Raises ``QuoteError``."""

    @abstractmethod
    def applied(self, state: Any, delta: CryptoDelta) -> Any:
        """The pool after a log. Raises ``DecodeError``."""

    @abstractmethod
    def moving(self, pool: str) -> dict[str, Ask]:
        """Reads of all that moves."""

    @abstractmethod
    def moved(self, answers: Answers) -> dict[str, Any]:
        """The fields that ``moving`` asked for. Raises ``Garbage``."""

    @abstractmethod
    def fixed(self, pool: str) -> Script[dict[str, Any]]:
        """What of the pool's making its state has to know besides its coins."""

    @abstractmethod
    def prices(self, state: Any) -> tuple[int, ...]:
        """The price scale of every coin, that of coin 0 included."""

    def flags(self, state: Any) -> int:
        """Which maths and fee the kernel takes."""
        return 0

    # ----------------------------------------------------------------------------------------------------- reading

    def read(self, pool: NewPool) -> Script[Any]:
        """Getters in one round; then the pool must price as its own view does."""
        places = range(self.n)
        reads = self.moving(pool.address)
        reads |= {f"coins({k})": call(pool.address, "coins(uint256)", k) for k in places}
        reads |= {name: call(pool.address, name) for name in ("precisions()", *RAMP_GETTERS)}
        answers = yield from answered(reads)
        coins = tuple("0x" + (word(answers, f"coins({k})") & ((1 << 160) - 1)).to_bytes(20).hex() for k in places)
        if pool.tokens and coins != tuple(pool.tokens):
            raise Garbage(f"its coins are {coins}, the factory announced {pool.tokens}")
        if len(set(coins)) != self.n:
            raise Garbage(f"a coin is there twice among {coins}")
        precisions = answer_words(answers["precisions()"], self.n, "precisions()")
        if any(one not in _PRECISIONS for one in precisions):
            raise Garbage(f"precisions() answers {precisions}: powers of ten up to 10^18 are expected")
        initial, future, start, end = (word(answers, name) for name in RAMP_GETTERS)
        state = self.kind(
            address=pool.address,
            tokens=coins,
            precisions=tuple(precisions),
            initial=(initial >> 128, initial & _U128),
            future=(future >> 128, future & _U128),
            initial_time=start,
            future_time=end,
            **(yield from self.fixed(pool.address)),
            **self.moved(answers),
        )
        try:
            self.from_json(self.to_json(state))
        except ValueError as error:
            raise Garbage(f"its getters make no pool: {error}") from error
        return (yield from self._proven(state))

    def refresh(self, state: S, pool: NewPool) -> Script[S]:
        """All that moves, in one round."""
        answers = yield from answered(self.moving(state.address))
        fresh = msgspec.structs.replace(state, **self.moved(answers))
        return state if fresh == state else fresh

    def _proven(self, state: Any) -> Script[Any]:
        """The state where the pool's view agrees with it: other generations of the maths do not."""
        if not all(state.balances_wei) or state.initial != state.future:
            return state
        places = [(k, (k + 1) % self.n) for k in range(self.n if self.n > 2 else 1)]
        shares = (10**5, 10**3, 11)
        amounts = [(i, j, one) for i, j in places for by in shares if (one := state.balances_wei[i] // by)]
        answers = yield [call(state.address, VIEW, i, j, one, gas=_VIEW_GAS) for i, j, one in amounts]
        for (i, j, amount), answer in zip(amounts, answers, strict=True):
            told = word_or(answer, None)
            try:
                ours: int | None = self.bought(state, i, j, amount, state.future_time).out
            except QuoteError:
                ours = None
            if told != ours:
                maths = getattr(state, "maths", "v2.0.0")
                raise Garbage(f"its get_dy is {told} for {amount} of coin {i}, the maths {maths} gives {ours}")
        return state

    # --------------------------------------------------------------------------------------------------- following

    def decode(self, state: Any, log: Log, timestamp: int) -> CryptoDelta | None:
        """The delta of a log of the pool."""
        require_address(log, state.address)
        first = log.topics[0] if log.topics else ""
        n = self.n
        if first == TOKEN_EXCHANGE:
            i, sold, j, got, _, scale = data_words(log, 6, "TokenExchange")
            if i == j or max(i, j) >= n:
                raise DecodeError(f"an exchange of coin {i} for {j} in a pool of {n}")
            return ExchangeDelta(i, sold, got, scale, timestamp, j)
        if first == self.added:
            return OtherDelta(data_words(log, n + 3, "AddLiquidity")[:n])
        if first == self.removed:
            return OtherDelta(tuple(-one for one in data_words(log, n + 1, "RemoveLiquidity")[:n]))
        if first == REMOVED_ONE:
            _, coin, amount, _, _ = data_words(log, 5, "RemoveLiquidityOne")
            if coin >= n:
                raise DecodeError(f"a withdrawal of coin {coin} from a pool of {n}")
            return OtherDelta(tuple(-amount if k == coin else 0 for k in range(n)))
        if first == RAMP:
            a, later_a, gamma, later_gamma, start, end = data_words(log, 6, "RampAgamma")
            return RampDelta((a, gamma), (later_a, later_gamma), start, end)
        if first == STOP_RAMP:
            a, gamma, at = data_words(log, 3, "StopRampA")
            return RampDelta((a, gamma), (a, gamma), at, at)
        return None

    def apply(self, state: Any, delta: CryptoDelta) -> Any:
        """The pool after ``delta``; of a deposit or withdrawal only the balances, until the pool is read again."""
        return self.applied(state, delta)

    def at(self, state: S, timestamp: int) -> S:
        """The pool for a block at this time (its A and gamma may be on a ramp)."""
        return state if state.as_of == timestamp else msgspec.structs.replace(state, as_of=timestamp)

    # ----------------------------------------------------------------------------------------------------- quoting

    def quote_in(self, state: Any, i: int, j: int, amount_in_wei: int, context: BlockContext) -> Quote:
        """``exchange``, refused too where the price tweak after it would be."""
        self._check(state, i, j, amount_in_wei)
        out, after = self.exchanged(state, i, j, amount_in_wei, context.timestamp)
        if not out:
            raise QuoteError("the input buys less than one unit")
        return Quote(amount_in_wei, out, self.gas, after)

    def quote_out(self, state: Any, i: int, j: int, amount_out_wei: int, context: BlockContext) -> Quote:
        """The least input for which ``exchange`` gives at least this output."""
        self._check(state, i, j, amount_out_wei)
        if amount_out_wei >= state.balances_wei[j]:
            raise QuoteError("insufficient liquidity")
        return self.quote_in(
            state, i, j, self._least_input(state, i, j, amount_out_wei, context.timestamp), context
        )

    def time_key(self, state: Any, context: BlockContext) -> Any:
        """A and gamma on their ramp."""
        return state.parameters(context.timestamp)

    def probe(self, state: Any, i: int, j: int, amount_in_wei: int, context: BlockContext) -> Probe | None:
        """``get_dy``, which knows nothing of the price tweak's own refusals."""
        self._check(state, i, j, amount_in_wei)
        expected = self.bought(state, i, j, amount_in_wei, context.timestamp).out
        question = call(state.address, VIEW, i, j, amount_in_wei, gas=_VIEW_GAS)
        return Probe(question, expected, f"{VIEW} {i} {j} {amount_in_wei}")

    def spot_rate(self, state: Any, i: int, j: int) -> float:
        """Marginal output per unit of input, fee included; on a ramp by the parameters of ``as_of``, or its end."""
        self._direction(i, j)
        curve = self._curve(state, i, j, state.as_of or state.future_time)
        if curve is None:
            return 0.0
        unit_in, unit_out = self._units(state, i, j)
        return curve.rate() * unit_out / unit_in

    def limits(self, state: Any, i: int, j: int, context: BlockContext) -> Limits:
        """The most that the pool's own checks let in, found by halving."""
        self._direction(i, j)
        most = self._most(state, i, j, context.timestamp)
        while most:
            try:
                return Limits(most, self.quote_in(state, i, j, most, context).amount_out_wei)
            except QuoteError:
                # the price tweak refuses what the exchange would do
                most -= (most >> 4) + 1
                most = max(most, 0)
        return Limits(0, 0)

    def segments(self, state: Any, i: int, j: int, context: BlockContext) -> Segments:
        """Pieces that share value and slope with the curve at their knots."""
        self._direction(i, j)
        curve, most = self._curve(state, i, j, context.timestamp), self._most(state, i, j, context.timestamp)
        if curve is None or not most:
            return NOTHING
        units = self._units(state, i, j)
        return curve.pieces(most / units[0], units)

    def exact_header(self, state: Any, i: int, j: int) -> ExactHeader | None:
        """For a pool without a ramp, or a state that ``at`` made. What the price tweak refuses it does not know."""
        self._direction(i, j)
        if not state.as_of and state.initial != state.future:
            return None
        return self._header(state, i, j, state.as_of or state.future_time)

    # ------------------------------------------------------------------------------------------ storage, executing

    def view_calls(self, state: Any, words: Mapping[Place, int]) -> Sequence[ViewCall]:
        """The view goes through factory, views and maths contracts as the exchange does."""
        return (ViewCall(state.address, call(state.address, VIEW, 0, 1, 10**6).data),)

    def encode_swap(self, state: Any, i: int, j: int) -> ExchangeSwap:
        """``exchange`` with 256-bit indices."""
        self._direction(i, j)
        return ExchangeSwap(state.address, ExchangeCall.UINT256, i, j, state.tokens[i], state.tokens[j])

    def swapped(self, hop: Hop, log: Log) -> tuple[int, int] | None:
        """Its exchange event in the hop's direction."""
        if log.address != hop.pool or not log.topics or log.topics[0] != TOKEN_EXCHANGE:
            return None
        words = event_words(log)
        return plausible(words[1], words[3]) if len(words) == 6 and (words[0], words[2]) == (hop.i, hop.j) else None

    # ---------------------------------------------------------------------------------------------------- its parts

    def _direction(self, i: int, j: int) -> None:
        if i == j or not (0 <= i < self.n and 0 <= j < self.n):
            raise QuoteError(f"a pool has coins 0 to {self.n - 1}, not {i} and {j}")

    def _check(self, state: Any, i: int, j: int, amount: int) -> None:
        self._direction(i, j)
        if amount <= 0:
            raise QuoteError(f"the amount must be positive, got {amount}")
        if not all(state.balances_wei) or not state.supply:
            raise QuoteError("the pool is empty")
        if amount > MAX_BALANCE:
            raise QuoteError("the balance would leave 128 bits")

    def _header(self, state: Any, i: int, j: int, now: int) -> ExactHeader | None:
        held, prices, precisions = state.balances_wei, self.prices(state), state.precisions
        if not all(held) or not state.supply:
            return None
        try:
            d, parameters, xp = self.invariant(state, now), state.parameters(now), state.scaled(held)
        except (QuoteError, ZeroDivisionError):
            return None
        third = xp[3 - i - j] if self.n > 2 else 0
        worth = prices[i] * precisions[i]
        if max(*xp, worth, d) >> 126 or max(*parameters, *state.fees) >> 63:
            return None
        mid, out, gamma = state.fees
        return ExactHeader(
            headers.crypto_header(
                (self.n, i, j),
                (mid, out, gamma),
                (held[i], held[j]),
                worth,
                (xp[j], third),
                d,
                (prices[j], precisions[j]),
                parameters,
                self.flags(state),
            )
        )

    def _most(self, state: Any, i: int, j: int, now: int) -> int:
        """The largest input, to a 64th, that the exchange itself takes."""
        high = min(20 * state.balances_wei[i], MAX_BALANCE - state.balances_wei[i])
        header = self._header(state, i, j, now)
        if high <= 0:
            return 0
        if header is not None:
            found = np.zeros(4, dtype=np.uint64)
            limbs = np.frombuffer(header.limbs, dtype=np.uint64)
            most_taken(limbs, to_limb_rows([high])[0], found)
            return from_limbs(found)[0]
        low = 0
        while high - low > max(low >> 6, 1):
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self._enough(state, i, j, middle, 1, now) else (low, middle)
        return low

    def _curve(self, state: Any, i: int, j: int, now: int) -> Curve | None:
        """The direction in floats; None where the pool can't trade."""
        held = state.balances_wei
        if not all(held) or not state.supply:
            return None
        try:
            d, (ann, gamma), xp = float(self.invariant(state, now)), state.parameters(now), state.scaled(held)
        except (QuoteError, ZeroDivisionError):
            return None
        third = float(xp[3 - i - j]) if self.n > 2 else 0.0
        flags, (mid, far, fee_gamma) = self.flags(state), state.fees
        fee = balance_fee(mid / FEE_UNIT, far / FEE_UNIT, fee_gamma / UNIT, bool(flags >> 8), third)
        x, y = float(xp[i]), float(xp[j])
        if flags & 0xFF == STABLE:
            return stable(x, y, (), ann * self.n / A_UNIT, d, fee)
        return crypto(x, y, third, ann / A_UNIT, gamma / UNIT, d, fee)

    def _units(self, state: Any, i: int, j: int) -> tuple[float, float]:
        """Token units per unit of 18 decimals of coin 0."""
        prices = self.prices(state)
        return UNIT / (prices[i] * state.precisions[i]), UNIT / (prices[j] * state.precisions[j])

    def _enough(self, state: Any, i: int, j: int, amount: int, wanted: int, now: int) -> bool:
        try:
            return self.bought(state, i, j, amount, now).out >= wanted
        except (QuoteError, ZeroDivisionError):
            return False

    def _least_input(self, state: Any, i: int, j: int, amount_out: int, now: int) -> int:
        """By doubling and bisection on what ``exchange`` pays; a few inputs below, where it may jump by a unit."""
        low, high = 0, max(state.balances_wei[i] * amount_out // state.balances_wei[j] // 2, 1)
        while not self._enough(state, i, j, high, amount_out, now):
            if high > 40 * state.balances_wei[i]:
                raise QuoteError("insufficient liquidity")
            low, high = high, high * 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._enough(state, i, j, middle, amount_out, now) else (middle, high)
        below = range(max(high - _NEAR, 1), high)
        return next((amount for amount in below if self._enough(state, i, j, amount, amount_out, now)), high)
