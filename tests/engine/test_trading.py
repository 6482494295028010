"""Plans that are carried out on a real chain, and on paper beside it."""

import sqlite3
from dataclasses import replace

import pytest
from engine_bench import Bench, clock
from execution_examples import plan  # pyright: ignore[reportMissingImports]

from ouro.engine.bookkeeping import record_openings
from ouro.engine.trading import check_preflight, run_as_sent
from ouro.execution.preflight import Preflight, PreflightResult
from ouro.execution.settlement import predicted_amounts
from ouro.ledger.reconcile import reconcile
from ouro.types import Mode, OutcomeKind, Rollback

GWEI = 10**9
GOOD = PreflightResult(True, 10**16, 250_000, 400_000, None, "", (), ())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"ok": False, "revert_kind": "competitive", "revert_reason": "K"}, "preflight_moved"),
        ({"ok": False, "revert_kind": "bug", "revert_reason": "x"}, "preflight_failed"),
        ({"ok": False, "revert_kind": None}, "preflight_failed"),
        ({"realised_profit_wei": 10**16 - 1}, "preflight_differs"),
        ({"realised_profit_wei": 10**16 + 1}, "preflight_differs"),
        ({"gas_limit": 600_001}, "preflight_gas"),
        ({"gas_limit": 600_000}, None),
        # 10^16 wei of value pays 3 gwei for exactly 3,333,333 gas.
        ({"gas_used": 3_333_333}, None),
        ({"gas_used": 3_333_334}, "preflight_unprofitable"),
    ],
)
def test_what_the_evm_says_decides(changes: dict[str, object], reason: str | None) -> None:
    refused = check_preflight(plan(), replace(GOOD, **changes), GWEI)
    assert (None if refused is None else refused.reason) == reason


def test_the_price_is_what_would_be_paid_not_the_most_that_is_offered() -> None:
    made, result = plan(), replace(GOOD, gas_used=4_000_000)
    assert check_preflight(made, result, GWEI) is not None
    assert check_preflight(made, result, 0) is None  # 2 gwei of tip alone
    legacy = replace(made, fee=replace(made.fee, legacy=True))
    assert check_preflight(legacy, result, 0) is not None


@pytest.mark.node
async def test_live_plans_land_as_predicted_and_free_what_they_held(bench: Bench) -> None:
    update = await bench.mine()
    decision = bench.decide(update)
    plans = decision.plans[:3]
    assert len(plans) == 3
    trader, nonces = await bench.live()
    done = await trader.execute(bench.approve(plans, Mode.LIVE, update), update, clock())
    assert len(done) == 3
    assert bench.refused == []
    head = update.number
    assert trader.locked(head) == {pool for each in plans for pool in each.pools}
    assert trader.locked(head + 1) == frozenset()
    assert nonces.free() == len(nonces.operators) - 3
    assert trader.unfinal(head) == 3

    update = await bench.mine()
    trader.applied(update)
    # By their own events, before any receipt was asked for.
    assert nonces.free() == len(nonces.operators)
    assert trader.locked(head) == frozenset()
    await trader.settle(update)
    outcomes = {attempt.plan_id: outcome for attempt, _, outcome in bench.heard if outcome}
    for each in plans:
        outcome = outcomes[each.plan_id]
        assert outcome.kind is OutcomeKind.LANDED
        assert outcome.realised_amounts_wei == predicted_amounts(each)
        assert outcome.realised_profit_wei == each.gross_profit_wei
    for submitted in done:
        sent = await bench.node.call("eth_getTransactionByHash", [submitted.attempt.tx_hash])
        assert sent["accessList"]
    assert trader.unfinal(update.number) == 3
    for _ in range(bench.config.finality_depth):
        update = await bench.mine()
    assert trader.unfinal(update.number) == 0


@pytest.mark.node
async def test_pre_flight_counts_the_list_that_is_sent(bench: Bench) -> None:
    update = await bench.mine()
    made = bench.decide(update).plans[0]
    state = bench.state
    assert state.shadow is not None
    preflight, operator = Preflight(state.shadow), bench.config.operators[0]
    plain = preflight.run(made.calldata, operator, state.market.context, made.hops)
    listed, result = run_as_sent(preflight, state, made, operator)
    assert listed
    assert 0 < plain.gas_used - result.gas_used < 5_000
    legacy = replace(made, fee=replace(made.fee, legacy=True))
    assert run_as_sent(preflight, state, legacy, operator) == ((), plain)
    # Where data is charged apart, the owner turns lists off.
    state.config, kept = state.config.model_copy(update={"access_lists": "off"}), state.config
    try:
        assert run_as_sent(preflight, state, made, operator) == ((), plain)
    finally:
        state.config = kept

    trader, _ = await bench.live([operator])
    [done] = await trader.execute(bench.approve([made], Mode.LIVE, update), update, clock())
    update = await bench.mine()
    receipt = await bench.node.call("eth_getTransactionReceipt", [done.attempt.tx_hash])
    assert receipt["status"] == "0x1"
    assert int(receipt["gasUsed"], 16) == result.gas_used


