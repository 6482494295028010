"""Tricrypto NG: Curve's three-coin pool around moving prices (maths v2.0), with a native coin inside or without.

What it shares with Twocrypto is in ``curve_crypto_family``. Pools that hold the native coin (the first kind) take
and give it wrapped by ``exchange``. The pools before NG (tricrypto2) answer other getters and are refused.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from ouro.hashing import topic
from ouro.protocols import curve_tricrypto_state as tricrypto
from ouro.protocols.base import DecodeError, Source
from ouro.protocols.creation import Announcement, CreationReader, NewPool, address_of
from ouro.protocols.curve_crypto_family import (
    RAMP,
    REMOVED_ONE,
    STOP_RAMP,
    TOKEN_EXCHANGE,
    Answers,
    CryptoFamily,
    answered,
    asked,
    unpacked_fees,
    word,
)
from ouro.protocols.curve_crypto_math import UNIT
from ouro.protocols.curve_crypto_state import Bought, CryptoDelta
from ouro.protocols.curve_stable_reading import call
from ouro.protocols.curve_tricrypto_state import TricryptoState
from ouro.protocols.reads import Ask, Garbage, Script

ADDED = topic("AddLiquidity(address,uint256[3],uint256,uint256,uint256)")
REMOVED = topic("RemoveLiquidity(address,uint256[3],uint256)")
DEPLOYED = topic(
    "TricryptoPoolDeployed(address,address[3],uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256,"
    "uint256[2],address)"
)
DEPLOYED_LATER = topic(
    "TricryptoPoolDeployed(address,string,string,address,address[3],address,bytes32,"
    "uint256,uint256,uint256,uint256,uint256,address)"
)
_GETTERS = ("D()", "xcp_profit()", "virtual_price()", "totalSupply()")
_UPDATED = ("last_prices_timestamp()", "last_timestamp()")
_PRICES = {"price_scale": 2, "price_oracle": 2, "last_prices": 2}
_U128 = (1 << 128) - 1


def _coins(event: Announcement, first: int) -> NewPool:
    coins = tuple(address_of(event.words[first + k], f"coins[{k}]") for k in range(3))
    if len(set(coins)) != 3:
        raise DecodeError(f"a coin is there twice among {', '.join(coins)}")
    return event.pool(address_of(event.words[0], "pool"), coins)


def _announced(event: Announcement) -> NewPool:
    return _coins(event, 1)


def _announced_later(event: Announcement) -> NewPool:
    return _coins(event, 4)


class Tricrypto(CryptoFamily):
    """The family; stateless."""

    name: ClassVar[str] = "tricrypto"
    n: ClassVar[int] = 3
    kind: ClassVar[type[Any]] = TricryptoState
    added: ClassVar[str] = ADDED
    removed: ClassVar[str] = REMOVED
    gas: ClassVar[int] = 260_000
    topics: ClassVar[tuple[str, ...]] = (TOKEN_EXCHANGE, ADDED, REMOVED, REMOVED_ONE, RAMP, STOP_RAMP)
    creations: ClassVar[Mapping[str, CreationReader]] = {DEPLOYED: _announced, DEPLOYED_LATER: _announced_later}
    sources: ClassVar[Mapping[str, Source]] = {
        **dict.fromkeys(TricryptoState.__struct_fields__, Source.MUST_REFRESH),
        **dict.fromkeys(("address", "tokens", "precisions", "capped"), Source.FIXED),
        **dict.fromkeys(("initial", "future", "initial_time", "future_time"), Source.FROM_LOGS),
        "as_of": Source.FROM_TIME,
    }

    def bought(self, state: TricryptoState, i: int, j: int, amount: int, now: int) -> Bought[Any]:
        """What ``exchange`` pays."""
        return tricrypto.bought(state, i, j, amount, now)

    def exchanged(self, state: TricryptoState, i: int, j: int, amount: int, now: int) -> tuple[int, TricryptoState]:
        """(output, the pool after ``exchange``)."""
        return tricrypto.exchanged(state, i, j, amount, now)

    def invariant(self, state: TricryptoState, now: int) -> int:
        """D as an exchange at that time takes it."""
        return tricrypto.invariant(state, now)

    def applied(self, state: TricryptoState, delta: CryptoDelta) -> TricryptoState:
        """The pool after a log."""
        return tricrypto.applied(state, delta)

    def prices(self, state: TricryptoState) -> tuple[int, ...]:
        """One, and the price scales."""
        return UNIT, *state.price_scale

    def moving(self, pool: str) -> dict[str, Ask]:
        """Reads of all that moves."""
        return asked(pool, (*_GETTERS, *_UPDATED), 3, _PRICES)

    def moved(self, answers: Answers) -> dict[str, Any]:
        """The fields that ``moving`` asked for."""
        found = {name: word(answers, name) for name in _GETTERS}
        scale, oracle, last = ((word(answers, f"{name}(0)"), word(answers, f"{name}(1)")) for name in _PRICES)
        updated = next((name for name in _UPDATED if answers[name] is not None), None)
        if updated is None:
            raise Garbage("the pool does not tell when its prices were last averaged")
        fees, rebalancing = unpacked_fees(answers)
        if not all(scale):
            raise Garbage(f"the pool's price scales are {scale}")
        return {
            "balances_wei": tuple(word(answers, f"balances({k})") for k in range(3)),
            "d": found["D()"],
            "price_scale": scale,
            "price_oracle": oracle,
            "last_price": last,
            "updated": word(answers, updated) & _U128,
            "xcp_profit": found["xcp_profit()"],
            "virtual_price": found["virtual_price()"],
            "supply": found["totalSupply()"],
            "fees": fees,
            "rebalancing": rebalancing,
        }

    def fixed(self, pool: str) -> Script[dict[str, Any]]:
        """Which kind of pool it is: the second one averages its own value too, and caps prices."""
        answers = yield from answered({"xcp_oracle()": call(pool, "xcp_oracle()")})
        return {"capped": answers["xcp_oracle()"] is not None}

    def to_json(self, state: TricryptoState) -> dict[str, Any]:
        """A tagged, JSON-safe form."""
        return tricrypto.to_json(state)

    def from_json(self, value: dict[str, Any]) -> TricryptoState:
        """The inverse of ``to_json``. Raises ``ValueError`` naming the field."""
        return tricrypto.from_json(value)
