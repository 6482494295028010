"""Sign, journal, send, take back: a real signer process, real books, a real node."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from execution_examples import EXECUTOR, OWNER, plan
from execution_examples import chain_config as example_config

from ouro.chain.accounts import Lease
from ouro.chain.errors import RpcError
from ouro.chain.rpc import Transport, connect
from ouro.config.load import config_to_toml
from ouro.config.model import ChainConfig, OuroConfig, RiskConfig
from ouro.engine.bookkeeping import ChainBooks
from ouro.execution.access_list import AccessList
from ouro.execution.lanes import Handover, PublicLane
from ouro.execution.rawtx import fee_of
from ouro.execution.submit import NotSent, Submitted, Submitter, bumped
from ouro.ledger.errors import LedgerError
from ouro.ledger.ledger import Ledger
from ouro.risk.approved import Approved
from ouro.risk.gate import RiskGate
from ouro.risk.limits import ChainCondition
from ouro.signer.client import SignerClient
from ouro.signer.keys import write_keystore
from ouro.signer.messages import SignRequest
from ouro.signer.unixsocket import listen
from ouro.testnet.node import AnvilNode, NodeConfig
from ouro.types import Attempt, AttemptKind, FeeBid, Mode, Plan

pytestmark = pytest.mark.node
CHAIN_ID, PASSWORD, GWEI = 9_300_001, "a password", 10**9
RICH = hex(10**20)


@dataclass
class Shared:
    """One signer and one node for all tests here; each test takes an account of its own."""

    config: OuroConfig
    node: AnvilNode
    accounts: list[str]
    process: subprocess.Popen[bytes]

    @property
    def chain(self) -> ChainConfig:
        return self.config.chains["ethereum"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    folder = tmp_path_factory.mktemp("a signer")
    operators = write_keystore(folder / "keys.json", [bytes([n] * 32) for n in range(1, 25)], PASSWORD, scrypt_n=2)
    with AnvilNode(NodeConfig(chain_id=CHAIN_ID), folder / "node") as node:
        # A block time that no load on this machine exceeds: what is too late is withheld.
        chain = example_config(endpoints=(node.ws_url,), operators=operators, block_time_ms=600_000)
        config = OuroConfig.model_validate(
            {
                "mode": "live",
                "data_dir": folder / "data",
                "signer": {
                    "socket": folder / "signer.sock",
                    "keystore": folder / "keys.json",
                    "halt_file": folder / "halt",
                },
                "chains": {"ethereum": chain},
            }
        )
        file = folder / "ouro.toml"
        file.write_text(config_to_toml(config))
        environment = {k: v for k, v in os.environ.items() if not k.startswith("OURO_")}
        environment["OURO_KEYSTORE_PASSWORD"] = PASSWORD
        process = subprocess.Popen([sys.executable, "-m", "ouro.signer", str(file)], env=environment)
        with node.client() as client:
            for operator in operators:
                client.call("anvil_setBalance", operator, RICH)
            client.call("evm_setAutomine", False)
        yield Shared(config, node, list(operators), process)
        process.terminate()
        process.wait()


class Bench:
    """A submitter with everything real around it."""

    def __init__(self, shared: Shared, folder: Path, transport: Transport, signer: SignerClient) -> None:
        self.shared, self.node, self.signer = shared, transport, signer
        self.url = folder / "ledger.db"
        self.ledger = Ledger.open(f"sqlite:///{self.url}", give_up_s=0.3, interval_s=0.05)
        self.ledger.start_session(mode="live", config_hash="x", code_version="x")
        self.risk = RiskGate(RiskConfig(), Mode.LIVE, ["ethereum"])
        self.lane = PublicLane(transport, RpcError)
        self.books = ChainBooks(shared.chain, self.ledger, lambda *_: None, on_chain=True)
        self.submitter = self.submitter_with(shared.chain)
        self.operator = shared.accounts.pop()
        self.followed: list[Attempt] = []

    def submitter_with(self, chain: ChainConfig, lane: Any = None) -> Submitter:
        return Submitter("ethereum", chain, self.signer, self.books, lane or self.lane)

    def lease(self, nonce: int = 0) -> Lease:
        return Lease(self.operator, nonce)

    def approve(self, number: int = 10, **changes: Any) -> Approved:
        made: Plan = replace(plan(number, f"{self.operator}-{len(self.followed)}"), **changes)
        condition = ChainCondition(made.found_at_number, made.found_at_hash, "ready")
        verdict = self.risk.check(made, condition)
        assert isinstance(verdict, Approved), verdict
        return verdict

    async def submit(
        self, approved: Approved, nonce: int = 0, submitter: Submitter | None = None, listed: AccessList = ()
    ) -> Any:
        received_ns = time.monotonic_ns()
        chosen = submitter or self.submitter
        return await chosen.submit(approved, self.lease(nonce), received_ns, 500, self.followed.append, listed)

    async def mine(self) -> None:
        await self.node.call("evm_mine", [])

    async def receipt(self, made: Attempt) -> Any:
        return await self.node.call("eth_getTransactionReceipt", [made.tx_hash])

    def recorded(self, made: Attempt) -> Any:
        self.ledger.flush()
        return {r.attempt.attempt_id: r for r in self.ledger.books.attempts()}.get(made.attempt_id)


@pytest.fixture
async def bench(shared: Shared, tmp_path: Path) -> AsyncIterator[Bench]:
    signer = SignerClient(shared.config.signer.socket, timeout_ms=30_000)
    await signer.wait_ready()
    transport = await connect(shared.node.ws_url, chain_id=CHAIN_ID)
    made = Bench(shared, tmp_path, transport, signer)
    yield made
    made.ledger.close()
    await signer.close()
    await transport.close()


async def test_signed_journaled_followed_sent_and_mined(bench: Bench) -> None:
    approved = bench.approve()
    order: list[str] = []

    class Watched(PublicLane):
        async def send(self, raw_tx: bytes) -> Any:
            # At this moment the bytes are in the books and somebody follows them.
            (record,) = bench.ledger.books.attempts()
            order.append(f"{record.state} {record.attempt.raw_tx == raw_tx} {len(bench.followed)}")
            return await super().send(raw_tx)

    submitter = bench.submitter_with(bench.shared.chain, Watched(bench.node, RpcError))
    done = await bench.submit(approved, submitter=submitter)
    assert isinstance(done, Submitted)
    assert done.handover is Handover.ACCEPTED
    assert order == ["journaled True 1"]
    assert bench.followed == [done.attempt]
    assert 0 < done.signed_us <= done.sent_us
    await bench.mine()
    receipt = await bench.receipt(done.attempt)
    assert (receipt["from"], receipt["to"], receipt["status"]) == (bench.operator, EXECUTOR, "0x1")
    record = bench.recorded(done.attempt)
    assert (record.state, record.decided_us, record.signed_us, record.sent_us) == (
        "sent",
        500,
        done.signed_us,
        done.sent_us,
    )
    assert record.attempt == done.attempt
    assert fee_of(done.attempt.raw_tx) == approved.plan.fee


async def test_the_access_list_is_signed_and_mined(bench: Bench) -> None:
    listed = ((EXECUTOR, ("0x" + "00" * 31 + "05",)), ("0x" + "77" * 20, ()))
    done = await bench.submit(bench.approve(), listed=listed)
    assert isinstance(done, Submitted)
    await bench.mine()
    assert (await bench.receipt(done.attempt))["status"] == "0x1"
    sent = await bench.node.call("eth_getTransactionByHash", [done.attempt.tx_hash])
    assert tuple((each["address"].lower(), tuple(each["storageKeys"])) for each in sent["accessList"]) == listed


async def test_only_what_the_gate_approved_is_signed(bench: Bench) -> None:
    with pytest.raises(TypeError, match="not approved"):
        await bench.submit(plan(10))  # type: ignore[arg-type]


async def test_bytes_that_could_not_be_written_are_never_sent_and_their_nonce_is_burnt(bench: Bench) -> None:
    approved = bench.approve()
    blocker = sqlite3.connect(bench.url, isolation_level=None)
    blocker.execute("BEGIN EXCLUSIVE")
    try:
        done = await bench.submit(approved)
    finally:
        blocker.execute("ROLLBACK")
        blocker.close()
    assert isinstance(done, NotSent)
    assert done.nonce_burnt
    assert done.refused.reason == "journal"
    assert str(bench.url) in done.refused.detail
    assert bench.followed == []
    pending = await bench.node.call("eth_getTransactionCount", [bench.operator, "pending"])
    assert pending == "0x0"
    # The books come back: the nonce is used up by an empty transaction that outbids the bytes that were signed.
    cancel = None
    deadline = time.monotonic() + 60
    while cancel is None and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
        cancel = await bench.submitter.clear_nonce(bench.lease(), 10, FeeBid(GWEI, GWEI, legacy=False))
    assert cancel is not None
    assert cancel.kind is AttemptKind.CANCEL
    assert cancel.replaces is None
    assert fee_of(cancel.raw_tx).max_fee_per_gas_wei > approved.plan.fee.max_fee_per_gas_wei
    await bench.mine()
    assert (await bench.receipt(cancel))["status"] == "0x1"
    assert bench.recorded(cancel).state == "sent"


async def test_what_became_durable_too_late_is_followed_but_not_sent(bench: Bench) -> None:
    """It could only revert, for gas; its nonce is taken back like that of any other."""

    class Slow:
        async def sign(self, request: SignRequest) -> Any:
            await asyncio.sleep(0.05)
            return await bench.signer.sign(request)

    chain = bench.shared.chain.model_copy(update={"block_time_ms": 1})
    done = await bench.submit(
        bench.approve(), submitter=Submitter("ethereum", chain, Slow(), bench.books, bench.lane)
    )
    assert isinstance(done, Submitted)
    assert done.handover is Handover.WITHHELD
    assert bench.followed == [done.attempt]
    assert bench.recorded(done.attempt).state == "journaled"
    assert await bench.node.call("eth_getTransactionByHash", [done.attempt.tx_hash]) is None


async def test_a_halt_that_comes_after_the_signature_keeps_the_bytes_here(bench: Bench) -> None:
    asked: list[str] = []

    def halted(strategy: str) -> str:
        asked.append(strategy)
        return "all chains: stop by anna"

    submitter = Submitter("ethereum", bench.shared.chain, bench.signer, bench.books, bench.lane, halted=halted)
    approved = bench.approve()
    done = await bench.submit(approved, submitter=submitter)
    assert isinstance(done, Submitted)
    assert done.handover is Handover.WITHHELD
    assert asked == [approved.plan.strategy]
    assert bench.recorded(done.attempt).state == "journaled"
    assert await bench.node.call("eth_getTransactionByHash", [done.attempt.tx_hash]) is None


REFUSALS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"executor": OWNER}, {}, "signer_destination"),
    ({"chain_id": 1}, {}, "signer_chain_id"),
    ({}, {"gas_limit": 3_000_001}, "signer_gas_limit"),
    ({}, {"fee": FeeBid(2_000 * GWEI + 1, GWEI, legacy=False), "gas_limit": 300_000}, "signer_fee_cap"),
]


async def test_the_signers_refusals_leave_the_nonce_free(bench: Bench) -> None:
    bench.risk = RiskGate(RiskConfig(max_gas_cost_wei=10**19, max_daily_loss_wei=10**21), Mode.LIVE, ["ethereum"])
    for number, (config, changes, reason) in enumerate(REFUSALS):
        submitter = bench.submitter_with(bench.shared.chain.model_copy(update=config))
        done = await bench.submit(bench.approve(20 + number, **changes), submitter=submitter)
        assert isinstance(done, NotSent)
        assert (done.refused.reason, done.nonce_burnt) == (reason, False)
    halt = bench.shared.config.signer.halt_file
    halt.touch()
    try:
        done = await bench.submit(bench.approve(30))
    finally:
        halt.unlink()
    assert (done.refused.reason, done.nonce_burnt) == ("signer_halted", False)
    assert bench.ledger.books.attempts() == []
    # Nothing was signed: the same nonce serves the next plan.
    assert isinstance(await bench.submit(bench.approve(31)), Submitted)


async def test_a_nonce_that_the_signer_used_is_burnt_and_cleared_by_outbidding(bench: Bench) -> None:
    """An earlier process signed something dear for it and died: nobody has those bytes, and they may be out."""
    lost = SignRequest(
        chain="ethereum",
        chain_id=CHAIN_ID,
        operator=bench.operator,
        kind=AttemptKind.TRADE,
        nonce=0,
        to=EXECUTOR,
        gas_limit=300_000,
        max_fee_per_gas_wei=40 * GWEI,
        max_priority_fee_per_gas_wei=40 * GWEI,
        data=b"lost",
    )
    await bench.signer.sign(lost)
    done = await bench.submit(bench.approve())
    assert isinstance(done, NotSent)
    assert (done.refused.reason, done.nonce_burnt) == ("signer_nonce_used", True)
    cancel = await bench.submitter.clear_nonce(bench.lease(), 10, FeeBid(2 * GWEI, GWEI, legacy=False))
    assert cancel is not None
    assert fee_of(cancel.raw_tx).max_fee_per_gas_wei > 40 * GWEI
    assert cancel.max_block_number == 13
    await bench.mine()
    assert (await bench.receipt(cancel))["status"] == "0x1"


async def test_a_signer_that_was_never_reached_leaves_the_nonce_free(bench: Bench, tmp_path: Path) -> None:
    away = SignerClient(tmp_path / "nobody.sock", timeout_ms=200)
    submitter = Submitter("ethereum", bench.shared.chain, away, bench.books, bench.lane)
    done = await bench.submit(bench.approve(), submitter=submitter)
    assert isinstance(done, NotSent)
    assert (done.refused.reason, done.nonce_burnt) == ("signer_not_reached", False)
    assert bench.ledger.books.attempts() == []


async def test_no_answer_from_the_signer_burns_the_nonce(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "private" / "silent.sock"
    listener = listen(path)
    submitter = Submitter(
        "ethereum", bench.shared.chain, SignerClient(path, timeout_ms=200), bench.books, bench.lane
    )
    done = await bench.submit(bench.approve(), submitter=submitter)
    assert isinstance(done, NotSent)
    assert (done.refused.reason, done.nonce_burnt) == ("signer_unavailable", True)
    assert await submitter.clear_nonce(bench.lease(), 10, FeeBid(GWEI, GWEI, legacy=False)) is None
    assert bench.ledger.books.attempts() == []
    listener.close()


async def test_a_cancel_takes_the_place_of_a_stuck_transaction(bench: Bench) -> None:
    done = await bench.submit(bench.approve())
    assert isinstance(done, Submitted)
    cancel = await bench.submitter.cancel(done.attempt, 11, FeeBid(GWEI, GWEI, legacy=False))
    assert cancel is not None
    assert (cancel.nonce, cancel.replaces) == (done.attempt.nonce, done.attempt.attempt_id)
    assert fee_of(cancel.raw_tx) == bumped(fee_of(done.attempt.raw_tx))
    # The cancel got stuck as well; the market pays more by now.
    dearer = await bench.submitter.cancel(cancel, 14, FeeBid(90 * GWEI, 80 * GWEI, legacy=False))
    assert dearer is not None
    assert fee_of(dearer.raw_tx) == FeeBid(90 * GWEI, 80 * GWEI, legacy=False)
    await bench.mine()
    assert await bench.receipt(done.attempt) is None
    assert await bench.receipt(cancel) is None
    receipt = await bench.receipt(dearer)
    assert (receipt["from"], receipt["to"], receipt["gasUsed"]) == (bench.operator, bench.operator, hex(21_000))
    assert bench.recorded(cancel).attempt.replaces == done.attempt.attempt_id
    assert await bench.submitter.resend(done.attempt) is Handover.NONCE_USED


async def test_a_legacy_trade_and_its_cancel(bench: Bench) -> None:
    price = FeeBid(5 * GWEI, 5 * GWEI, legacy=True)
    done = await bench.submit(bench.approve(fee=price))
    assert isinstance(done, Submitted)
    cancel = await bench.submitter.cancel(done.attempt, 11, FeeBid(GWEI, GWEI, legacy=True))
    assert cancel is not None
    assert fee_of(cancel.raw_tx) == bumped(price)
    await bench.mine()
    assert (await bench.receipt(cancel))["effectiveGasPrice"] == hex(bumped(price).max_fee_per_gas_wei)


async def test_a_dead_lane_loses_no_sight_of_the_transaction(bench: Bench) -> None:
    """The answer is lost, the bytes may have arrived: it is followed, not refused."""
    gone = await connect(bench.shared.node.ws_url)
    await gone.close()
    submitter = bench.submitter_with(bench.shared.chain, PublicLane(gone, RpcError))
    done = await bench.submit(bench.approve(), submitter=submitter)
    assert isinstance(done, Submitted)
    assert done.handover is Handover.UNKNOWN
    assert bench.followed == [done.attempt]
    assert bench.recorded(done.attempt).state == "journaled"
    assert await bench.submitter.resend(done.attempt) is Handover.ACCEPTED
    await bench.mine()
    assert (await bench.receipt(done.attempt))["status"] == "0x1"


async def test_a_real_nodes_words_are_understood(bench: Bench) -> None:
    stranger = Account.create()

    def raw(nonce: int, fee: int, gas: int = 100_000) -> bytes:
        transaction = {"chainId": CHAIN_ID, "nonce": nonce, "to": stranger.address, "value": 0, "gas": gas}
        fees = {"maxFeePerGas": fee, "maxPriorityFeePerGas": min(fee, GWEI)}
        return bytes(stranger.sign_transaction(transaction | fees).raw_transaction)

    send = bench.lane.send
    assert (await send(raw(0, 50 * GWEI))).handover is Handover.REJECTED  # it can't pay
    await bench.node.call("anvil_setBalance", [stranger.address, RICH])
    first = raw(0, 50 * GWEI)
    assert (await send(first)).handover is Handover.ACCEPTED
    assert (await send(first)).handover is Handover.KNOWN
    assert (await send(raw(0, 50 * GWEI, 110_000))).handover is Handover.UNDERPRICED
    await bench.mine()
    assert (await send(first)).handover in (Handover.NONCE_USED, Handover.KNOWN)
    assert (await send(raw(0, 90 * GWEI))).handover is Handover.NONCE_USED
    assert (await send(raw(1, 1))).handover is Handover.UNDERPRICED
    assert (await send(b"\x02garbage")).handover is Handover.REJECTED


async def test_a_burnt_nonce_is_cleared_whatever_its_lost_bytes_offered(bench: Bench) -> None:
    """Only the signer knows of the bid, and it is far above what the market asks."""

    class Broken(ChainBooks):
        async def attempt(
            self, attempt: Attempt, plan: Plan | None, decided_us: int | None, signed_us: int
        ) -> None:
            raise LedgerError("disk full")

    journal = Broken(bench.shared.chain, bench.ledger, lambda *_: None, on_chain=True)
    submitter = Submitter("ethereum", bench.shared.chain, bench.signer, journal, bench.lane)
    done = await bench.submit(bench.approve(fee=FeeBid(160 * GWEI, 159 * GWEI, legacy=False)), submitter=submitter)
    assert isinstance(done, NotSent)
    assert done.nonce_burnt
    cancel = await bench.submitter.clear_nonce(bench.lease(), 10, FeeBid(GWEI, GWEI, legacy=False))
    assert cancel is not None
    assert fee_of(cancel.raw_tx).max_fee_per_gas_wei > 160 * GWEI
    assert fee_of(cancel.raw_tx).max_priority_fee_per_gas_wei == GWEI
    await bench.mine()
    assert (await bench.receipt(cancel))["status"] == "0x1"