@pytest.mark.node
async def test_more_plans_than_accounts(bench: Bench) -> None:
    update = await bench.mine()
    plans = bench.decide(update).plans[:2]
    trader, nonces = await bench.live(bench.config.operators[:1])
    done = await trader.execute(bench.approve(plans, Mode.LIVE, update), update, clock())
    assert [submitted.attempt.plan_id for submitted in done] == [plans[0].plan_id]
    assert [(each.plan_id, each.reason) for each in bench.refused] == [(plans[1].plan_id, "no_free_operator")]
    # Nothing is mined for it in time: its nonce is taken back, and the account is free again.
    await bench.node.call("anvil_dropTransaction", [done[0].attempt.tx_hash])
    update = await bench.mine()
    trader.applied(update)
    await trader.settle(update)
    assert nonces.free() == 0
    update = await bench.mine()
    trader.applied(update)
    await trader.settle(update)
    kinds = {attempt.kind.value: outcome.kind for attempt, _, outcome in bench.heard if outcome}
    assert kinds == {"trade": OutcomeKind.DROPPED, "cancel": OutcomeKind.LANDED}
    assert nonces.free() == 1


@pytest.mark.node
async def test_a_plan_that_somebody_took_first_is_lost_and_the_books_agree_with_the_chain(bench: Bench) -> None:
    update = await bench.mine()
    plans = bench.decide(update).plans[:1]
    trader, _ = await bench.live(bench.config.operators[:1])
    me = bench.config.model_copy(update={"operators": bench.config.operators[:1], "owner": None})
    await record_openings("ethereum", me, bench.ledger, bench.node, update.number, ())
    await trader.execute(bench.approve(plans, Mode.LIVE, update), update, clock())
    await bench.steal(plans[0])
    update = await bench.mine()
    trader.applied(update)
    await trader.settle(update)
    [(_, _, outcome)] = bench.heard
    assert outcome is not None
    assert outcome.kind is OutcomeKind.LOST
    assert outcome.gas_cost_wei > 0
    bench.ledger.flush()
    result = await reconcile(bench.ledger.books, "ethereum", bench.node, update.number)
    assert (result.balances_checked, result.differences) == (4, ())


@pytest.mark.node
async def test_paper_earns_what_the_next_real_block_leaves(bench: Bench) -> None:
    update = await bench.mine()
    plans = bench.decide(update, "paper").plans[:3]
    trader = bench.paper()
    done = await trader.execute(bench.approve(plans, Mode.PAPER, update), update, clock())
    assert len(done) == 3
    assert trader.unfinal(update.number) == 3
    assert trader.locked(update.number) == frozenset()
    # In the next block somebody else takes the second one.
    await bench.steal(plans[1])
    update = await bench.mine()
    trader.applied(update)
    outcomes = {attempt.plan_id: outcome for attempt, _, outcome in bench.heard if outcome}
    assert outcomes[plans[0].plan_id].kind is OutcomeKind.LANDED
    assert outcomes[plans[0].plan_id].realised_amounts_wei == predicted_amounts(plans[0])
    assert outcomes[plans[0].plan_id].block_hash == update.hash
    price = (update.base_fee_wei or 0) + plans[0].fee.max_priority_fee_per_gas_wei
    assert outcomes[plans[0].plan_id].gas_cost_wei == outcomes[plans[0].plan_id].gas_used * price
    assert outcomes[plans[1].plan_id].kind is OutcomeKind.LOST
    assert outcomes[plans[1].plan_id].realised_profit_wei == 0
    assert trader.unfinal(update.number) == 0
    bench.ledger.flush()
    assert {record.state for record in bench.ledger.books.attempts()} == {"final"}


@pytest.mark.node
async def test_paper_plans_whose_block_passed_or_was_orphaned_expire(bench: Bench) -> None:
    update = await bench.mine()
    trader = bench.paper()
    first, second = bench.approve(bench.decide(update, "paper").plans[:2], Mode.PAPER, update)
    await trader.execute([first], update, clock())
    await bench.mine()
    update = await bench.mine()
    trader.applied(update)
    assert bench.heard[-1][2] is not None
    assert bench.heard[-1][2].kind is OutcomeKind.EXPIRED
    await trader.execute([second], update, clock())
    expected = len(bench.heard) + trader.unfinal(update.number)
    await trader.rolled_back(Rollback("ethereum", update.number - 2, "0x" + "00" * 32, ()))
    assert len(bench.heard) == expected
    assert all(outcome is not None and outcome.kind is OutcomeKind.EXPIRED for _, _, outcome in bench.heard)


@pytest.mark.node
@pytest.mark.parametrize("mode", [Mode.PAPER, Mode.LIVE])
async def test_locked_books_refuse_trades_and_nothing_else(bench: Bench, mode: Mode) -> None:
    update = await bench.mine()
    approved = bench.approve(bench.decide(update).plans[:1], mode, update)
    trader = bench.paper() if mode is Mode.PAPER else (await bench.live())[0]
    holder = sqlite3.connect(bench.folder / "ledger.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        assert await trader.execute(approved, update, clock()) == []
    finally:
        holder.execute("ROLLBACK")
        holder.close()
    assert [each.reason for each in bench.refused] == ["journal"]
    update = await bench.mine()
    trader.applied(update)
    assert bench.heard == []
