"""What a chain's configuration adds to every trade: the bribe, and the guards against being late.

The cheapest sign of staleness is looked at first: the header (block, seconds, parent) before any storage is read,
then, if wanted, one word of one pool before anything moves.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ouro.config.model import ChainConfig
from ouro.execution.encode_dag import Guards
from ouro.execution.program import MAX_AMOUNT_WEI, PARENT_BYTES, Bribe, Kind, Op
from ouro.types import Address, BlockContext, Hash, Hop, PoolId

_MILLION = 1_000_000


def bribe_of(config: ChainConfig, profit_token: Address) -> Bribe | None:
    """What the executor shall pay away of a profit in this token; None where it pays nothing.

    Only the wrapped native coin can be unwrapped: of another token's profit a share is paid only where the
    configuration says that it is paid in tokens.
    """
    terms = config.bribe
    if not terms.share_ppm or (profit_token.lower() != config.wrapped_native and terms.paid_in != "tokens"):
        return None
    return Bribe(terms.share_ppm, terms.recipient, terms.paid_in == "tokens")


def bribe_wei(bribe: Bribe | None, gain_wei: int) -> int:
    """The executor's own sum, to the wei, of a gain that is left after repayments."""
    return 0 if bribe is None or gain_wei <= 0 else gain_wei * bribe.share_ppm // _MILLION


def guards_of(
    config: ChainConfig,
    found_at_number: int,
    next_block: BlockContext,
    found_at_hash: Hash = "",
    bribe: Bribe | None = None,
    probe: Op | None = None,
) -> Guards:
    """The last block, by ``late_by`` or ``guards.deadline`` the last second, and what else the configuration asks.

    ``next_block`` is the first that can include the plan; a second that a block shares is never cut off.
    """
    last_block = found_at_number + config.inclusion_blocks if config.late_by == "block" else None
    deadline = None
    if config.late_by == "time" or config.guards.deadline == "on":
        seconds = -(-(config.inclusion_blocks - 1) * config.block_time_ms // 1_000)
        deadline = next_block.timestamp + seconds
    parent = None
    if config.guards.parent_hash == "on" and found_at_hash:
        parent = bytes.fromhex(found_at_hash[2:])[:PARENT_BYTES]
    return Guards(last_block, deadline, parent, probe, bribe)


def is_plain(guards: Guards) -> bool:
    """Whether the last block is all that is asked."""
    return guards == Guards(max_block_number=guards.max_block_number)


def probe_of(hops: Sequence[Hop], states: Mapping[PoolId, Any]) -> Op | None:
    """The first pool whose price one word tells: its reserve, or its root price, as the plan's state has it.

    None where no pool of the plan has such a word that a guard can compare.
    """
    for hop in hops:
        state = states.get(hop.pool)
        reserve = getattr(state, "reserve0", None)
        if isinstance(reserve, int) and 0 < reserve <= MAX_AMOUNT_WEI:
            return Op(Kind.GUARD_V2, hop.pool.lower(), amount_wei=reserve)
        price = getattr(state, "sqrt_price_x96", None)
        # The layout is of Uniswap's own slot0; Algebra's globalState and managed pools are read in another way.
        if isinstance(price, int) and hasattr(state, "layout") and not hasattr(state, "manager"):
            return Op(Kind.GUARD_V3, hop.pool.lower(), amount_wei=price & MAX_AMOUNT_WEI)
    return None
