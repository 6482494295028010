"""Plans, attempts and outcomes with plausible contents."""

from dataclasses import replace

from ouro.ledger.entries import balance_entries
from ouro.ledger.ledger import Ledger
from ouro.types import Attempt, AttemptKind, FeeBid, Hop, Outcome, OutcomeKind, Plan, Transfer

OPERATOR, OWNER, EXECUTOR, POOL_A, POOL_B = ("0x" + digit * 40 for digit in "12345")
WETH, DAI = "0x" + "ee" * 20, "0x" + "da" * 20
OWNED = frozenset({OPERATOR, OWNER, EXECUTOR})
PROFIT = 2**255 + 7
GAS_COST = 3 * 10**15 + 1


def plan(name: str = "1", chain: str = "ethereum", block: int = 10) -> Plan:
    hops = (
        Hop(POOL_A, "uniswap_v2", WETH, DAI, 0, 1, 10**18, 5 * 10**21),
        Hop(POOL_B, "uniswap_v3", DAI, WETH, 1, 0, 5 * 10**21, 10**18 + PROFIT),
    )
    return Plan(
        plan_id=f"plan-{name}",
        chain=chain,
        hops=hops,
        profit_token=WETH,
        gross_profit_wei=PROFIT,
        min_profit_wei=1,
        value_native_wei=PROFIT,
        gas_limit=300_000,
        expected_gas=200_000,
        fee=FeeBid(30 * 10**9, 10**9, legacy=False),
        expected_net_native_wei=PROFIT - GAS_COST,
        found_at_number=block,
        found_at_hash="0x" + "ab" * 32,
        max_block_number=block + 1,
        lane="public",
        calldata=bytes(range(200)),
    )


def attempt(name: str = "1", chain: str = "ethereum", nonce: int = 0) -> Attempt:
    return Attempt(
        attempt_id=f"attempt-{name}",
        plan_id=f"plan-{name}",
        chain=chain,
        kind=AttemptKind.TRADE,
        operator=OPERATOR,
        nonce=nonce,
        tx_hash=f"0x{name:0>64}",
        raw_tx=b"\x02\xf8" + name.encode(),
        lane="public",
        max_block_number=11,
    )


def cancel(name: str, of: Attempt) -> Attempt:
    base = attempt(name, of.chain, of.nonce)
    return replace(base, kind=AttemptKind.CANCEL, plan_id=of.plan_id, replaces=of.attempt_id)


def landed(name: str = "1", block: int = 11, block_hash: str = "0x" + "0b" * 32) -> Outcome:
    return Outcome(
        attempt_id=f"attempt-{name}",
        kind=OutcomeKind.LANDED,
        block_number=block,
        block_hash=block_hash,
        gas_used=190_000,
        gas_cost_wei=GAS_COST,
        realised_profit_wei=PROFIT,
        realised_amounts_wei=(10**18, 5 * 10**21, 10**18 + PROFIT),
        transfers=(
            Transfer(WETH, POOL_B, EXECUTOR, 10**18 + PROFIT),
            Transfer(WETH, EXECUTOR, POOL_A, 10**18),
            Transfer(DAI, POOL_A, POOL_B, 5 * 10**21),
            Transfer(WETH, EXECUTOR, OWNER, PROFIT),
        ),
        reason="",
    )


def failed(name: str, kind: OutcomeKind, block: int = 11) -> Outcome:
    included = kind in (OutcomeKind.LOST, OutcomeKind.REVERTED)
    return Outcome(
        attempt_id=f"attempt-{name}",
        kind=kind,
        block_number=block if included else None,
        block_hash="0x" + "0b" * 32 if included else None,
        gas_used=60_000 if included else 0,
        gas_cost_wei=GAS_COST if included else 0,
        realised_profit_wei=0,
        realised_amounts_wei=(),
        transfers=(),
        reason="StaleBlock" if included else "",
    )


def book(ledger: Ledger, outcome: Outcome) -> None:
    ledger.record_outcome(outcome, balance_entries(outcome, OPERATOR, OWNED))


def journal(ledger: Ledger, name: str = "1", chain: str = "ethereum", nonce: int = 0) -> Attempt:
    made = attempt(name, chain, nonce)
    ledger.journal_attempt(made, plan(name, chain), decided_us=900, signed_us=1_500).result(30)
    return made
