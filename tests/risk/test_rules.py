"""Rules by scope and time, with what is in flight; what configures them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from risk_examples import CLOCK, DAI, HEAD, POOLS, WETH, attempt_of, gate_with, landed, lost, plan_of, reason

from ouro.config.load import ConfigError, load_config
from ouro.config.model import RiskConfig
from ouro.config.risk import LimitRule, ScreeningConfig
from ouro.risk.approved import Approved
from ouro.risk.budget import Budgets
from ouro.risk.limits import worst_loss_wei
from ouro.risk.rules import facts_of
from ouro.risk.screening import ScreeningError, load_screening
from ouro.types import Hop, Refused

COIN = 10**18


def test_a_window_counts_what_is_in_flight_and_what_is_final_until_it_is_over(tmp_path: Path) -> None:
    clock = CLOCK()
    rules = [{"measure": "notional", "per": "minute", "max_wei": 2 * COIN + 10}]
    gate = gate_with(tmp_path, rules, clock)
    for number in range(2):
        assert isinstance(gate.check(plan_of(str(number), COIN + number), HEAD), Approved)
    assert reason(gate.check(plan_of("2", COIN + 2), HEAD)) == "limit_notional"
    clock.now_ms += 120_000  # in flight does not age
    assert reason(gate.check(plan_of("2", COIN + 2), HEAD)) == "limit_notional"
    first = plan_of("0", COIN)
    gate.on_outcome(attempt_of(first), first, lost(first))
    assert reason(gate.check(plan_of("2", COIN + 2), HEAD)) == "limit_notional"  # it was sent: it counts
    gate.release("ethereum", "1")
    assert isinstance(gate.check(plan_of("2", COIN + 2), HEAD), Approved)
    clock.now_ms += 60_000
    assert isinstance(gate.check(plan_of("3", COIN - 1), HEAD), Approved)


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ({"measure": "notional", "max_wei": COIN - 1}, "limit_notional"),
        ({"measure": "gas", "max_wei": 6 * 10**15 - 1}, "limit_gas"),
        ({"measure": "bid", "max_wei": 3 * 10**14 - 1}, "limit_bid"),
        ({"measure": "loss", "per": "day", "max_wei": 6 * 10**15 - 1}, "limit_loss"),
        ({"measure": "notional", "scope": "token", "only": DAI, "max_wei": COIN - 1}, "limit_notional"),
        (
            {"measure": "notional", "scope": "pool", "only": POOLS[1], "per": "hour", "max_wei": COIN - 1},
            "limit_notional",
        ),
        ({"measure": "gas", "scope": "strategy", "only": "cross_dex", "per": "hour", "max_wei": 1}, "limit_gas"),
        (
            {"measure": "concentration", "scope": "pool", "per": "day", "max_share_ppm": 999_999},
            "limit_concentration",
        ),
    ],
)
def test_each_measure_and_scope_to_the_wei(tmp_path: Path, rule: dict[str, Any], code: str) -> None:
    assert reason(gate_with(tmp_path, [rule]).check(plan_of("a"), HEAD)) == code
    unit = next(name for name in rule if name.startswith("max_"))
    enough = {**rule, unit: 10**18 * 2 if unit == "max_wei" else 1_000_000}
    assert isinstance(gate_with(tmp_path, [enough]).check(plan_of("a"), HEAD), Approved)
    if "only" in rule:
        other = {**rule, "only": "0x" + "99" * 20}
        assert isinstance(gate_with(tmp_path, [other]).check(plan_of("a"), HEAD), Approved)


def test_counted_rules(tmp_path: Path) -> None:
    clock = CLOCK()
    gate = gate_with(tmp_path, [{"measure": "messages", "per": "second", "max_count": 2}], clock)
    for number in range(2):
        assert isinstance(gate.check(plan_of(str(number), COIN + number), HEAD), Approved)
        gate.release("ethereum", str(number))
    assert reason(gate.check(plan_of("x", COIN + 9), HEAD)) == "limit_messages"
    clock.now_ms += 1_000
    assert isinstance(gate.check(plan_of("x", COIN + 9), HEAD), Approved)
    gate = gate_with(tmp_path, [{"measure": "open", "scope": "pool", "max_count": 1}], clock)
    assert isinstance(gate.check(plan_of("a"), HEAD), Approved)
    assert reason(gate.check(plan_of("b", COIN + 1), HEAD)) == "limit_open"
    gate.on_outcome(attempt_of(plan_of("a")), plan_of("a"), landed(plan_of("a")))
    assert isinstance(gate.check(plan_of("b", COIN + 1), HEAD), Approved)


def test_accounts_are_held_when_they_are_chosen(tmp_path: Path) -> None:
    gate = gate_with(tmp_path, [{"measure": "gas", "scope": "account", "per": "hour", "max_wei": 6 * 10**15}])
    for number in range(2):
        assert isinstance(gate.check(plan_of(str(number), COIN + number), HEAD), Approved)
    assert gate.admit_account(plan_of("0", COIN), "0x1") is None
    refused = gate.admit_account(plan_of("1", COIN + 1), "0x1")
    assert refused is not None
    assert refused.reason == "limit_gas"
    assert gate.admit_account(plan_of("1", COIN + 1), "0x2") is None


def test_tanks_are_watched_and_refills_proposed(tmp_path: Path) -> None:
    tank = {"refill_below_wei": COIN, "refill_to_wei": 3 * COIN, "stop_below_wei": 10**17}
    gate = gate_with(tmp_path, [], gas_tank=tank)
    plan = plan_of("a")
    gate.on_balance("ethereum", "0x1", 5 * 10**16)
    gate.on_balance("ethereum", "0x2", 2 * COIN)
    [refill] = gate.tanks("ethereum").proposals()
    assert (refill.operator, refill.amount_wei) == ("0x1", 3 * COIN - 5 * 10**16)
    written = json.loads((tmp_path / "risk" / "refills-ethereum.json").read_text())
    assert [row["operator"] for row in written["refills"]] == ["0x1"]
    assert isinstance(gate.check(plan, HEAD), Approved)
    refused = gate.admit_account(plan, "0x1")
    assert refused is not None
    assert refused.reason == "gas_tank"
    assert gate.admit_account(plan, "0x2") is None
    gate.on_balance("ethereum", "0x2", 0)
    assert reason(gate.check(plan_of("b", COIN + 1), HEAD)) == "gas_tank"


def test_inventory_is_what_hot_accounts_hold(tmp_path: Path) -> None:
    gate = gate_with(tmp_path, [{"measure": "inventory", "scope": "token", "max_wei": COIN}])
    gate.on_inventory("ethereum", DAI, COIN)
    assert isinstance(gate.check(plan_of("a"), HEAD), Approved)
    gate.on_inventory("ethereum", DAI, COIN + 1)
    assert reason(gate.check(plan_of("b", COIN + 1), HEAD)) == "limit_inventory"
    gate.on_inventory("ethereum", DAI, 0)
    assert isinstance(gate.check(plan_of("b", COIN + 1), HEAD), Approved)


class Rates:
    def __init__(self, rates: dict[str, float | None]) -> None:
        self.rates = rates

    def rate(self, hop: Hop) -> float | None:
        return self.rates.get(hop.pool)


def test_a_price_far_from_what_others_say_is_refused(tmp_path: Path) -> None:
    gate = gate_with(tmp_path, [], collar={"max_deviation_ppm": 100_000, "unreferenced": "allow"})
    for rate, code in (
        (2000.0, None),
        (2000 * 1.099, None),
        (2000 * 1.101, "price_collar"),
        (1800.0, "price_collar"),
    ):
        answer = gate.check(
            plan_of(f"p{rate}", COIN + int(rate)), replace(HEAD, references=Rates({POOLS[0]: rate}))
        )
        assert (answer.reason if isinstance(answer, Refused) else None) == code
    strict = gate_with(tmp_path, [], collar={"unreferenced": "refuse"})
    assert (
        reason(strict.check(plan_of("a"), replace(HEAD, references=Rates({POOLS[0]: 2000.0}))))
        == "no_reference_price"
    )
    assert reason(strict.check(plan_of("a"), HEAD)) == "no_reference_price"
    nonsense = replace(HEAD, references=Rates({POOLS[0]: float("nan"), POOLS[1]: 0.0}))
    assert reason(strict.check(plan_of("a"), nonsense)) == "no_reference_price"


def netted(*trades: tuple[str, str, str, int, int], profit: int, **changes: Any) -> Any:
    hops = tuple(
        Hop(pool, "uniswap_v2", token_in, token_out, 0, 1, amount_in, amount_out)
        for pool, token_in, token_out, amount_in, amount_out in trades
    )
    return plan_of("n", hops=hops, shape="netted", gross_profit_wei=profit, value_native_wei=profit,
                   expected_net_native_wei=profit // 2, **changes)  # fmt: skip


USDC = "0x" + "c0" * 20


def test_netted_plans_conserve_every_token(tmp_path: Path) -> None:
    good = netted(
        (POOLS[0], WETH, DAI, COIN, 2000 * COIN),
        (POOLS[1], DAI, USDC, 1200 * COIN, 1200 * COIN),
        (POOLS[2], DAI, WETH, 800 * COIN, 4 * 10**17),
        (POOLS[3], USDC, WETH, 1200 * COIN, 61 * 10**16),
        profit=10**16,
    )
    assert good.strategy == "netted"
    assert isinstance(gate_with(tmp_path, []).check(good, HEAD), Approved)
    hops = good.hops
    short = replace(hops[1], amount_in_wei=1200 * COIN + 1)
    rest = replace(hops[1], amount_in_wei=1100 * COIN)
    alone = (*hops, Hop("0x" + "77" * 20, "uniswap_v2", "0x" + "aa" * 20, "0x" + "bb" * 20, 0, 1, 5, 5),
             Hop("0x" + "78" * 20, "uniswap_v2", "0x" + "bb" * 20, "0x" + "aa" * 20, 0, 1, 5, 5))  # fmt: skip
    for wrong in (
        replace(good, hops=(hops[0], short, *hops[2:])),
        replace(good, hops=(hops[0], rest, *hops[2:])),
        replace(good, hops=alone),
        replace(good, hops=(*hops, hops[0])),
        replace(good, gross_profit_wei=10**16 + 1),
        replace(good, shape="other"),
        replace(good, shape="cycle"),
        replace(good, hops=hops[:1]),
    ):
        assert reason(gate_with(tmp_path, []).check(wrong, HEAD)) == "bad_plan"
    # One unit of rounding may stay.
    dust = replace(hops[1], amount_in_wei=1200 * COIN - 1)
    assert isinstance(gate_with(tmp_path, []).check(replace(good, hops=(hops[0], dust, *hops[2:])), HEAD), Approved)
    assert facts_of(good).notional_wei >= COIN


def test_screening_is_known_by_hash_and_date(tmp_path: Path) -> None:
    file = tmp_path / "list.json"
    now = 1_795_000_000.0  # 2026-11-18

    def load(content: Any, **changes: Any) -> Any:
        file.write_text(content if isinstance(content, str) else json.dumps(content))
        return load_screening(ScreeningConfig(file=file, **changes), now)

    good = {"as_of": "2026-11-10", "deny": [POOLS[0].upper().replace("0X", "0x")]}
    screening = load(good)
    gate = gate_with(tmp_path, [])
    gate.equip("ethereum", screening=screening)
    answer = gate.check(plan_of("a"), HEAD)
    assert reason(answer) == "screened"
    assert (
        load({"as_of": "2026-11-10", "allow": [*POOLS[:2], WETH, DAI]}, mode="allow_only").plan_problem(
            plan_of("a")
        )
        == ""
    )
    assert "not allowed" in load(
        {"as_of": "2026-11-10", "allow": [POOLS[0], WETH, DAI]}, mode="allow_only"
    ).plan_problem(plan_of("a"))
    assert load_screening(ScreeningConfig()) is None
    for content, changes, words in (
        (good, {"sha256": "0" * 64}, "sha256"),
        (good, {"max_age_days": 5}, "days old"),
        ({"as_of": "2027-01-01", "deny": []}, {}, "yet to come"),
        ({"as_of": "soon", "deny": []}, {}, "no date"),
        ({"as_of": "2026-11-10", "deny": ["0x12"]}, {}, "deny[0]"),
        (
            {"as_of": "2026-11-10", "allow": POOLS[:1], "deny": POOLS[:1]},
            {"mode": "allow_only"},
            "denies and allows",
        ),
        ({"as_of": "2026-11-10"}, {"mode": "allow_only"}, "allow is no list"),
        ("not json", {}, "not JSON"),
        ([], {}, "no table"),
    ):
        with pytest.raises(ScreeningError, match=words.replace("[", r"\[")):
            load(content, **changes)
    file.unlink()
    with pytest.raises(ScreeningError, match="can't be read"):
        load_screening(ScreeningConfig(file=file))


def rule_error(rules: list[dict[str, Any]]) -> str:
    with pytest.raises(ValidationError) as caught:
        RiskConfig.model_validate({"limits": rules})
    return str(caught.value)


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ([{"measure": "notional", "max_count": 3}], "max_wei is the unit"),
        ([{"measure": "open", "max_wei": 3}], "max_count is the unit"),
        ([{"measure": "notional", "scope": "all", "max_wei": 3}], "max_usd_cents is the unit"),
        ([{"measure": "notional"}], "it has none"),
        ([{"measure": "notional", "max_wei": -5}], "limits.0.max_wei"),
        ([{"measure": "sharpe", "max_wei": 5}], "limits.0.measure"),
        ([{"measure": "messages", "max_count": 5}], "per: messages"),
        ([{"measure": "open", "per": "day", "max_count": 5}], "per: open"),
        ([{"measure": "gas", "only": "x", "max_wei": 5}], "only: scope"),
        ([{"measure": "gas", "from_wei": 5, "max_wei": 5}], "from_wei"),
        ([{"measure": "concentration", "per": "day", "max_share_ppm": 5}], "needs scope"),
        (
            [{"measure": "gas", "per": "hour", "max_wei": 9}, {"measure": "gas", "per": "day", "max_wei": 8}],
            "gas per hour",
        ),
        ([{"measure": "gas", "max_wei": 9}, {"measure": "gas", "max_wei": 8}], "which one"),
        ([{"measure": "gas", "max_wei": 9}, {"measure": "gas", "max_wei": 9}], "twice"),
    ],
)
def test_rules_that_make_no_sense_are_refused_by_name(rules: list[dict[str, Any]], words: str) -> None:
    assert words in rule_error(rules)


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("[risk.breakers.drawdwon]\nthrottle_ppm = 5", "drawdwon: is not a known key; did you mean 'drawdown'"),
        ("[risk.breakers.drawdown]\nthrottle_ppm = 40000", "must ascend"),
        ("[risk.breakers.reverts]\nmax_reverts = -1", "risk.breakers.reverts.max_reverts"),
        ("[risk]\nmax_daily_loss_wei = -1", "risk.max_daily_loss_wei"),
        ("[risk.gas_tank]\nrefill_below_wei = 5\nrefill_to_wei = 4", "risk.gas_tank"),
        ("[risk.screening]\nsha256 = 'abc'", "risk.screening.sha256"),
        ("[[risk.limits]]\nmeasure = 'gas'\nmax_wei = 1.5", "risk.limits.0.max_wei"),
    ],
)
def test_a_wrong_risk_section_stops_the_start_and_names_the_field(tmp_path: Path, toml: str, words: str) -> None:
    file = tmp_path / "ouro.toml"
    file.write_text(
        f'{toml}\n[chains.one]\nchain_id = 5\nendpoints = ["ws://127.0.0.1:1"]\nblock_time_ms = 1000\n'
        f'wrapped_native = "{WETH}"\nmulticall = "{WETH}"\n'
        f'[[chains.one.dexes]]\nname = "a"\nfamily = "uniswap_v2"\nfactory = "{DAI}"\nfee_ppm = 3000\n'
    )
    with pytest.raises(ConfigError) as caught:
        load_config(file, {})
    assert words in str(caught.value)


def test_budgets_over_all_chains_hold_over_their_holders(tmp_path: Path) -> None:
    rules = [LimitRule.model_validate({"measure": "loss", "scope": "all", "per": "day", "max_usd_cents": 3_000})]
    one, other = (Budgets.of(name, rules, tmp_path / "budgets.json") for name in ("ethereum", "fantom"))
    facts = facts_of(plan_of("a"))  # may lose 0.006 coins: 12.00 USD at 2,000
    assert one.problem(facts, 2_000.0, 1_000) is None
    one.hold("a", facts, 2_000.0, 1_000)
    assert other.problem(facts, 2_000.0, 1_000) is None
    other.hold("b", facts, 2_000.0, 1_000)
    refused = other.problem(facts, 2_000.0, 1_000)
    assert refused is not None
    assert refused[0] == "global_budget"
    assert one.problem(facts, 2_000.0, 1_000) is not None
    no_price = one.problem(facts, None, 1_000)
    assert no_price is not None
    assert no_price[0] == "no_usd_price"
    # What did not lose makes room, also for the other one, once its lease is over.
    plan = plan_of("a")
    one.settle("a", lost(plan, gas_wei=0), 0, 2_000)
    assert one.problem(facts, 2_000.0, 3_000) is None
    later = 1_000 + 3 * 86_400_000
    assert other.problem(facts, 2_000.0, later) is None
    (tmp_path / "budgets.json").write_text("{")
    broken = Budgets.of("base", rules, tmp_path / "budgets.json").problem(facts, 2_000.0, 1_000)
    assert broken is not None
    assert "damaged" in broken[1]


def test_a_restart_knows_the_windows_and_the_orders_of_before(tmp_path: Path) -> None:
    clock = CLOCK()
    plan = plan_of("a")
    worst = worst_loss_wei(plan)
    gate = gate_with(tmp_path, [{"measure": "loss", "per": "hour", "max_wei": 2 * worst - 1}], clock)

    class Record:
        attempt, outcome, outcome_at_ms = attempt_of(plan), lost(plan, gas_wei=worst), clock.now_ms - 1_000

    Record.plan = plan  # type: ignore[attr-defined]
    gate.restore_windows([Record()], {Record.attempt.attempt_id: -worst})  # pyright: ignore[reportArgumentType]
    assert reason(gate.check(plan_of("z"), HEAD)) == "duplicate"
    assert reason(gate.check(plan_of("b", COIN + 1), HEAD)) == "limit_loss"
    clock.now_ms += 3_600_000
    assert isinstance(gate.check(plan_of("b", COIN + 1), HEAD), Approved)


def test_open_places_over_all_chains_are_free_again_when_they_end(tmp_path: Path) -> None:
    rules = [LimitRule(measure="open", scope="all", max_count=2)]
    path = tmp_path / "budgets.json"
    facts = facts_of(plan_of("a"))
    one, other = (Budgets.of(name, rules, path) for name in ("ethereum", "fantom"))
    for plan_id in ("a", "b"):
        assert one.problem(facts, None, 1_000) is None
        one.hold(plan_id, facts, None, 1_000)
    assert other.problem(facts, None, 1_000) is not None
    one.release("a")
    assert other.problem(facts, None, 1_000) is None
    other.hold("c", facts, None, 1_000)
    assert one.problem(facts, None, 1_000) is not None
    one.release("b")
    assert one.file.leased("open per trade", "ethereum") == 0
    # A chain that is taken out of the configuration keeps nothing.
    third = Budgets.of("base", rules, path, {"base", "ethereum"})
    for plan_id in ("d", "e"):
        assert third.problem(facts, None, 1_000) is None
        third.hold(plan_id, facts, None, 1_000)
    # What a process that died had leased beyond what is under way is free as well.
    again = Budgets.of("base", rules, path, {"base", "ethereum"})
    again.hold("d", facts, None, 1_000)
    assert again.problem(facts, None, 1_000) is None
    again.release("d")
    assert again.file.leased("open per trade", "base") == 0
