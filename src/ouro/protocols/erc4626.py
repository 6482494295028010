"""ERC-4626 vaults as pools of two tokens, asset and share: deposit and redeem; mint and withdraw for exact outputs.

Two ways of rounding, both down for what the vault gives and up for what it asks: OpenZeppelin's, with ``10^offset``
virtual shares and one virtual asset, and solmate's, which converts one to one while there are no shares and refuses
conversions to nothing. A vault whose previews are not those of its totals (fees, other formulas) is refused when it
is read. Redeeming is limited by what the vault holds idle, deposits by what it allows to whom it does not know.

Field sources: totals drift without logs (yield, strategies, gifts): all of them are ``must_refresh``; a deposit's
or withdrawal's log moves them within the block. So is the way of rounding: before a vault has earned anything
several ways give the same. Vaults have no factory in common: each is configured by its address.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec
import numpy as np

from ouro.hashing import selector, topic
from ouro.protocols import jsonform
from ouro.protocols.base import (
    DecodeError,
    ExactHeader,
    Limits,
    Quote,
    QuoteError,
    Segments,
    Source,
)
from ouro.protocols.creation import CreationReader, Factory, NewPool
from ouro.protocols.eventdata import data_words, require_address
from ouro.protocols.headers import ratio_header
from ouro.protocols.listings import Listing, itself
from ouro.protocols.proof import Proof
from ouro.protocols.reads import Garbage, Read, Script, account, answer_words, uint_word
from ouro.protocols.steps import Shape, SharesSwap
from ouro.protocols.storage import Place, ViewCall
from ouro.protocols.swapevents import event_words, plausible
from ouro.protocols.unknown_layout import UnknownLayout
from ouro.types import Address, BlockContext, Hop, Log

_U256 = (1 << 256) - 1
MAX_TOTAL = (1 << 160) - 1
"""Totals beyond this are no money; it keeps every product below the contracts' overflow checks."""
MAX_AMOUNT = (1 << 95) - 1
MAX_OFFSET = 18
DEPOSIT_GAS, REDEEM_GAS = 75_000, 70_000
_STRAIGHT = 1e12
"""A conversion is a straight line: pieces with reserves this many times the largest input."""

DEPOSIT_TOPIC = topic("Deposit(address,address,uint256,uint256)")
WITHDRAW_TOPIC = topic("Withdraw(address,address,address,uint256,uint256)")

_ASSET = selector("asset()")
_TOTALS = tuple(selector(call) for call in ("totalAssets()", "totalSupply()"))
_MAX_DEPOSIT = selector("maxDeposit(address)")
_BALANCE = selector("balanceOf(address)")
_PREVIEW_DEPOSIT = selector("previewDeposit(uint256)")
_PREVIEW_REDEEM = selector("previewRedeem(uint256)")
_GAS = 400_000
_NOBODY = 0xDEAD
_PROBES = (10**18 + 7, 999_999_937, 10**24 + 11, MAX_AMOUNT - 17)


class Erc4626State(msgspec.Struct, frozen=True):
    """A vault. ``tokens`` are asset and share; ``offset`` is OpenZeppelin's, -1 for solmate's way."""

    family: ClassVar[str] = "erc4626"

    address: Address
    tokens: tuple[Address, Address]
    offset: int
    total_assets: int
    total_supply: int
    max_deposit: int
    idle: int

    @property
    def fee_ppm(self) -> int:
        """None: a vault with fees is refused."""
        return 0


class TotalsDelta(msgspec.Struct, frozen=True):
    """What a deposit (positive) or a withdrawal changed."""

    assets: int
    shares: int


