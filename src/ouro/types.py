"""The few values that every stage passes along, all frozen.

Flow: ``BlockUpdate`` → ``Cycle`` → ``Opportunity`` → ``Plan`` → ``Approved | Refused`` → ``Attempt`` → ``Outcome``.
(``Approved`` lives in ``ouro.risk``, because only that room can make one.)

Conventions: addresses and hashes are 0x-prefixed lower-case hex strings; amounts are integers in the
token's smallest unit (``*_wei``); fees are parts per million; ``*_ns`` are ``time.monotonic_ns`` readings.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

Address: TypeAlias = str
Hash: TypeAlias = str
PoolId: TypeAlias = str
"""What names a pool on its chain: the address of its contract, or the 32 bytes that a Uniswap V4 manager gives it.
Both as lower-case 0x-hex; they differ in length, so that one can't be taken for the other."""


class Mode(StrEnum):
    """What the engine may do with a plan."""

    OBSERVE = "observe"
    PAPER = "paper"
    LIVE = "live"


@dataclass(frozen=True, slots=True)
class Log:
    """One event as the node delivered it; ``data`` stays 0x-hex until somebody decodes it."""

    address: Address
    topics: tuple[str, ...]
    data: str
    block_number: int
    block_hash: Hash
    tx_hash: Hash
    tx_index: int
    log_index: int


@dataclass(frozen=True, slots=True)
class BlockUpdate:
    """A new canonical block with every log of the watched topics, in log-index order.

    ``received_ns`` is taken where the socket is read. ``base_fee_wei`` is None on chains without EIP-1559.
    """

    chain: str
    number: int
    hash: Hash
    parent_hash: Hash
    timestamp: int
    base_fee_wei: int | None
    gas_used: int
    gas_limit: int
    logs: tuple[Log, ...]
    received_ns: int


@dataclass(frozen=True, slots=True)
class Rollback:
    """The canonical chain changed: forget every block above ``to_number``; new blocks follow."""

    chain: str
    to_number: int
    to_hash: Hash
    dropped: tuple[Hash, ...]


@dataclass(frozen=True, slots=True)
class Resync:
    """The feed lost the thread (reorg deeper than the ring, a gap it can't fill): read the state anew."""

    chain: str
    reason: str


FeedEvent: TypeAlias = BlockUpdate | Rollback | Resync


@dataclass(frozen=True, slots=True)
class BlockContext:
    """The block a trade will execute in; time is part of many pools."""

    number: int
    timestamp: int
    base_fee_wei: int


@dataclass(frozen=True, slots=True)
class Edge:
    """A direction through a pool: token position ``i`` in, ``j`` out, positions in the pool's token list."""

    pool: PoolId
    i: int
    j: int


@dataclass(frozen=True, slots=True)
class Cycle:
    """A closed path: ``tokens[k] -edges[k]-> tokens[k+1]``, ``tokens[0] == tokens[-1]``; distinct pools."""

    edges: tuple[Edge, ...]
    tokens: tuple[Address, ...]

    @property
    def pools(self) -> tuple[PoolId, ...]:
        """Pools in path order."""
        return tuple(edge.pool for edge in self.edges)


@dataclass(frozen=True, slots=True)
class Opportunity:
    """A cycle with its exact integer optimum at one state.

    ``amounts_wei[k]`` goes into hop ``k``; ``amounts_wei[-1]`` comes back. ``gross_profit_wei`` is in the
    start token; ``gas_units`` is the estimate of the families' quotes, without the transaction's base cost.
    """

    chain: str
    cycle: Cycle
    amounts_wei: tuple[int, ...]
    gross_profit_wei: int
    gas_units: int
    block_number: int
    block_hash: Hash

    @property
    def amount_in_wei(self) -> int:
        """What the first hop takes."""
        return self.amounts_wei[0]


@dataclass(frozen=True, slots=True)
class Hop:
    """One exact swap of a plan. Tokens are the pool's own: Uniswap V4's native coin is the zero address."""

    pool: PoolId
    family: str
    token_in: Address
    token_out: Address
    i: int
    j: int
    amount_in_wei: int
    amount_out_wei: int


@dataclass(frozen=True, slots=True)
class FeeBid:
    """What the transaction offers for gas. ``legacy`` chains use ``max_fee_per_gas_wei`` as the gas price."""

    max_fee_per_gas_wei: int
    max_priority_fee_per_gas_wei: int
    legacy: bool


_STRATEGY_OF_HOPS = {2: "cross_dex", 3: "triangular"}


