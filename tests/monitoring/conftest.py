"""The command as a person calls it, and books with a few trades in them."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ouro.audit import AuditChain
from ouro.cli.main import main
from ouro.config.load import load_config
from ouro.config.model import OuroConfig
from ouro.ledger.entries import balance_entries
from ouro.ledger.ledger import Ledger
from ouro.ledger.records import BlockStats
from ouro.types import Attempt, AttemptKind, FeeBid, Hop, Outcome, OutcomeKind, Plan, Refused

EXAMPLE = Path(__file__).parents[2] / "docs" / "ouro.example.toml"
COIN = 10**18
WETH, DAI = "0x" + "ee" * 20, "0x" + "da" * 20
OPERATOR, POOL_A, POOL_B = ("0x" + digit * 40 for digit in "145")
GAS_WEI = 3 * 10**15


@dataclass(frozen=True)
class Said:
    """What a call gave."""

    code: int
    out: str
    err: str


Ouro = Callable[..., Said]


@pytest.fixture
def ouro(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Ouro:
    """``ouro("status", "--json")`` → exit code, stdout, stderr."""
    monkeypatch.setenv("COLUMNS", "250")

    def call(*arguments: object) -> Said:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["ouro", *map(str, arguments)])
        code: object = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
        out, err = capfd.readouterr()
        assert isinstance(code, int)
        assert "Traceback" not in out + err
        return Said(code, out, err)

    return call


def plan(chain: str, name: str, block: int = 10) -> Plan:
    hops = (
        Hop(POOL_A, "uniswap_v2", WETH, DAI, 0, 1, COIN, 2_000 * COIN),
        Hop(POOL_B, "uniswap_v3", DAI, WETH, 1, 0, 2_000 * COIN, COIN + COIN // 100),
    )
    return Plan(
        plan_id=f"{chain}-{block}-{name}",
        chain=chain,
        hops=hops,
        profit_token=WETH,
        gross_profit_wei=COIN // 100,
        min_profit_wei=1,
        value_native_wei=COIN // 100,
        gas_limit=300_000,
        expected_gas=200_000,
        fee=FeeBid(30 * 10**9, 10**9, legacy=False),
        expected_net_native_wei=COIN // 100 - GAS_WEI,
        found_at_number=block,
        found_at_hash="0x" + "ab" * 32,
        max_block_number=block + 1,
        lane="public",
        calldata=b"",
        bribe_wei=COIN // 1_000,
    )


def attempt(of: Plan, nonce: int, kind: AttemptKind = AttemptKind.TRADE, replaces: str | None = None) -> Attempt:
    name = f"0x{nonce:02x}" + "c0" * 31
    return Attempt(name, of.plan_id, of.chain, kind, OPERATOR, nonce, name, b"x", of.lane, 11, replaces)


def outcome(of: Attempt, kind: OutcomeKind, profit: int = 0, reason: str = "") -> Outcome:
    included = kind in (OutcomeKind.LANDED, OutcomeKind.LOST, OutcomeKind.REVERTED)
    amounts = (COIN, 2_000 * COIN, COIN + profit + COIN // 1_000) if kind is OutcomeKind.LANDED else ()
    return Outcome(
        of.attempt_id,
        kind,
        11 if included else None,
        "0x" + "0b" * 32 if included else None,
        190_000 if included else 0,
        GAS_WEI if included else 0,
        profit,
        amounts,
        (),
        reason,
    )


@dataclass(frozen=True)
class Instance:
    """A configuration file with books beside it. ``trades``: plan id by what became of it."""

    file: Path
    config: OuroConfig
    chain: str
    trades: dict[str, str]


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    """Landed, landed otherwise than simulated, lost, expired with its cancel, open, and refused."""
    file = tmp_path / "an instance" / "ouro.toml"
    file.parent.mkdir()
    file.write_text(EXAMPLE.read_text())
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OURO_")}
    config = load_config(file, environment)
    chain = next(iter(config.chains))
    plans = {
        name: plan(chain, f"{name}{place:016x}"[:16])
        for place, name in enumerate(("landed", "moved", "lost", "expired", "open"))
    }
    ledger = Ledger.open(config.ledger.url)
    try:
        ledger.start_session(mode="live", config_hash="c", code_version="v")
        ledger.record_block(chain, BlockStats(11, 53, 700, 6, 2_500))
        ledger.record_price(chain, 2_000.0, "pools")
        results = {
            "landed": (OutcomeKind.LANDED, COIN // 100 - COIN // 1_000, ""),
            "moved": (OutcomeKind.LANDED, COIN // 200, ""),
            "lost": (OutcomeKind.LOST, 0, "NotEnough()"),
            "expired": (OutcomeKind.EXPIRED, 0, "block 11 passed"),
        }
        for nonce, (name, made) in enumerate(plans.items()):
            tried = attempt(made, nonce)
            ledger.journal_attempt(tried, made, decided_us=2_000, signed_us=5_000).result(30)
            ledger.mark_sent(tried.attempt_id, sent_us=9_000)
            if name in results:
                kind, profit, reason = results[name]
                became = outcome(tried, kind, profit, reason)
                ledger.record_outcome(became, balance_entries(became, OPERATOR, frozenset({OPERATOR})))
            if name == "expired":
                taken_back = attempt(made, 99, AttemptKind.CANCEL, tried.attempt_id)
                ledger.journal_attempt(taken_back, None, decided_us=None, signed_us=None).result(30)
                ledger.mark_sent(taken_back.attempt_id, sent_us=None)
                became = replace(outcome(taken_back, OutcomeKind.LANDED), realised_amounts_wei=())
                ledger.record_outcome(became, balance_entries(became, OPERATOR, frozenset({OPERATOR})))
        refused = f"{chain}-12-00000000deadbeef"
        ledger.record_refusal(chain, Refused(refused, "max_daily_loss", "1 above 0"))
    finally:
        ledger.close()
    with AuditChain.open(config.data_dir / "audit", writer=f"engine-{chain}") as audit:
        told = {"chain": chain, "block": 13, "block_hash": "0x", "candidates": 2}
        opportunity = {"pools": [POOL_A, POOL_B], "amounts_wei": ["1000", "7", "1009"], "gross_wei": "9"}
        name = f"{chain}-13-00000000cafecafe"
        one = {"plan": name, "plan_sha256": "", "found_at": "0x", "expected_net_wei": str(5 * 10**15)}
        audit.append("decided", {**told, "opportunities": [opportunity], "plans": [one], "approved": []})
        audit.append("refused", {"chain": chain, "plan": name, "reason": "stale", "detail": "pool too old"})
    trades = {name: made.plan_id for name, made in plans.items()}
    return Instance(file, config, chain, {**trades, "refused": refused, "trail": name})
