"""The signer as a gate: leases and epochs, limits over all chains, the log's chain of hashes and its files."""

import json
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from pydantic import ValidationError

from ouro.config.gate import ChainCaps, GateConfig
from ouro.control import ControlStore, Scope, control_folder
from ouro.signer.budget import Budget, Reservation
from ouro.signer.keys import KeyRing, address_of
from ouro.signer.leases import Lease, Leases
from ouro.signer.messages import (
    BudgetLeft,
    HeartbeatRequest,
    LeaseGranted,
    LeaseRequest,
    Outstanding,
    OutstandingRequest,
    PingRequest,
    Pong,
    Refusal,
    SettledRequest,
    SignedTransaction,
    SignRequest,
)
from ouro.signer.requestlog import LogEntry, LogError, RequestLog
from ouro.signer.service import SignerService
from ouro.types import AttemptKind

from .conftest import CHAIN_ID, EXECUTOR, SECRETS, make_config

MS = 1_000_000
USD = 1_000_000


class Gate:
    """The service on its files, started again at will."""

    def __init__(self, folder: Path, **gate: Any) -> None:
        import coincurve

        self.operators = tuple(address_of(coincurve.PrivateKey(secret)) for secret in SECRETS)
        self.config = make_config(folder, self.operators, gate=GateConfig.model_validate(gate))
        self.log: RequestLog | None = None
        self.nonce = {"ethereum": 0, "fantom": 0}
        self.start()

    def start(self) -> None:
        if self.log is not None:
            self.log.close()
        path = self.config.data_dir / "signer.jsonl"
        self.log = RequestLog(path, self.config.signer.gate.log_rotate_bytes)
        self.service = SignerService(self.config, KeyRing(SECRETS), self.log)

    def lease(self, chain: str = "ethereum", holder: str = "one", connection: int = 1) -> int:
        granted = self.service.answer(LeaseRequest(chain, holder), connection)
        assert isinstance(granted, LeaseGranted), granted
        return granted.epoch

    def request(self, chain: str = "ethereum", **changes: Any) -> SignRequest:
        values: dict[str, Any] = {
            "chain": chain,
            "chain_id": CHAIN_ID if chain == "ethereum" else 9_300_250,
            "operator": self.operators[0] if chain == "ethereum" else self.operators[1],
            "kind": AttemptKind.TRADE,
            "nonce": self.nonce[chain],
            "to": EXECUTOR,
            "gas_limit": 500_000,
            "max_fee_per_gas_wei": 40 * 10**9,
            "max_priority_fee_per_gas_wei": 10**9,
            "data": b"\x12",
            "native_usd_micro": 2_000 * USD,
            "notional_gwei": 10**9,
            "epoch": 1,
        }
        return SignRequest(**(values | changes))

    def sign(self, chain: str = "ethereum", connection: int = 1, **changes: Any) -> SignedTransaction:
        signed = self.service.answer(self.request(chain, **changes), connection)
        assert isinstance(signed, SignedTransaction), signed
        self.nonce[chain] += 1
        return signed

    def refused(self, chain: str = "ethereum", connection: int = 1, **changes: Any) -> str:
        refusal = self.service.answer(self.request(chain, **changes), connection)
        assert isinstance(refusal, Refusal), refusal
        assert refusal.detail
        return refusal.reason


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path / "a gate")


def test_without_the_lease_nothing_is_signed(gate: Gate) -> None:
    assert gate.refused() == "fenced"
    assert gate.lease() == 1
    gate.sign()
    assert gate.refused("fantom") == "fenced"
    assert gate.refused(epoch=2) == "fenced"


def test_a_zombie_gets_nothing_not_even_a_repetition(gate: Gate) -> None:
    gate.lease()
    first = gate.sign()
    gate.service.hung_up(1)
    assert gate.lease(holder="two", connection=2) == 2
    assert gate.refused(nonce=0) == "fenced"
    assert gate.refused() == "fenced"
    assert isinstance(gate.service.answer(HeartbeatRequest("ethereum", 1), 1), Refusal)
    assert gate.service.answer(gate.request(nonce=0, epoch=2), 2) == first
    gate.start()  # the epochs survive a restart
    assert gate.refused() == "fenced"
    gate.sign(epoch=2, connection=3)


