"""``ouro why`` and ``ouro trades``: every opportunity's story, whatever became of it."""

import json
from typing import Any

import pytest

from ouro.monitoring.story.reasons import MEANINGS, meaning
from ouro.monitoring.story.words import amount, coins
from ouro.monitoring.trades import FilterError, moment_ms
from ouro.risk.limits import Reason

from .conftest import COIN, GAS_WEI, Instance, Ouro


def told(ouro: Ouro, instance: Instance, which: str, *options: str) -> dict[str, Any]:
    said = ouro("why", instance.trades[which], "--config", instance.file, "--json", *options)
    assert said.code == 0, said.err
    return json.loads(said.out)


def test_what_landed_as_simulated_adds_up_to_the_wei(ouro: Ouro, instance: Instance) -> None:
    story = told(ouro, instance, "landed")
    assert story["verdict"] == "landed"
    steps = {item["step"]: item["wei"] for item in story["waterfall_native_wei"]}
    assert steps == {
        "worth as found": COIN // 100,
        "bribe": -COIN // 1_000,
        "gas": -GAS_WEI,
        "net": COIN // 100 - COIN // 1_000 - GAS_WEI,
    }
    assert sum(wei for step, wei in steps.items() if step != "net") == steps["net"]
    [attempt] = story["attempts"]
    assert attempt["outcome"]["as_predicted"] is True
    assert attempt["since_socket_us"] == {"decided": 2_000, "signed": 5_000, "sent": 9_000}
    assert [hop["realised_out_wei"] for hop in story["hops"]] == [2_000 * COIN, COIN + COIN // 100]


def test_what_moved_before_inclusion_is_a_step(ouro: Ouro, instance: Instance) -> None:
    story = told(ouro, instance, "moved")
    steps = {item["step"]: item["wei"] for item in story["waterfall_native_wei"]}
    assert steps["moved before inclusion"] == COIN // 200 - (COIN // 100 - COIN // 1_000)
    assert sum(wei for step, wei in steps.items() if step != "net") == steps["net"]
    said = ouro("why", instance.trades["moved"], "--config", instance.file)
    assert "not as simulated" in said.out
    assert "in fact" in said.out


def test_what_was_lost_cost_its_gas(ouro: Ouro, instance: Instance) -> None:
    said = ouro("why", instance.trades["lost"], "--config", instance.file)
    assert said.code == 0
    assert "was sent and lost to somebody else" in said.out
    assert "NotEnough()" in said.out
    assert f"net {coins(-GAS_WEI, plus=True):>27}".split() == said.out.splitlines()[-1].split()


def test_a_nonce_that_was_taken_back_counts(ouro: Ouro, instance: Instance) -> None:
    story = told(ouro, instance, "expired")
    assert {item["kind"] for item in story["attempts"]} == {"trade", "cancel"}
    assert story["waterfall_native_wei"][-1] == {"step": "net", "wei": -GAS_WEI}
    assert "Its nonce was taken back" in ouro("why", instance.trades["expired"], "--config", instance.file).out


def test_what_may_still_land_is_shown_only_when_asked_for(ouro: Ouro, instance: Instance) -> None:
    said = ouro("why", instance.trades["open"], "--config", instance.file)
    assert said.code == 0
    assert "is under way" in said.out
    whole = json.dumps(told(ouro, instance, "open")) + said.out
    for secret in ("0x4444", "0x5555", "uniswap", "0x04c0"):
        assert secret not in whole
    assert "--show-open" in said.out
    shown = told(ouro, instance, "open", "--show-open")
    assert shown["hops"][0]["pool"].startswith("0x4444")
    rows = json.loads(ouro("trades", "--config", instance.file, "--outcome", "open", "--json").out)["trades"]
    assert rows[0]["pools"] == rows[0]["tx_hash"] == "redacted"


def test_what_was_refused_is_found_by_the_books_and_by_the_trail(ouro: Ouro, instance: Instance) -> None:
    said = ouro("why", instance.trades["refused"], "--config", instance.file)
    assert said.code == 0
    assert "was refused" in said.out
    assert "the day's loss could have passed its limit (1 above 0)  [max_daily_loss]" in said.out
    said = ouro("why", instance.trades["trail"], "--config", instance.file)
    assert said.code == 0, said.err
    assert "too old to trade on (pool too old)  [stale]" in said.out
    assert "+0.005 coins were expected" in said.out
    assert "1,000 → 7 units" in said.out
    assert f"on block 13 of {instance.chain}" in said.out


def test_transactions_and_beginnings_name_it_too(ouro: Ouro, instance: Instance) -> None:
    for name in ("0x00c0c0", instance.trades["landed"][:-6]):
        said = ouro("why", name, "--config", instance.file, "--json")
        assert json.loads(said.out)["id"] == instance.trades["landed"], said.err
    said = ouro("why", f"{instance.chain}-10", "--config", instance.file)
    assert said.code == 1
    assert "is the beginning of" in said.err
    said = ouro("why", "0xffffff", "--config", instance.file)
    assert said.code == 1
    assert "ouro trades" in said.err
    assert ouro("why", "%%%%", "--config", instance.file).code == 1
    assert "too short" in ouro("why", "0x0", "--config", instance.file).err


def test_trades_by_filter_and_page(ouro: Ouro, instance: Instance) -> None:
    def listed(*options: object) -> dict[str, Any]:
        said = ouro("trades", "--config", instance.file, "--json", *options)
        assert said.code == 0, said.err
        return json.loads(said.out)

    assert listed()["total"] == 5
    assert listed("--cancels")["total"] == 6
    assert {row["outcome"] for row in listed("--outcome", "lost", "--outcome", "open")["trades"]} == {
        "lost",
        "open",
    }
    assert listed("--since", "1h")["total"] == 5
    assert listed("--until", "2020-01-01")["total"] == 0
    assert listed("--lane", "private")["total"] == 0
    pages = [listed("--limit", 2, "--page", page) for page in (1, 2, 3, 4)]
    ids = [row["plan_id"] for page in pages for row in page["trades"]]
    assert len(ids) == len(set(ids)) == 5
    assert pages[0]["pages"] == 3
    shown = ouro("trades", "--config", instance.file, "--limit", "2").out
    assert "page 1 of 3, 5 in all; next: --page 2" in shown
    assert "+0.006" in ouro("trades", "--config", instance.file, "--outcome", "landed").out
    refused = ouro("trades", "--config", instance.file, "--refused").out
    assert instance.trades["refused"] in refused
    [line] = listed("--refused", "--reason", "max_daily_loss")["refused"]
    assert line["meaning"] == MEANINGS["max_daily_loss"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--outcome", "won"), "landed, lost, reverted, expired, dropped, open"),
        (("--since", "yesterday"), "2h or 7d ago"),
        (("--chain", "mars"), "it has"),
        (("--reason", "stale"), "add --refused"),
    ],
)
def test_a_wrong_filter_is_told(ouro: Ouro, instance: Instance, options: tuple[str, ...], says: str) -> None:
    said = ouro("trades", "--config", instance.file, *options)
    assert said.code == 2
    assert says in said.err


def test_moments() -> None:
    assert moment_ms("90s", 1_000_000) == 910_000
    assert moment_ms("1970-01-01T00:00:01") == 1_000
    assert moment_ms("1970-01-01T01:00:01+01:00") == 1_000
    with pytest.raises(FilterError):
        moment_ms("2x")


def test_every_reason_of_the_gate_has_words() -> None:
    assert {reason.value for reason in Reason} <= MEANINGS.keys()
    assert meaning("signer_max_gas") == "the signer refused it (max gas)"
    assert meaning("something_new") == "something new"


def test_amounts_are_exact_and_no_longer_than_they_are() -> None:
    assert coins(0) == "0"
    assert coins(10**18) == "1"
    assert coins(-1) == "-0.000000000000000001"
    assert coins(15 * 10**17, plus=True) == "+1.5"
    assert amount(1_234_567_890, 6, "USDC", "0x") == "1,234.56789 USDC"
    assert amount(12_345, None, "", "0x" + "a" * 40) == "12,345 units of 0xaaaaaaaa…"