@dataclass(frozen=True, slots=True)
class Plan:
    """Exactly what would be executed, and what it is expected to bring.

    ``gross_profit_wei`` (what the hops bring), ``min_profit_wei`` (what has to be left), ``bribe_wei`` and
    ``loan_fee_wei`` (what leaves on the way) are in ``profit_token``; the ``*_native_wei`` figures are in the
    chain's native coin, ``value_native_wei`` being the worth of the gross profit. The executor reverts after block
    ``max_block_number`` or below ``min_profit_wei``.
    """

    plan_id: str
    chain: str
    hops: tuple[Hop, ...]
    profit_token: Address
    gross_profit_wei: int
    min_profit_wei: int
    value_native_wei: int
    gas_limit: int
    expected_gas: int
    fee: FeeBid
    expected_net_native_wei: int
    found_at_number: int
    found_at_hash: Hash
    max_block_number: int
    lane: str
    calldata: bytes = field(repr=False)
    bribe_wei: int = 0
    loan_fee_wei: int = 0
    shape: str = "cycle"
    """"cycle": each hop passes what it brings on to the next; "netted": hops in any order whose sums cover each
    other, token by token."""

    @property
    def predicted_profit_wei(self) -> int:
        """What the treasury gets where no state moves, in ``profit_token``."""
        return self.gross_profit_wei - self.loan_fee_wei - self.bribe_wei

    @property
    def predicted_value_native_wei(self) -> int:
        """The worth of that, rounded down."""
        if self.gross_profit_wei <= 0:
            return 0
        return self.predicted_profit_wei * self.value_native_wei // self.gross_profit_wei

    @property
    def pools(self) -> tuple[PoolId, ...]:
        """Pools in path order."""
        return tuple(hop.pool for hop in self.hops)

    @property
    def strategy(self) -> str:
        """What it is called in halts and limits: as in reports, by the number of hops."""
        return "netted" if self.shape == "netted" else _STRATEGY_OF_HOPS.get(len(self.hops), "n_hop")

    @property
    def notional_wei(self) -> int:
        """Input of the first hop, in the profit token."""
        return self.hops[0].amount_in_wei

    @property
    def notional_gwei(self) -> int:
        """That in native gwei, at the price of the plan's own profit, rounded up."""
        if self.gross_profit_wei <= 0:
            return 0
        return -(-self.notional_wei * self.value_native_wei // (self.gross_profit_wei * 10**9))


@dataclass(frozen=True, slots=True)
class Refused:
    """A plan that will not be sent, and why. ``reason`` is a stable code; ``detail`` is for people."""

    plan_id: str
    reason: str
    detail: str


PAPER_LANE = "paper"
"""The lane of attempts that never leave the process."""


class AttemptKind(StrEnum):
    """Why a transaction exists."""

    TRADE = "trade"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class Attempt:
    """A signed transaction, journaled before it is sent.

    A cancel names the attempt whose nonce it takes in ``replaces``.
    """

    attempt_id: str
    plan_id: str
    chain: str
    kind: AttemptKind
    operator: Address
    nonce: int
    tx_hash: Hash
    raw_tx: bytes = field(repr=False)
    lane: str
    max_block_number: int
    replaces: str | None = None


class OutcomeKind(StrEnum):
    """Final states of an attempt.

    landed: included and successful. lost: included but beaten (the executor's own profit or staleness check
    refused). reverted: included and failed for any other reason. expired: its last block passed without it, and
    its nonce was taken back. dropped: the same, and the node had forgotten it.
    """

    LANDED = "landed"
    LOST = "lost"
    REVERTED = "reverted"
    EXPIRED = "expired"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class Transfer:
    """A token movement read from a receipt, or a native one when ``token`` is None."""

    token: Address | None
    source: Address
    destination: Address
    amount_wei: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an attempt, to the wei.

    ``realised_amounts_wei`` are the hop inputs and the last output read from the receipt's swap events, in the
    plan's order; empty unless landed. ``gas_cost_wei`` is all that the transaction paid; ``l1_fee_wei`` of it is
    what a rollup charged for its data.
    """

    attempt_id: str
    kind: OutcomeKind
    block_number: int | None
    block_hash: Hash | None
    gas_used: int
    gas_cost_wei: int
    realised_profit_wei: int
    realised_amounts_wei: tuple[int, ...]
    transfers: tuple[Transfer, ...]
    reason: str
    l1_fee_wei: int = 0