def test_a_live_holder_is_not_replaced_and_a_silent_one_is() -> None:
    leases = Leases(lease_ms=1_000)
    one = leases.acquire("x", "one", 1, 0)
    assert isinstance(one, Lease)
    assert leases.acquire("x", "one", 5, 10 * MS) is one  # the same process, connected anew
    refusal = leases.acquire("x", "two", 2, 900 * MS)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "lease_held"
    assert leases.check("x", 1, 5, 900 * MS) is None
    assert isinstance(leases.acquire("x", "two", 2, 1_800 * MS), Refusal)
    two = leases.acquire("x", "two", 2, 1_900 * MS)
    assert isinstance(two, Lease)
    assert two.epoch == 2
    assert isinstance(leases.check("x", 1, 5, 1_901 * MS), Refusal)
    leases.hung_up(2)
    three = leases.acquire("x", "three", 3, 1_901 * MS)
    assert isinstance(three, Lease)
    assert three.epoch == 3


def test_halts_stop_trades_but_not_cancels(gate: Gate) -> None:
    gate.lease()
    gate.lease("fantom")
    control = ControlStore(control_folder(gate.config.data_dir))
    control.halt(chain="ethereum", by="anna", why="odd trades")
    assert gate.refused() == "halted"
    gate.sign(kind=AttemptKind.CANCEL, to=gate.operators[0], data=b"", gas_limit=21_000)
    gate.sign("fantom")
    pong = gate.service.answer(PingRequest())
    assert isinstance(pong, Pong)
    assert not pong.halted
    control.halt(by="anna", why="everything odd", mode="reduce_only")
    assert gate.refused("fantom") == "halted"
    pong = gate.service.answer(PingRequest())
    assert isinstance(pong, Pong)
    assert pong.halted
    control.resume(by="bob", why="all well")
    control.halt(strategy="triangular", by="anna", why="odd triangles")
    assert gate.refused(strategy="triangular") == "halted"
    gate.sign(strategy="cross_dex")
    control.resume(Scope(strategy="triangular"), by="bob", why="all well")
    gate.sign(strategy="triangular")
    (gate.config.signer.halt_file).touch()
    assert gate.refused(kind=AttemptKind.CANCEL, to=gate.operators[0], data=b"") == "halted"


def test_open_attempts_count_over_all_chains_until_they_are_accounted_for(tmp_path: Path) -> None:
    gate = Gate(tmp_path, max_open_attempts=3)
    gate.lease()
    gate.lease("fantom")
    signed = [gate.sign(), gate.sign(), gate.sign("fantom")]
    assert gate.refused() == gate.refused("fantom") == "global_open_attempts"
    gate.sign(kind=AttemptKind.CANCEL, to=gate.operators[0], data=b"", gas_limit=21_000)  # takes back, adds nothing
    gate.start()  # neither a restart of the signer nor one of an engine frees anything
    assert gate.lease() == 1
    gate.service.hung_up(1)
    assert gate.lease(holder="next", connection=2) == 2
    assert gate.refused(epoch=2, connection=2) == "global_open_attempts"
    hashes = tuple(tx.tx_hash for tx in signed)
    assert gate.service.answer(OutstandingRequest("ethereum", 2), 2) == Outstanding(hashes[:2])
    stale = gate.service.answer(SettledRequest("ethereum", 1, ((hashes[0], 0),)), 1)
    assert isinstance(stale, Refusal)
    others = gate.service.answer(SettledRequest("ethereum", 2, ((hashes[2], 0),)), 2)
    assert isinstance(others, BudgetLeft)
    assert others.open_attempts == 0
    left = gate.service.answer(SettledRequest("ethereum", 2, ((hashes[0], 5), (hashes[0], 5))), 2)
    assert isinstance(left, BudgetLeft)
    assert left.open_attempts == 1
    back = gate.service.answer(SettledRequest("ethereum", 2, (), (hashes[0],)), 2)
    assert isinstance(back, BudgetLeft)
    assert back.open_attempts == 0
    gate.start()
    assert gate.service.answer(OutstandingRequest("ethereum", 2), 2) == Outstanding((hashes[1], hashes[0]))


