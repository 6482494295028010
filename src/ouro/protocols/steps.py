"""How the executor carries out a hop, said by the pool's family; ``execution`` turns it into operations and bytes.

The shape decides in which order a plan may run (who pays first, who calls back); a step has what the call needs
besides amounts and recipient. Forks of a kind differ in callbacks, fees and events, not in shape: a new family
mostly takes one of these, and only a new shape needs an operation in the contract.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, TypeAlias

from ouro.types import Address, PoolId


class Shape(StrEnum):
    """How a swap is paid and what it gives credit for.

    pair: exact output, the input already there or paid in a callback. concentrated: exact input, paid in a
    callback. managed: in the books of one manager, settled in the callback of its unlock. exchange: approve (or
    send the native coin), call, receive here. vault: as exchange, through a vault that holds all pools' tokens.
    bins: the input transferred beforehand, the output where one says. erc4626: deposit or redeem of a vault's own
    shares. wrap: one token into another at a rate, by a call of its own.
    """

    PAIR = "pair"
    CONCENTRATED = "concentrated"
    MANAGED = "managed"
    EXCHANGE = "exchange"
    VAULT = "vault"
    BINS = "bins"
    ERC4626 = "erc4626"
    WRAP = "wrap"


@dataclass(frozen=True, slots=True)
class PairSwap:
    """``swap(amount0Out, amount1Out, to, data)``."""

    shape: ClassVar[Shape] = Shape.PAIR
    pool: Address
    zero_for_one: bool


@dataclass(frozen=True, slots=True)
class ConcentratedSwap:
    """``swap(recipient, zeroForOne, amount, limit, data)``."""

    shape: ClassVar[Shape] = Shape.CONCENTRATED
    pool: Address
    zero_for_one: bool


@dataclass(frozen=True, slots=True)
class ManagedSwap:
    """``swap(key, params, hookData)`` of a Uniswap V4 manager; ``pool`` is the id, the rest its key."""

    shape: ClassVar[Shape] = Shape.MANAGED
    pool: PoolId
    zero_for_one: bool
    manager: Address
    currency0: Address
    currency1: Address
    fee_ppm: int
    tick_spacing: int
    hooks: Address


class ExchangeCall(StrEnum):
    """Which function of a Curve pool swaps; ``received`` ones count what was transferred to the pool before.

    ``SADDLE`` is the Solidity port's: its fifth argument is a deadline.
    """

    INT128 = "exchange(int128,int128,uint256,uint256)"
    UINT256 = "exchange(uint256,uint256,uint256,uint256)"
    INT128_TO = "exchange(int128,int128,uint256,uint256,address)"
    UINT256_TO = "exchange(uint256,uint256,uint256,uint256,address)"
    INT128_RECEIVED = "exchange_received(int128,int128,uint256,uint256,address)"
    UINT256_RECEIVED = "exchange_received(uint256,uint256,uint256,uint256,address)"
    SADDLE = "swap(uint8,uint8,uint256,uint256,uint256)"
    INT128_UNDERLYING = "exchange_underlying(int128,int128,uint256,uint256)"


@dataclass(frozen=True, slots=True)
class ExchangeSwap:
    """``call`` of ``pool`` with coin indices ``i`` and ``j``; ``native_*`` where that coin is the native one."""

    shape: ClassVar[Shape] = Shape.EXCHANGE
    pool: Address
    call: ExchangeCall
    i: int
    j: int
    token_in: Address
    token_out: Address
    native_in: bool = False
    native_out: bool = False


@dataclass(frozen=True, slots=True)
class VaultSwap:
    """A swap through Balancer's vault: V2's ``swap`` by pool id, or V3's by the pool's address (``version`` 3)."""

    shape: ClassVar[Shape] = Shape.VAULT
    vault: Address
    pool: PoolId
    version: int
    token_in: Address
    token_out: Address


@dataclass(frozen=True, slots=True)
class BinSwap:
    """``swap(swapForY, to)`` of a Liquidity Book pair: takes what lies above its reserves."""

    shape: ClassVar[Shape] = Shape.BINS
    pool: Address
    swap_for_y: bool


@dataclass(frozen=True, slots=True)
class SharesSwap:
    """``deposit(assets, receiver)`` or ``redeem(shares, receiver, owner)`` of an ERC-4626 vault."""

    shape: ClassVar[Shape] = Shape.ERC4626
    vault: Address
    asset: Address
    deposit: bool


@dataclass(frozen=True, slots=True)
class WrapSwap:
    """One call ``signature(uint256)`` of ``contract`` that turns ``token_in`` into ``token_out`` for the caller.

    ``approved`` says whether the contract takes ``token_in`` by allowance; ``native_in`` that it is sent as value.
    """

    shape: ClassVar[Shape] = Shape.WRAP
    contract: Address
    signature: str
    token_in: Address
    token_out: Address
    approved: bool = True
    native_in: bool = False


SwapStep: TypeAlias = (
    PairSwap | ConcentratedSwap | ManagedSwap | ExchangeSwap | VaultSwap | BinSwap | SharesSwap | WrapSwap
)
