"""Made-up plans, attempts and receipts of one chain, as small as they can be while consistent."""

from dataclasses import dataclass, replace
from typing import Any

from ouro.chain.fees import FeeModel
from ouro.config.model import ChainConfig
from ouro.execution.planner import PlanContext
from ouro.execution.settlement import TRANSFER_TOPIC, Ours
from ouro.protocols.uniswap_v2 import SWAP_TOPIC as V2_SWAP_TOPIC
from ouro.protocols.v3_events import SWAP_TOPIC as V3_SWAP_TOPIC
from ouro.types import (
    Address,
    Attempt,
    AttemptKind,
    BlockContext,
    Cycle,
    Edge,
    FeeBid,
    Hop,
    Log,
    Opportunity,
    Plan,
)

EXECUTOR, OWNER = "0x" + "ee" * 20, "0x" + "cc" * 20
OPERATORS = ("0x" + "01" * 20, "0x" + "02" * 20, "0x" + "03" * 20)
OWNED = frozenset((EXECUTOR, OWNER, *OPERATORS))
WETH, DAI = "0x" + "aa" * 20, "0x" + "bb" * 20
OURS = Ours(OWNED, frozenset((WETH,)))
POOL_A, POOL_B, STRANGER = "0x" + "0a" * 20, "0x" + "0b" * 20, "0x" + "99" * 20
FAMILIES = {POOL_A: "uniswap_v2", POOL_B: "uniswap_v3"}


def chain_config(**changes: Any) -> ChainConfig:
    """A complete configuration of one chain."""
    values: dict[str, Any] = {
        "chain_id": 9_300_001,
        "profile": "ethereum",
        "endpoints": ("ws://127.0.0.1:1",),
        "block_time_ms": 1_000,
        "wrapped_native": WETH,
        "multicall": "0x" + "dd" * 20,
        "executor": EXECUTOR,
        "owner": OWNER,
        "operators": OPERATORS,
        "dexes": ({"name": "v3", "family": "uniswap_v3", "factory": "0x" + "fa" * 20},),
    }
    return ChainConfig.model_validate(values | changes)


def opportunity(gross_wei: int = 10**16, gas: int = 180_000, **changes: Any) -> Opportunity:
    """WETH → DAI → WETH with 1 WETH."""
    cycle = Cycle((Edge(POOL_A, 0, 1), Edge(POOL_B, 1, 0)), (WETH, DAI, WETH))
    amounts = (10**18, 1_800 * 10**18, 10**18 + gross_wei)
    return replace(Opportunity("ethereum", cycle, amounts, gross_wei, gas, 10, "0x" + "10" * 32), **changes)


def plan_context(base_fee_wei: int = 10**9, fees: FeeModel | None = None, **changes: Any) -> PlanContext:
    """Prices one to one."""
    model = fees or FeeModel()
    context = PlanContext(
        FAMILIES, BlockContext(11, 1_700_000_000, base_fee_wei), lambda _token, wei: wei, model.bid_fee
    )
    return replace(context, **changes)


def plan(number: int = 10, name: str = "p", pools: tuple[Address, Address] = (POOL_A, POOL_B)) -> Plan:
    """Found at block ``number``, to be included in the next one."""
    hops = (
        Hop(pools[0], "uniswap_v2", WETH, DAI, 0, 1, 10**18, 1_800 * 10**18),
        Hop(pools[1], "uniswap_v3", DAI, WETH, 1, 0, 1_800 * 10**18, 10**18 + 10**16),
    )
    return Plan(
        plan_id=f"{name}-{number}",
        chain="ethereum",
        hops=hops,
        profit_token=WETH,
        gross_profit_wei=10**16,
        min_profit_wei=10**15,
        value_native_wei=10**16,
        gas_limit=600_000,
        expected_gas=300_000,
        fee=FeeBid(3 * 10**9, 2 * 10**9, legacy=False),
        expected_net_native_wei=9 * 10**15,
        found_at_number=number,
        found_at_hash="0x" + f"{number:064x}",
        max_block_number=number + 1,
        lane="public",
        calldata=b"\x01" * 64,
    )


def attempt(of: Plan | None = None, nonce: int = 0, operator: Address = OPERATORS[0], **changes: Any) -> Attempt:
    """A sent trade."""
    trade = of or plan()
    tx_hash = "0x" + f"{trade.plan_id}|{operator}|{nonce}".encode().hex().rjust(64, "0")[-64:]
    made = Attempt(
        attempt_id=tx_hash,
        plan_id=trade.plan_id,
        chain="ethereum",
        kind=AttemptKind.TRADE,
        operator=operator,
        nonce=nonce,
        tx_hash=tx_hash,
        raw_tx=b"\x02raw",
        lane="public",
        max_block_number=trade.max_block_number,
    )
    return replace(made, **changes)


@dataclass(frozen=True)
class FakeReceipt:
    """What settlement reads of a receipt."""

    status: int = 1
    block_number: int = 11
    block_hash: str = "0x" + "0b" * 32
    tx_index: int = 1
    gas_used: int = 190_000
    effective_gas_price: int = 3 * 10**9
    logs: tuple[Log, ...] = ()


def log(address: Address, topics: tuple[str, ...], data: str, index: int = 0) -> Log:
    """An event of a transaction of block 11."""
    return Log(address, topics, data, 11, "0x" + "0b" * 32, "0x" + "77" * 32, 1, index)


def words(*values: int) -> str:
    """ABI words."""
    return "0x" + "".join(f"{value % (1 << 256):064x}" for value in values)


def transfer(token: Address, source: Address, destination: Address, amount_wei: int) -> Log:
    """An ERC-20 Transfer event."""
    indexed = tuple("0x" + who[2:].rjust(64, "0") for who in (source, destination))
    return log(token, (TRANSFER_TOPIC, *indexed), words(amount_wei))


def v2_swap(pool: Address, amounts_in: tuple[int, int], amounts_out: tuple[int, int]) -> Log:
    """A pair's Swap event."""
    who = ("0x" + EXECUTOR[2:].rjust(64, "0"),) * 2
    return log(pool, (V2_SWAP_TOPIC, *who), words(*amounts_in, *amounts_out))


def v3_swap(pool: Address, amount0: int, amount1: int) -> Log:
    """A V3 pool's Swap event; amounts are the pool's balance changes."""
    who = ("0x" + EXECUTOR[2:].rjust(64, "0"),) * 2
    return log(pool, (V3_SWAP_TOPIC, *who), words(amount0, amount1, 1 << 96, 10**18, -5))