def test_usd_limits_need_prices_and_hold_in_flight(tmp_path: Path) -> None:
    gate = Gate(tmp_path, max_open_notional_usd=5_000, max_open_gas_usd=100, max_daily_loss_usd=90)
    gate.lease()
    assert gate.refused(native_usd_micro=0) == "no_price"
    assert gate.refused(notional_gwei=-1) == gate.refused(notional_gwei=2**62) == "malformed"
    assert gate.refused(notional_gwei=3 * 10**9) == "global_open_notional"  # 6,000 USD
    first = gate.sign()  # 2,000 USD; gas up to 0.02 coins: 40 USD
    gate.sign()
    assert gate.refused(notional_gwei=10**9) == "global_open_notional"
    assert gate.refused(notional_gwei=1, gas_limit=375_000) == "global_open_gas"  # 30 USD on 80
    assert gate.refused(notional_gwei=1, gas_limit=200_000) == "global_daily_loss"  # 16 USD on 80
    gate.service.answer(SettledRequest("ethereum", 1, ((first.tx_hash, -(10**7)),)), 1)  # lost 0.01 coins: 20 USD
    assert gate.refused(notional_gwei=1) == "global_daily_loss"  # 20 lost, 40 in flight, 40 more
    gate.sign(notional_gwei=1, gas_limit=300_000)  # 24 more
    gate.start()
    assert gate.refused(notional_gwei=1, gas_limit=200_000) == "global_daily_loss"


def test_caps_of_a_chain_per_transaction_minute_and_day(tmp_path: Path) -> None:
    wei = 500_000 * 40 * 10**9
    caps = {"max_gas_cost_per_transaction_wei": wei, "max_gas_cost_per_minute_wei": 2 * wei + 1}
    gate = Gate(tmp_path, chains={"ethereum": caps, "fantom": {"max_transactions_per_day": 2}})
    gate.lease()
    gate.lease("fantom")
    assert gate.refused(gas_limit=500_001) == "gas_cost"
    gate.sign()
    gate.sign()
    assert gate.refused() == "gas_minute"
    gate.start()
    assert gate.refused() == "gas_minute"
    gate.sign("fantom")
    gate.sign("fantom")
    assert gate.refused("fantom") == "rate_day"


def test_limits_that_contradict_each_other_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="max_gas_cost_per_minute_wei"):
        ChainCaps(max_gas_cost_per_minute_wei=5, max_gas_cost_per_day_wei=4)
    with pytest.raises(ValidationError, match=r"signer\.gate\.chains\.mars"):
        Gate(tmp_path, chains={"mars": {}})
    for wrong in ({"max_open_attempts": 0}, {"max_daily_loss_usd": -1}, {"lease_ms": 1}, {"max_open": 1}):
        with pytest.raises(ValidationError):
            GateConfig.model_validate(wrong)


@pytest.mark.parametrize("damage", ["change", "remove", "swap", "unlink"])
def test_a_line_that_was_touched_is_found(gate: Gate, damage: str) -> None:
    gate.lease()
    for _ in range(4):
        gate.sign()
    path = gate.config.data_dir / "signer.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    match damage:
        case "change":
            lines[2] = lines[2].replace(b'"nonce":1', b'"nonce":7')
        case "remove":
            del lines[2]
        case "swap":
            lines[2], lines[3] = lines[3], lines[2]
        case _:
            entry = json.loads(lines[2])
            del entry["link"]
            lines[2] = json.dumps(entry).encode() + b"\n"
    path.write_bytes(b"".join(lines))
    with pytest.raises(LogError, match=r"line [34]"):
        gate.start()