class Erc4626(UnknownLayout):
    """The family; stateless."""

    name: ClassVar[str] = "erc4626"
    proof: ClassVar[Proof] = Proof(200_000)
    topics: ClassVar[tuple[str, ...]] = (DEPOSIT_TOPIC, WITHDRAW_TOPIC)
    shape: ClassVar[Shape] = Shape.ERC4626
    creations: ClassVar[Mapping[str, CreationReader]] = {}
    told_by_events: ClassVar[bool] = False
    own_token: ClassVar[bool] = True
    balances_told: ClassVar[bool] = False
    drifts: ClassVar[bool] = True
    least_gas: ClassVar[int] = REDEEM_GAS
    sources: ClassVar[Mapping[str, Source]] = {
        **dict.fromkeys(("address", "tokens"), Source.FIXED),
        **dict.fromkeys(("offset", "total_assets", "total_supply", "max_deposit", "idle"), Source.MUST_REFRESH),
    }

    def listing(self, dex: Factory, tokens: Sequence[Address]) -> Listing:
        """The configured address is the vault itself: a list of one."""
        return itself(dex)

    def read(self, pool: NewPool) -> Script[Erc4626State]:
        """Asset and totals, then the previews, which tell how the vault rounds."""
        return _read(pool)

    def refresh(self, state: Erc4626State, pool: NewPool) -> Script[Erc4626State]:
        """Totals, limits and previews."""
        return _totals(state.address, state.tokens[0])

    def decode(self, state: Erc4626State, log: Log, timestamp: int) -> TotalsDelta | None:
        """Deposits (and mints), withdrawals (and redemptions)."""
        require_address(log, state.address)
        kind = log.topics[0] if log.topics else ""
        if kind not in (DEPOSIT_TOPIC, WITHDRAW_TOPIC):
            return None
        assets, shares = data_words(log, 2, "Deposit or Withdraw")
        return TotalsDelta(assets, shares) if kind == DEPOSIT_TOPIC else TotalsDelta(-assets, -shares)

    def apply(self, state: Erc4626State, delta: TotalsDelta) -> Erc4626State:
        """The vault after ``delta``."""
        after = _moved(state, delta.assets, delta.shares)
        if after.total_supply < 0 or after.total_assets > MAX_TOTAL or after.total_supply > MAX_TOTAL:
            raise DecodeError(f"{state.address} would have {after.total_supply} shares of {after.total_assets}")
        # a strategy may pay a withdrawal from elsewhere: the next refresh tells
        return msgspec.structs.replace(
            after, total_assets=max(after.total_assets, 0), idle=max(after.idle, 0), max_deposit=state.max_deposit
        )

    def quote_in(self, state: Erc4626State, i: int, j: int, amount_in_wei: int, context: BlockContext) -> Quote:
        """Deposit or redeem."""
        _check(state, i, j, amount_in_wei)
        numerator, denominator = _ratio(state, i)
        return _quote(state, i, amount_in_wei, amount_in_wei * numerator // denominator)

    def quote_out(self, state: Erc4626State, i: int, j: int, amount_out_wei: int, context: BlockContext) -> Quote:
        """Mint or withdraw."""
        _check(state, i, j, amount_out_wei)
        numerator, denominator = _ratio(state, i)
        if not numerator:
            raise QuoteError("the vault has shares and no assets")
        return _quote(state, i, -(-amount_out_wei * denominator // numerator), amount_out_wei)

    def spot_rate(self, state: Erc4626State, i: int, j: int) -> float:
        """The rate of conversion."""
        _direction(i, j)
        numerator, denominator = _ratio(state, i)
        return numerator / denominator if denominator and _most_in(state, i) else 0.0

    def limits(self, state: Erc4626State, i: int, j: int, context: BlockContext) -> Limits:
        """What may be deposited, or what idle assets pay for."""
        _direction(i, j)
        most = _most_in(state, i)
        try:
            return Limits(most, self.quote_in(state, i, j, most, context).amount_out_wei)
        except QuoteError:
            return Limits(0, 0)

    def segments(self, state: Erc4626State, i: int, j: int, context: BlockContext) -> Segments:
        """One straight piece up to the limit."""
        rate, most = self.spot_rate(state, i, j), float(_most_in(state, i))
        if not rate or not most:
            return np.empty((0, 4))
        return np.array([[_STRAIGHT * most, rate * _STRAIGHT * most, 1.0, most]])

    def exact_header(self, state: Erc4626State, i: int, j: int) -> ExactHeader | None:
        """Both numbers of the ratio and the limit."""
        _direction(i, j)
        numerator, denominator = _ratio(state, i)
        most = _most_in(state, i)
        if not numerator or not denominator or not most:
            return None
        if i == 0 and state.total_supply + most * numerator // denominator > MAX_TOTAL:
            return None
        return ExactHeader(ratio_header(numerator, denominator, most, 1))

    def view_calls(self, state: Erc4626State, words: Mapping[Place, int]) -> Sequence[ViewCall]:
        """Previews read what deposits and redemptions read; limits what they check."""
        one = uint_word(10**6)
        calls = (_PREVIEW_DEPOSIT + one, _PREVIEW_REDEEM + one, _MAX_DEPOSIT + uint_word(_NOBODY), *_TOTALS)
        return [ViewCall(state.address, data) for data in calls]

    def encode_swap(self, state: Erc4626State, i: int, j: int) -> SharesSwap:
        """``deposit`` or ``redeem``."""
        _direction(i, j)
        return SharesSwap(state.address, state.tokens[0], i == 0)

    def swapped(self, hop: Hop, log: Log) -> tuple[int, int] | None:
        """From the vault's own event."""
        wanted = DEPOSIT_TOPIC if hop.i == 0 else WITHDRAW_TOPIC
        if log.address.lower() != hop.pool or not log.topics or log.topics[0] != wanted:
            return None
        words = event_words(log)
        if len(words) != 2:
            return None
        return plausible(*words) if hop.i == 0 else plausible(words[1], words[0])

    def to_json(self, state: Erc4626State) -> dict[str, Any]:
        """A tagged, JSON-safe form."""
        numbers = ("total_assets", "total_supply", "max_deposit", "idle")
        return {
            "family": self.name,
            "address": state.address,
            "tokens": list(state.tokens),
            "offset": state.offset,
            **{name: str(getattr(state, name)) for name in numbers},
        }

    def from_json(self, value: dict[str, Any]) -> Erc4626State:
        """The inverse of ``to_json``. Raises ``ValueError`` naming the field."""
        found = jsonform.fields(value, self.name, Erc4626State.__struct_fields__)
        tokens = found["tokens"]
        if not isinstance(tokens, list | tuple) or len(tokens) != 2:
            raise ValueError(f"tokens: asset and share are expected, got {tokens!r:.80}")
        asset, share = (jsonform.address(token, f"tokens[{k}]") for k, token in enumerate(tokens))
        address = jsonform.address(found["address"], "address")
        if share != address or asset == address:
            raise ValueError(f"tokens: the share is the vault {address} itself, the asset another token")
        return Erc4626State(
            address=address,
            tokens=(asset, share),
            offset=jsonform.integer(found["offset"], "offset", -1, MAX_OFFSET),
            total_assets=jsonform.integer(found["total_assets"], "total_assets", 0, MAX_TOTAL),
            total_supply=jsonform.integer(found["total_supply"], "total_supply", 0, MAX_TOTAL),
            max_deposit=jsonform.integer(found["max_deposit"], "max_deposit", 0, _U256),
            idle=jsonform.integer(found["idle"], "idle", 0, _U256),
        )


def _direction(i: int, j: int) -> None:
    if (i, j) not in ((0, 1), (1, 0)):
        raise QuoteError(f"a vault has tokens 0 (asset) and 1 (share), not {i} and {j}")


def _check(state: Erc4626State, i: int, j: int, amount: int) -> None:
    _direction(i, j)
    if not 0 < amount <= MAX_AMOUNT:
        raise QuoteError(f"the amount must be positive and at most {MAX_AMOUNT}, got {amount}")
    if not _ratio(state, i)[1]:
        raise QuoteError("the vault has shares and no assets")


def _ratio(state: Erc4626State, i: int) -> tuple[int, int]:
    """Output per input as a fraction."""
    if state.offset >= 0:
        assets, shares = state.total_assets + 1, state.total_supply + 10**state.offset
    else:
        assets, shares = (state.total_assets, state.total_supply) if state.total_supply else (1, 1)
    return (shares, assets) if i == 0 else (assets, shares)


def _most_in(state: Erc4626State, i: int) -> int:
    """The most that can be deposited, or shares that there are and idle assets pay for."""
    if i == 0:
        return min(state.max_deposit, MAX_AMOUNT)
    assets, shares = _ratio(state, 1)
    payable = ((state.idle + 1) * shares - 1) // assets if assets else 0
    return min(payable, state.total_supply, MAX_AMOUNT)


def _quote(state: Erc4626State, i: int, amount_in: int, amount_out: int) -> Quote:
    if not amount_in or not amount_out:
        raise QuoteError("the amount converts to nothing")
    if i == 0:
        if amount_in > state.max_deposit:
            raise QuoteError(f"the vault takes {state.max_deposit} at most")
        if amount_in > MAX_AMOUNT or state.total_supply + amount_out > MAX_TOTAL:
            raise QuoteError("the amounts are no money any more")
        return Quote(amount_in, amount_out, DEPOSIT_GAS, _moved(state, amount_in, amount_out))
    if amount_in > state.total_supply or amount_out > state.idle:
        raise QuoteError("the vault has not so much idle")
    return Quote(amount_in, amount_out, REDEEM_GAS, _moved(state, -amount_out, -amount_in))


def _moved(state: Erc4626State, assets: int, shares: int) -> Erc4626State:
    return msgspec.structs.replace(
        state,
        total_assets=state.total_assets + assets,
        total_supply=state.total_supply + shares,
        idle=state.idle + assets,
        max_deposit=state.max_deposit if state.max_deposit == _U256 else max(state.max_deposit - assets, 0),
    )


def _read(pool: NewPool) -> Script[Erc4626State]:
    [answer] = yield [Read(pool.address, _ASSET, _GAS)]
    return (yield from _totals(pool.address, account(answer, "asset()")))


def _totals(vault: Address, asset: Address) -> Script[Erc4626State]:
    """The vault in one round.

    Of the ways of rounding that explain its previews the first: whoever reads it at a block finds the same.
    """
    answers = yield [
        *(Read(vault, data, _GAS) for data in _TOTALS),
        Read(vault, _MAX_DEPOSIT + uint_word(_NOBODY), _GAS),
        Read(asset, _BALANCE + uint_word(int(vault, 16)), _GAS),
        *(
            Read(vault, call + uint_word(amount), _GAS)
            for call in (_PREVIEW_DEPOSIT, _PREVIEW_REDEEM)
            for amount in _PROBES
        ),
    ]
    names = ("totalAssets()", "totalSupply()", "maxDeposit()", "balanceOf()", *("a preview",) * (2 * len(_PROBES)))
    numbers = [answer_words(answer, 1, name)[0] for answer, name in zip(answers, names, strict=True)]
    totals, told = numbers[:4], numbers[4:]
    for offset in (0, *range(-1, MAX_OFFSET + 1)):
        state = Erc4626State(vault, (asset, vault), offset, *totals)
        ratios = [_ratio(state, i) for i in (0, 1)]
        if all(below for _, below in ratios) and told == [a * n // d for n, d in ratios for a in _PROBES]:
            return state
    raise Garbage("its previews are not those of its totals: it takes fees or converts otherwise")
