"""Wrapped rebasing tokens of the stETH/wstETH kind: wrapping and unwrapping by the rate of shares.

Token 0 is the rebasing one, whose balances are shares of ``pooled``; token 1 the wrapper, one unit of which is one
share. Wrapping gives ``floor(amount·shares/pooled)``. Unwrapping pays ``floor(amount·pooled/shares)`` by a
transfer, which moves whole shares: what arrives is the worth of the shares that moved, maybe a unit or two less.
``quote_out`` gives the least input that ``quote_in`` turns into that output.

Field sources: the rate changes with the oracle's reports, in the rebasing token's own logs: ``must_refresh``. Each
wrapper is configured by its address. Not compared with a deployed contract yet: unproven.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec
import numpy as np

from ouro.hashing import selector, topic
from ouro.protocols import jsonform
from ouro.protocols.base import (
    ExactHeader,
    Limits,
    Quote,
    QuoteError,
    Segments,
    Source,
)
from ouro.protocols.creation import CreationReader, Factory, NewPool
from ouro.protocols.headers import ratio_header
from ouro.protocols.listings import Listing, itself
from ouro.protocols.reads import Read, Script, account, answer_words, uint_word
from ouro.protocols.steps import Shape, WrapSwap
from ouro.protocols.storage import Place, ViewCall
from ouro.protocols.swapevents import event_words, plausible
from ouro.protocols.unknown_layout import UnknownLayout
from ouro.types import Address, BlockContext, Hop, Log

MAX_TOTAL = (1 << 128) - 1
WRAP_GAS, UNWRAP_GAS = 90_000, 95_000
_STRAIGHT = 1e12
_GAS = 200_000

_TRANSFER = topic("Transfer(address,address,uint256)")
_STETH = selector("stETH()")
_TOTAL_SUPPLY = selector("totalSupply()")
_TOTAL_SHARES = selector("getTotalShares()")
_POOLED = selector("getTotalPooledEther()")
_PER_SHARE = selector("getPooledEthByShares(uint256)")
_SHARES_OF = selector("sharesOf(address)")


class WrappedStakedState(msgspec.Struct, frozen=True):
    """A wrapper. ``pooled`` and ``shares`` are the rebasing token's totals, ``held`` the shares in the wrapper."""

    family: ClassVar[str] = "wrapped_staked"

    address: Address
    tokens: tuple[Address, Address]
    pooled: int
    shares: int
    wrapped: int
    held: int

    @property
    def fee_ppm(self) -> int:
        """None."""
        return 0