def test_a_log_of_before_the_links_goes_on(gate: Gate) -> None:
    path = gate.config.data_dir / "signer.jsonl"
    old = LogEntry(1, "signed", "ethereum", CHAIN_ID, gate.operators[0], "trade", 0, 100, "d" * 64)
    path.write_bytes(msgspec.json.encode(old) + b"\n")
    gate.start()
    gate.lease()
    assert gate.refused() == "nonce_used"
    gate.nonce["ethereum"] = 1
    gate.sign()
    gate.start()
    assert gate.refused(nonce=1, data=b"\x99") == "nonce_used"


def test_a_full_log_begins_a_new_file_and_forgets_nothing_that_matters(tmp_path: Path) -> None:
    gate = Gate(tmp_path, log_rotate_bytes=100_000, max_open_attempts=1_000)
    gate.lease()
    hashes = [gate.sign().tx_hash for _ in range(400)]
    archives = sorted(gate.config.data_dir.glob("signer-*.jsonl"))
    assert len(archives) >= 1
    assert all(path.stat().st_mode & 0o077 == 0 for path in gate.config.data_dir.glob("signer*"))
    whole = [json.loads(line) for path in archives for line in path.read_bytes().splitlines()]
    assert sum(entry["decision"] == "signed" for entry in whole) >= 200
    for _ in range(2):
        outstanding = gate.service.answer(OutstandingRequest("ethereum", 1), 1)
        assert isinstance(outstanding, Outstanding)
        assert sorted(outstanding.tx_hashes) == sorted(hashes)
        assert gate.refused(nonce=399, data=b"\x99") == "nonce_used"
        assert gate.refused(nonce=3, data=b"\x99") in ("nonce_too_old", "nonce_used")
        assert gate.refused(epoch=2) == "fenced"
        gate.start()


def test_a_request_is_quick(tmp_path: Path) -> None:
    """The bench behind the stated cost; asserted so loosely that no busy machine fails it."""
    gate = Gate(tmp_path, max_open_attempts=10_000, max_open_notional_usd=10**9)
    gate.lease()
    began = time.process_time()
    for _ in range(500):
        gate.sign(data=b"\x12\x34" * 400)
    spent_us = (time.process_time() - began) / 500 * 1e6
    print(f"{spent_us:.0f} us a signature")
    assert spent_us < 5_000


class Budgets(RuleBasedStateMachine):
    """Whatever comes in whatever order, what is in flight never exceeds a limit, and nothing is counted twice."""

    def __init__(self) -> None:
        super().__init__()
        self.config = GateConfig(max_open_attempts=4, max_open_notional_usd=1_000, max_open_gas_usd=50)
        self.budget = Budget(self.config)
        self.held: dict[str, tuple[str, int]] = {}
        self.over: dict[str, tuple[str, int]] = {}
        self.count = 0

    @rule(chain=st.sampled_from("ab"), notional=st.integers(0, 600), gas=st.integers(1, 40))
    def ask(self, chain: str, notional: int, gas: int) -> None:
        request = SignRequest(
            chain=chain,
            chain_id=1,
            operator="0x",
            kind=AttemptKind.TRADE,
            nonce=0,
            to="0x",
            gas_limit=gas * 10**6,
            max_fee_per_gas_wei=10**9,
            max_priority_fee_per_gas_wei=0,
            native_usd_micro=1_000 * USD,
            notional_gwei=notional * 10**6,
        )
        wanted = self.budget.reservation(request, 0)
        if self.budget.check(request, wanted) is None:
            self.count += 1
            self.held[f"tx{self.count}"] = (chain, notional)
            self.budget.reserve(f"tx{self.count}", wanted, request.native_usd_micro)

    @rule(data=st.data(), chain=st.sampled_from("ab"))
    def settle(self, data: st.DataObject, chain: str) -> None:
        name = data.draw(st.sampled_from(sorted([*self.held, *self.over, "unknown"])))
        took = self.budget.settle(chain, name, -1, 0)
        assert took == (name in self.held and self.held[name][0] == chain)
        if took:
            self.over[name] = self.held.pop(name)

    @rule()
    def restart(self) -> None:
        state = json.loads(json.dumps(self.budget.dump()))
        self.budget = Budget(self.config)
        self.budget.load(state)

    @invariant()
    def within(self) -> None:
        left = self.budget.left(0)
        assert left.open_attempts == 4 - len(self.held) >= 0
        assert left.notional_usd_micro is not None
        assert left.gas_usd_micro is not None
        assert left.notional_usd_micro == (1_000 - sum(n for _, n in self.held.values())) * USD
        assert min(left.notional_usd_micro, left.gas_usd_micro) >= 0


