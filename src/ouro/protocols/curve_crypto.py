"""Twocrypto NG: Curve's two-coin pool around a moving price; maths v2.0, v2.1 and StableSwap's, pools v2.0, v2.1.

What it shares with Tricrypto is in ``curve_crypto_family``. Pools of the later kind that take donations (their
virtual price and profit count shares that unlock with time) are refused when they are met.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from ouro.hashing import topic
from ouro.protocols import curve_crypto_state as crypto
from ouro.protocols.base import DecodeError, Source
from ouro.protocols.creation import Announcement, CreationReader, NewPool, address_of
from ouro.protocols.curve_crypto_family import RAMP as RAMP
from ouro.protocols.curve_crypto_family import (
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
from ouro.protocols.curve_crypto_state import CLASSIC, LATER, STABLE, Bought, CryptoDelta, TwocryptoState
from ouro.protocols.curve_stable_reading import call
from ouro.protocols.kernels import crypto as kernels
from ouro.protocols.reads import Ask, Garbage, Script, account

ADDED = topic("AddLiquidity(address,uint256[2],uint256,uint256,uint256)")
REMOVED = topic("RemoveLiquidity(address,uint256[2],uint256)")
CLAIMED = topic("ClaimAdminFee(address,uint256[2])")
DEPLOYED = topic(
    "TwocryptoPoolDeployed(address,string,string,address[2],address,bytes32,"
    "uint256[2],uint256,uint256,uint256,uint256,address)"
)
_GETTERS = (
    "D()",
    "price_scale()",
    "price_oracle()",
    "last_prices()",
    "last_timestamp()",
    "xcp_profit()",
    "virtual_price()",
    "totalSupply()",
)
_DONATIONS = ("donation_shares()", "donation_protection_expiry_ts()")
_MATHS = {"v2.0.0": CLASSIC, "v2.1.0": LATER, "v0.1.0": STABLE}
_KERNEL_MATHS = {CLASSIC: kernels.CLASSIC, LATER: kernels.LATER, STABLE: kernels.STABLE}
_U128 = (1 << 128) - 1


def _announced(event: Announcement) -> NewPool:
    coins = address_of(event.words[3], "coins[0]"), address_of(event.words[4], "coins[1]")
    if coins[0] == coins[1]:
        raise DecodeError(f"both coins are {coins[0]}")
    return event.pool(address_of(event.words[0], "pool"), coins)


class Twocrypto(CryptoFamily):
    """The family; stateless."""

    name: ClassVar[str] = "twocrypto"
    n: ClassVar[int] = 2
    kind: ClassVar[type[Any]] = TwocryptoState
    added: ClassVar[str] = ADDED
    removed: ClassVar[str] = REMOVED
    gas: ClassVar[int] = 210_000
    topics: ClassVar[tuple[str, ...]] = (TOKEN_EXCHANGE, ADDED, REMOVED, REMOVED_ONE, RAMP, STOP_RAMP)
    creations: ClassVar[Mapping[str, CreationReader]] = {DEPLOYED: _announced}
    sources: ClassVar[Mapping[str, Source]] = {
        **dict.fromkeys(TwocryptoState.__struct_fields__, Source.MUST_REFRESH),
        **dict.fromkeys(("address", "tokens", "precisions", "maths", "rules"), Source.FIXED),
        **dict.fromkeys(("initial", "future", "initial_time", "future_time"), Source.FROM_LOGS),
        "as_of": Source.FROM_TIME,
    }

    def bought(self, state: TwocryptoState, i: int, j: int, amount: int, now: int) -> Bought[Any]:
        """What ``exchange`` pays."""
        return crypto.bought(state, i, amount, now)

    def exchanged(self, state: TwocryptoState, i: int, j: int, amount: int, now: int) -> tuple[int, TwocryptoState]:
        """(output, the pool after ``exchange``)."""
        return crypto.exchanged(state, i, amount, now)

    def invariant(self, state: TwocryptoState, now: int) -> int:
        """D as an exchange at that time takes it."""
        return crypto.invariant(state, now)

    def applied(self, state: TwocryptoState, delta: CryptoDelta) -> TwocryptoState:
        """The pool after a log."""
        return crypto.applied(state, delta)

    def prices(self, state: TwocryptoState) -> tuple[int, ...]:
        """One, and the price scale."""
        return UNIT, state.price_scale

    def flags(self, state: TwocryptoState) -> int:
        """Maths and fee."""
        return _KERNEL_MATHS[state.maths] | (state.rules == LATER) << 8

    def moving(self, pool: str) -> dict[str, Ask]:
        """Reads of all that moves."""
        return asked(pool, _GETTERS, 2, {})

    def moved(self, answers: Answers) -> dict[str, Any]:
        """The fields that ``moving`` asked for."""
        found = {name: word(answers, name) for name in _GETTERS}
        fees, rebalancing = unpacked_fees(answers)
        if not found["price_scale()"]:
            raise Garbage("the pool has no price scale")
        return {
            "balances_wei": (word(answers, "balances(0)"), word(answers, "balances(1)")),
            "d": found["D()"],
            "price_scale": found["price_scale()"],
            "price_oracle": found["price_oracle()"],
            "last_price": found["last_prices()"],
            "updated": found["last_timestamp()"] & _U128,
            "xcp_profit": found["xcp_profit()"],
            "virtual_price": found["virtual_price()"],
            "supply": found["totalSupply()"],
            "fees": fees,
            "rebalancing": rebalancing,
        }

    def fixed(self, pool: str) -> Script[dict[str, Any]]:
        """Versions of the pool and of its maths; pools of before they told any are v2.0."""
        answers = yield from answered({name: call(pool, name) for name in ("MATH()", "version()", *_DONATIONS)})
        if any(answers[name] is not None for name in _DONATIONS):
            raise Garbage("a pool that takes donations: its profit follows rules that are not written here")
        rules, maths = version(answers["version()"]) or CLASSIC, "v2.0.0"
        if rules not in crypto.RULES:
            raise Garbage(f"a pool of version {rules}: {' and '.join(crypto.RULES)} are known")
        if answers["MATH()"] is not None:
            library = account(answers["MATH()"], "MATH()")
            told = yield from answered({"version()": call(library, "version()")})
            maths = version(told["version()"]) or maths
        if maths not in _MATHS:
            raise Garbage(f"maths of version {maths}: {', '.join(_MATHS)} are known")
        return {"maths": _MATHS[maths], "rules": rules}

    def to_json(self, state: TwocryptoState) -> dict[str, Any]:
        """A tagged, JSON-safe form."""
        return crypto.to_json(state)

    def from_json(self, value: dict[str, Any]) -> TwocryptoState:
        """The inverse of ``to_json``. Raises ``ValueError`` naming the field."""
        return crypto.from_json(value)


def version(answer: bytes | None) -> str:
    """A short string as an ABI answer; empty where there is none. Raises ``Garbage``."""
    if answer is None:
        return ""
    size = int.from_bytes(answer[32:64])
    if len(answer) < 64 or int.from_bytes(answer[:32]) != 32 or size > min(32, len(answer) - 64):
        raise Garbage("version() does not answer a short text")
    try:
        return answer[64 : 64 + size].decode("ascii")
    except UnicodeDecodeError:
        raise Garbage("version() does not answer a short text") from None