class WrappedStaked(UnknownLayout):
    """The family; stateless."""

    name: ClassVar[str] = "wrapped_staked"
    topics: ClassVar[tuple[str, ...]] = ()
    shape: ClassVar[Shape] = Shape.WRAP
    creations: ClassVar[Mapping[str, CreationReader]] = {}
    told_by_events: ClassVar[bool] = False
    own_token: ClassVar[bool] = True
    balances_told: ClassVar[bool] = False
    drifts: ClassVar[bool] = True
    least_gas: ClassVar[int] = WRAP_GAS
    sources: ClassVar[Mapping[str, Source]] = {
        **dict.fromkeys(("address", "tokens"), Source.FIXED),
        **dict.fromkeys(("pooled", "shares", "wrapped", "held"), Source.MUST_REFRESH),
    }

    def listing(self, dex: Factory, tokens: Sequence[Address]) -> Listing:
        """The configured address is the wrapper itself: a list of one."""
        return itself(dex)

    def read(self, pool: NewPool) -> Script[WrappedStakedState]:
        """The rebasing token from the wrapper, then its totals."""
        [answer] = yield [Read(pool.address, _STETH, _GAS)]
        tokens = account(answer, "stETH()"), pool.address
        return WrappedStakedState(pool.address, tokens, *(yield from _totals(tokens)))

    def refresh(self, state: WrappedStakedState, pool: NewPool) -> Script[WrappedStakedState]:
        """The totals."""
        return WrappedStakedState(state.address, state.tokens, *(yield from _totals(state.tokens)))

    def decode(self, state: WrappedStakedState, log: Log, timestamp: int) -> None:
        """Nothing: the rate is read again at every block."""

    def apply(self, state: WrappedStakedState, delta: None) -> WrappedStakedState:
        """The state itself."""
        return state

    def quote_in(
        self, state: WrappedStakedState, i: int, j: int, amount_in_wei: int, context: BlockContext
    ) -> Quote:
        """Wrap or unwrap."""
        _check(state, i, j, amount_in_wei)
        return _wrap(state, amount_in_wei) if i == 0 else _unwrap(state, amount_in_wei)

    def quote_out(
        self, state: WrappedStakedState, i: int, j: int, amount_out_wei: int, context: BlockContext
    ) -> Quote:
        """The least input that gives at least this; where units are skipped, it gives a little more."""
        _check(state, i, j, amount_out_wei)
        pooled, shares = (state.pooled, state.shares) if i == 0 else (state.shares, state.pooled)
        amount = -(-amount_out_wei * pooled // shares)
        for _ in range(_MOST_STEPS):
            quote = self.quote_in(state, i, j, amount, context)
            if quote.amount_out_wei >= amount_out_wei:
                return quote
            amount += 1
        raise QuoteError("no input near the rate gives this output")

    def spot_rate(self, state: WrappedStakedState, i: int, j: int) -> float:
        """The rate of shares."""
        _direction(i, j)
        if not state.pooled or not state.shares:
            return 0.0
        return state.shares / state.pooled if i == 0 else state.pooled / state.shares

    def limits(self, state: WrappedStakedState, i: int, j: int, context: BlockContext) -> Limits:
        """All of the rebasing token; all that is wrapped."""
        _direction(i, j)
        most = state.pooled if i == 0 else min(state.wrapped, state.held)
        try:
            return Limits(most, self.quote_in(state, i, j, most, context).amount_out_wei)
        except QuoteError:
            return Limits(0, 0)

    def segments(self, state: WrappedStakedState, i: int, j: int, context: BlockContext) -> Segments:
        """One straight piece."""
        rate, most = self.spot_rate(state, i, j), float(self.limits(state, i, j, context).max_in_wei)
        if not rate or not most:
            return np.empty((0, 4))
        return np.array([[_STRAIGHT * most, rate * _STRAIGHT * most, 1.0, most]])

    def exact_header(self, state: WrappedStakedState, i: int, j: int) -> ExactHeader | None:
        """For wrapping; unwrapping rounds three times and is quoted in Python."""
        _direction(i, j)
        if i or not state.pooled or not state.shares:
            return None
        return ExactHeader(ratio_header(state.shares, state.pooled, state.pooled, 1))

    def view_calls(self, state: WrappedStakedState, words: Mapping[Place, int]) -> Sequence[ViewCall]:
        """What tells the rate."""
        base = state.tokens[0]
        return [
            ViewCall(state.address, _TOTAL_SUPPLY),
            ViewCall(base, _PER_SHARE + uint_word(10**18)),
            ViewCall(base, _SHARES_OF + uint_word(int(state.address, 16))),
        ]

    def encode_swap(self, state: WrappedStakedState, i: int, j: int) -> WrapSwap:
        """``wrap(uint256)`` takes the rebasing token by allowance, ``unwrap(uint256)`` burns the caller's."""
        _direction(i, j)
        call = "wrap(uint256)" if i == 0 else "unwrap(uint256)"
        return WrapSwap(state.address, call, state.tokens[i], state.tokens[j], approved=i == 0)

    def swapped(self, hop: Hop, log: Log) -> tuple[int, int] | None:
        """Unknown: no single event has both amounts."""
        return None

    def realised(self, hop: Hop, logs: Sequence[Log]) -> tuple[int | None, int | None] | None:
        """From the transfers of both tokens that the wrapper takes part in.

        What unwrapping pays is told by the hop after it alone: the rebasing token's event has the amount that was
        asked for, and the shares that move may be worth a unit or two less.
        """
        base, wrapper = (hop.token_in, hop.token_out) if hop.i == 0 else (hop.token_out, hop.token_in)
        if wrapper != hop.pool:
            return None
        if hop.i == 0:
            paid, minted = _transferred(logs, base, to=wrapper), _transferred(logs, wrapper, source=_NOBODY)
            return plausible(paid[0], minted[0]) if len(paid) == len(minted) == 1 else None
        burnt, given = _transferred(logs, wrapper, to=_NOBODY), _transferred(logs, base, source=wrapper)
        return (burnt[0], None) if len(burnt) == len(given) == 1 and plausible(burnt[0], given[0]) else None

    def to_json(self, state: WrappedStakedState) -> dict[str, Any]:
        """A tagged, JSON-safe form."""
        numbers = ("pooled", "shares", "wrapped", "held")
        return {
            "family": self.name,
            "address": state.address,
            "tokens": list(state.tokens),
            **{name: str(getattr(state, name)) for name in numbers},
        }

    def from_json(self, value: dict[str, Any]) -> WrappedStakedState:
        """The inverse of ``to_json``. Raises ``ValueError`` naming the field."""
        found = jsonform.fields(value, self.name, WrappedStakedState.__struct_fields__)
        tokens = found["tokens"]
        if not isinstance(tokens, list | tuple) or len(tokens) != 2:
            raise ValueError(f"tokens: the rebasing token and its wrapper are expected, got {tokens!r:.80}")
        base, wrapper = (jsonform.address(token, f"tokens[{k}]") for k, token in enumerate(tokens))
        address = jsonform.address(found["address"], "address")
        if wrapper != address or base == address:
            raise ValueError(f"tokens: the second is the wrapper {address} itself, the first another token")

        def number(field: str) -> int:
            return jsonform.integer(found[field], field, 0, MAX_TOTAL)

        return WrappedStakedState(
            address, (base, wrapper), number("pooled"), number("shares"), number("wrapped"), number("held")
        )


_MOST_STEPS = 8
_NOBODY = "0x" + "00" * 20


def _transferred(logs: Sequence[Log], token: Address, *, source: str = "", to: str = "") -> list[int]:
    """Amounts of the token's transfers from ``source`` or to ``to``."""
    found = []
    for log in logs:
        if log.address != token or len(log.topics) != 3 or log.topics[0] != _TRANSFER:
            continue
        ends = tuple("0x" + word[-40:].lower() for word in log.topics[1:])
        amounts = event_words(log)
        if len(amounts) == 1 and (ends[0] == source or ends[1] == to):
            found.append(amounts[0])
    return found


def _direction(i: int, j: int) -> None:
    if (i, j) not in ((0, 1), (1, 0)):
        raise QuoteError(f"a wrapper has tokens 0 (rebasing) and 1 (wrapped), not {i} and {j}")


def _check(state: WrappedStakedState, i: int, j: int, amount: int) -> None:
    _direction(i, j)
    if not 0 < amount <= MAX_TOTAL:
        raise QuoteError(f"the amount must be positive and fit 128 bits, got {amount}")
    if not state.pooled or not state.shares:
        raise QuoteError("nothing is staked: there is no rate")


def _wrap(state: WrappedStakedState, amount: int) -> Quote:
    moved = amount * state.shares // state.pooled
    if not moved or amount > state.pooled:
        raise QuoteError("the amount is not worth a share, or more than there is")
    after = msgspec.structs.replace(state, wrapped=state.wrapped + moved, held=state.held + moved)
    return Quote(amount, moved, WRAP_GAS, after)


def _unwrap(state: WrappedStakedState, amount: int) -> Quote:
    if amount > state.wrapped:
        raise QuoteError("more than is wrapped")
    nominal = amount * state.pooled // state.shares
    moved = nominal * state.shares // state.pooled
    received = moved * state.pooled // state.shares
    if not received or moved > state.held:
        raise QuoteError("the amount is not worth a unit, or more than the wrapper holds")
    after = msgspec.structs.replace(state, wrapped=state.wrapped - amount, held=state.held - moved)
    return Quote(amount, received, UNWRAP_GAS, after)


def _totals(tokens: tuple[Address, Address]) -> Script[tuple[int, int, int, int]]:
    base, wrapper = tokens
    answers = yield [
        Read(base, _POOLED, _GAS),
        Read(base, _TOTAL_SHARES, _GAS),
        Read(wrapper, _TOTAL_SUPPLY, _GAS),
        Read(base, _SHARES_OF + uint_word(int(wrapper, 16)), _GAS),
    ]
    names = ("getTotalPooledEther()", "getTotalShares()", "totalSupply()", "sharesOf()")
    pooled, shares, wrapped, held = (answer_words(a, 1, n)[0] for a, n in zip(answers, names, strict=True))
    return pooled, shares, wrapped, held