TestBudgets = Budgets.TestCase
TestBudgets.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3), st.integers(0, 2_000)), max_size=30))
def test_epochs_only_grow_and_one_holder_at_a_time(events: list[tuple[str, int, int]]) -> None:
    leases, now, newest = Leases(lease_ms=1_000), 0, 0
    for holder, step, wait_ms in events:
        now += wait_ms * MS
        if step == 0:
            leases.hung_up(ord(holder))
            continue
        before = leases.current("x")
        got = leases.acquire("x", holder, ord(holder), now)
        if isinstance(got, Lease):
            assert got.epoch >= newest
            assert got.epoch == newest or before is None or before.holder != holder
            newest = got.epoch
        else:
            assert before is not None
            assert before.holder != holder
            assert leases.check("x", before.epoch, ord(before.holder), now) is None


def test_an_epoch_that_could_not_be_written_was_never_given(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("ouro.signer.requestlog.os.fsync", broken)
        answer = gate.service.answer(LeaseRequest("ethereum", "one"), 1)
    assert isinstance(answer, Refusal)
    assert answer.reason == "log"
    assert gate.refused(epoch=1) == "fenced"
    assert gate.lease(holder="two", connection=2) == 1
    gate.start()  # nothing of the line that failed is left
    assert gate.lease(holder="two", connection=2) == 1
    gate.service.hung_up(2)
    assert gate.lease(holder="one", connection=3) == 2


def test_after_a_line_that_stays_torn_nothing_is_signed(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("ouro.signer.requestlog.os.fsync", broken)
        patch.setattr("ouro.signer.requestlog.os.ftruncate", broken)
        assert isinstance(gate.service.answer(LeaseRequest("ethereum", "one"), 1), Refusal)
    assert isinstance(gate.service.answer(LeaseRequest("ethereum", "two"), 2), Refusal)
    gate.start()
    gate.service.hung_up(1)


def test_a_link_that_can_not_be_kept_elsewhere_does_not_hide_a_nonce(gate: Gate) -> None:
    def anchor(_event: str, _head: str) -> None:
        raise RuntimeError("the audit chain is closed")

    gate.lease()
    assert gate.log is not None
    gate.log.anchor = anchor
    gate.log._since_anchor = 1_000
    gate.sign()
    assert gate.refused(nonce=0, data=b"\x99") == "nonce_used"


def test_a_reorg_after_a_change_of_files_takes_its_place_again() -> None:
    budget = Budget(GateConfig())
    budget.reserve("0x1", Reservation("ethereum", 5, 7, 1), 2_000 * USD)
    assert budget.settle("ethereum", "0x1", -(10**6), 1)
    again = Budget(GateConfig())
    again.load(json.loads(json.dumps(budget.dump())))
    assert again.reopen("ethereum", "0x1", 1)
    assert again.open_attempts == 1


def test_a_chain_that_is_taken_out_of_the_configuration_keeps_no_place(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate(tmp_path, max_open_attempts=2)
    gate.lease()
    gate.lease("fantom")
    gate.sign()
    gone = gate.sign("fantom")
    assert gate.refused() == "global_open_attempts"
    chains = {name: chain for name, chain in gate.config.chains.items() if name != "fantom"}
    gate.config = gate.config.model_copy(update={"chains": chains})
    gate.start()
    assert gone.tx_hash in caplog.text
    assert '"decision":"dropped"' in (gate.config.data_dir / "signer.jsonl").read_text()
    gate.lease()
    gate.sign()
