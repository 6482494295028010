"""The process around the chains: what it refuses, what it survives, how it ends; and what it shows."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ouro.config.model import LedgerConfig, OuroConfig
from ouro.engine.chain_engine import ChainEngine, Shared
from ouro.engine.errors import EngineError
from ouro.engine.runner import run_engine
from ouro.engine.status import ChainStatus, LatencyWindow
from ouro.ledger.books import Books
from ouro.ledger.errors import LedgerError
from ouro.ledger.ledger import Ledger
from ouro.ledger.report import percentiles_ms
from ouro.monitoring.read import read_metrics
from ouro.risk.gate import RiskGate
from ouro.signer.client import SignerClient
from ouro.testnet.testnet import LocalChain
from ouro.types import Mode

DEAD = "ws://127.0.0.1:1"


def config_of(chain: LocalChain, folder: Path, url: str = "") -> OuroConfig:
    """A good chain beside one that can't be reached and one that is not what it says."""
    good = chain.config()
    return OuroConfig(
        mode=Mode.OBSERVE,
        data_dir=folder / "data",
        ledger=LedgerConfig(url=url or f"sqlite:///{folder / 'ledger.db'}"),
        chains={
            "dead": good.model_copy(update={"chain_id": 1, "endpoints": (DEAD,)}),
            "good": good,
            "wrong": good.model_copy(update={"chain_id": 2}),
        },
    )


async def test_a_chain_that_is_not_configured_is_named(local_chain: LocalChain, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"mars.*dead, good, wrong"):
        await run_engine(config_of(local_chain, tmp_path), chains=["good", "mars"])


async def test_books_of_something_else_stop_it_before_anything_starts(
    local_chain: LocalChain, tmp_path: Path
) -> None:
    (tmp_path / "other.db").write_bytes(b"this is no database, but it is long enough to be looked at" * 20)
    with pytest.raises(LedgerError, match=r"other\.db"):
        await run_engine(config_of(local_chain, tmp_path, f"sqlite:///{tmp_path / 'other.db'}"))


async def test_a_chain_with_nothing_open_needs_no_node_to_end(local_chain: LocalChain, tmp_path: Path) -> None:
    config = config_of(local_chain, tmp_path)
    ledger = Ledger.open(config.ledger.url)
    signer = SignerClient(config.signer.socket)
    shared = Shared(config, ledger, signer, RiskGate(config.risk, config.mode, ["dead"]))
    try:
        for state, ended in (("recovering", True), ("connecting", True), ("loading", False), ("running", False)):
            engine = ChainEngine("dead", shared)
            engine.status.state = state
            engine.stop_deciding()
            assert engine.drained.is_set() is ended, state
    finally:
        await signer.close()
        ledger.close()


@pytest.mark.node
async def test_chains_that_fail_cost_the_others_nothing(local_chain: LocalChain, tmp_path: Path) -> None:
    seen: dict[str, ChainStatus] = {}

    def listen(statuses: Sequence[ChainStatus]) -> None:
        seen.update({status.chain: status for status in statuses})
        if seen["good"].blocks_decided >= 3 and seen["dead"].detail and seen["wrong"].detail:
            os.kill(os.getpid(), signal.SIGTERM)

    async def mine() -> None:
        with local_chain.node.client() as client:
            while True:
                await asyncio.to_thread(client.call, "evm_mine")
                await asyncio.sleep(0.05)

    miner = asyncio.create_task(mine())
    try:
        async with asyncio.timeout(90):
            await run_engine(config_of(local_chain, tmp_path), listener=listen)
    finally:
        miner.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await miner
    assert seen["good"].opportunities > 0
    assert seen["good"].outcomes == {}
    assert DEAD in seen["dead"].detail
    assert f"serves chain id {local_chain.deployment.chain_id}, but 2 is configured" in seen["wrong"].detail
    books = Books.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    try:
        [session] = books.sessions()
        assert session.ended_at_ms is not None
        assert books.activity()["good"].blocks_decided >= 3
        assert books.attempts() == []
    finally:
        books.close()
    told = read_metrics(tmp_path / "data")
    assert told.total("ouro_blocks_total", chain="good", result="decided") >= 3
    assert told.total("ouro_opportunities_total", chain="good") == seen["good"].opportunities
    assert told.by("ouro_pools", "state", chain="good")["tradable"] > 0
    assert told.total("ouro_chain_state", chain="dead", state="running") == 0
    assert told.value("ouro_ledger_writable") == 1


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=300))
def test_the_views_quantiles_are_those_of_the_report(latencies_us: list[int]) -> None:
    window = LatencyWindow()
    for value in latencies_us:
        window.add(value / 1000)
    expected = percentiles_ms(latencies_us)
    assert window.quantile(0.5) == expected["p50"]
    assert window.quantile(0.99) == expected["p99"]
    assert window.quantile(1.0) == expected["max"]


def test_quantiles_of_nothing_and_of_a_full_window() -> None:
    window = LatencyWindow()
    assert window.quantile(0.99) is None
    for value in range(10_000):
        window.add(float(value))
    assert len(window.samples_ms) == 2_048
    assert window.quantile(0.0) == 10_000 - 2_048
