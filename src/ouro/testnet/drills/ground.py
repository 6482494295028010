"""Where drills happen: one local chain with the real contracts, put back before each run, and the engine on it.

Blocks are mined when the drill says so, the engine follows each before the next comes. The signer is the real
service behind its real socket; keys, books, halts and the audit chain are those of a run's own folder.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ouro.config.model import BidConfig, ChainConfig, LedgerConfig, OuroConfig, RiskConfig, SignerConfig
from ouro.config.risk import BreakersConfig
from ouro.control import ControlStore, control_folder
from ouro.engine.audit_trail import FOLDER, AuditTrail
from ouro.engine.chain_engine import ChainEngine
from ouro.engine.world import Shared
from ouro.ledger.ledger import Ledger
from ouro.risk.build import build_gate
from ouro.risk.gate import RiskGate
from ouro.signer.client import SignerClient
from ouro.signer.keys import KeyRing
from ouro.signer.requestlog import RequestLog
from ouro.signer.server import SignerServer
from ouro.signer.service import SignerService
from ouro.signer.unixsocket import listen
from ouro.strategies.warm import warm
from ouro.testnet.agents import ChainMarket
from ouro.testnet.client import Client, NodeError
from ouro.testnet.head import HeadWatcher
from ouro.testnet.order_flow import Order
from ouro.testnet.testnet import ChainOptions, LocalChain, Testnet
from ouro.types import Address, Mode

CHAIN = "ethereum"
LARGEST_LOSS_WEI = 12 * 10**16
"""What a trade may cost in these runs; the risk capital is fifty times that."""

CAPITAL_WEI = 50 * LARGEST_LOSS_WEI
_COIN = 10**18
_TIP_WEI = 60 * 10**9
_PATIENCE_S = 60.0
_SETTLING_BLOCKS = 8


class DrillError(Exception):
    """A drill could not be carried out; the text says what failed."""


@dataclass
class Ground:
    """The chain that all runs share, and the snapshot that they start from."""

    chain: LocalChain
    client: Client
    snapshot: str

    def put_back(self) -> None:
        """As it was seeded."""
        if not self.client.call("evm_revert", self.snapshot):
            raise DrillError("the chain can't be put back to its snapshot")
        self.snapshot = self.client.call("evm_snapshot")
        self.client.call("anvil_dropAllTransactions")


@contextmanager
def ground(folder: Path) -> Iterator[Ground]:
    """A chain that stands still. Raises what starting a node raises."""
    warm()
    options = ChainOptions(operators=6, rivals=1, block_time_s=0.2)
    with Testnet.start(folder, (CHAIN,), agents=False, rivals=1, options=options) as testnet:
        chain = testnet.chains[CHAIN]
        with chain.node.client() as client:
            client.call("evm_setIntervalMining", 0)
            # The state is read some blocks below the head: balances given by hand must be older than that.
            for _ in range(_SETTLING_BLOCKS):
                client.call("evm_mine")
            yield Ground(chain, client, client.call("evm_snapshot"))


def breakers_config(state: str) -> BreakersConfig:
    """All on, but for what measures this machine; or all off."""
    names = [name for name in BreakersConfig.model_fields if name != "throttle_ppm"]
    if state == "off":
        return BreakersConfig.model_validate({name: {"state": "off"} for name in names})
    return BreakersConfig.model_validate(
        {"latency": {"state": "off"}, "clock": {"max_skew_ms": 10**12}, "repeat": {"max_same_path": 6}}
    )


def configuration(chain: LocalChain, folder: Path, breakers: str, **changes: Any) -> OuroConfig:
    """One chain, live, with limits so wide that what stops a run are its breakers."""
    risk = RiskConfig(
        kill_file=folder / "kill",
        max_notional_wei=10_000 * _COIN,
        max_gas_cost_wei=LARGEST_LOSS_WEI,
        max_daily_loss_wei=10_000 * _COIN,
        max_open_attempts=64,
        max_reverts_per_hour=10**6,
        max_wasted_gas_per_hour_wei=10_000 * _COIN,
        capital_wei=CAPITAL_WEI,
        breakers=breakers_config(breakers),
    ).model_copy(update=changes)
    bid = BidConfig(share_ppm=0, min_priority_fee_wei=_TIP_WEI, max_priority_fee_wei=_TIP_WEI)
    # Only what stands on the chain's own clock: the machine may be slow, and that is no drill.
    config: ChainConfig = chain.config().model_copy(
        update={"bid": bid, "block_time_ms": 60_000, "finality_depth": 2}
    )
    fresh = config.freshness.model_copy(update={"delayed_ms": 600_000, "stale_ms": 900_000})
    return OuroConfig(
        mode=Mode.LIVE,
        data_dir=folder / "data",
        ledger=LedgerConfig(url=f"sqlite:///{folder / 'ledger.db'}"),
        signer=SignerConfig(socket=folder / "s.sock", halt_file=folder / "halt"),
        risk=risk,
        chains={CHAIN: config.model_copy(update={"freshness": fresh})},
    )


@dataclass
class Run:
    """An engine at work on the ground. Times are ``time.monotonic``."""

    ground: Ground
    config: OuroConfig
    folder: Path
    rng: random.Random
    engine: ChainEngine
    gate: RiskGate
    ledger: Ledger
    control: ControlStore
    market: ChainMarket
    server: SignerServer | None
    watcher: HeadWatcher
    pause_s: float = 0.002
    notes: dict[str, Any] = field(default_factory=dict)
    _orders: int = 0

    @property
    def client(self) -> Client:
        """Of the chain's node."""
        return self.ground.client

    @property
    def operators(self) -> frozenset[Address]:
        """Whose transactions are ours."""
        return frozenset(self.config.chains[CHAIN].operators)

    async def call(self, method: str, *params: Any) -> Any:
        """Of the node, without holding up the engine."""
        return await asyncio.to_thread(self.client.call, method, *params)

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until it holds. Raises ``DrillError``."""
        deadline = time.monotonic() + _PATIENCE_S
        while not condition():
            if time.monotonic() > deadline:
                status = self.engine.status
                raise DrillError(f"{what} did not happen; the engine is {status.state}: {status.detail}")
            await asyncio.sleep(self.pause_s)

    async def mine(self, *, follow: bool = True) -> int:
        """One block; when ``follow``, return when the engine has decided on it and sent what it sends."""
        await self.call("evm_mine")
        number = int(await self.call("eth_blockNumber"), 16)
        if follow:
            await self.caught_up(number)
        return number

    async def caught_up(self, number: int) -> None:
        """The engine has worked through block ``number``."""
        status = self.engine.status
        seen = self.gate.last_block

        await self.until(lambda: seen(CHAIN) >= number and status.state == "running", f"block {number}")
        await asyncio.sleep(self.pause_s)

    async def stir(self, orders: int = 3) -> None:
        """Traders move prices: large swaps in random pools, pending for the next block."""
        await asyncio.to_thread(self._stir, orders)

    def _stir(self, orders: int) -> None:
        head = self.watcher.poll()
        if head is not None:
            self.market.on_head(head)
        for _ in range(orders):
            self._orders += 1
            pool = self.rng.randrange(len(self.market.deployment.pools))
            share, coin = self.rng.uniform(0.01, 0.03), self.rng.random()
            with suppress(NodeError):
                self.market.execute(Order(self._orders, 0.0, pool, False, share, coin, 1.0))

    async def pending(self) -> list[dict[str, Any]]:
        """Our trades that wait for a block."""
        content = await self.call("txpool_content")
        found = [tx for by_nonce in content["pending"].values() for tx in by_nonce.values()]
        executor = self.config.chains[CHAIN].executor
        return [tx for tx in found if tx["from"] in self.operators and tx["to"] == executor]

    async def finish(self) -> None:
        """No new attempts; everything under way to its end."""
        self.engine.stop_deciding()
        deadline = time.monotonic() + _PATIENCE_S
        while not self.engine.drained.is_set() and time.monotonic() < deadline:
            await self.call("evm_mine")
            with suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    await self.engine.drained.wait()
        if not self.engine.drained.is_set():
            raise DrillError(f"what was under way did not end: {self.engine.status.detail}")
        await asyncio.to_thread(self.ledger.flush)


@asynccontextmanager
async def running(
    place: Ground, folder: Path, seed: int, breakers: str = "on", **changes: Any
) -> AsyncIterator[Run]:
    """Put the chain back and start an engine on it, ready to decide."""
    config = configuration(place.chain, folder, breakers, **changes)

    def prepare() -> None:
        config.data_dir.mkdir(parents=True, exist_ok=True)
        place.put_back()

    await asyncio.to_thread(prepare)
    log = RequestLog(config.data_dir / "signer.jsonl", config.signer.gate.log_rotate_bytes)
    keys = KeyRing(bytes.fromhex(key[2:]) for key in place.chain.operator_keys.values())
    server = SignerServer(SignerService(config, keys, log), listen(config.signer.socket))
    serving = asyncio.create_task(server.run())
    ledger = Ledger.open(config.ledger.url, give_up_s=1.0, interval_s=0.02, ahead=config.data_dir / "ahead")
    session = ledger.start_session(mode="live", config_hash="drill", code_version="drill")
    audit = AuditTrail.open(config.data_dir, [CHAIN], {"session_id": session})
    control = ControlStore(control_folder(config.data_dir))
    gate = build_gate(config, [CHAIN], control)
    signer = SignerClient(config.signer.socket, timeout_ms=5_000)
    engine = ChainEngine(CHAIN, Shared(config, ledger, signer, gate, audit=audit))
    market = ChainMarket(place.client, place.chain.deployment, 1.0, seed, 1.0)
    rng = random.Random(seed)  # noqa: S311 - repeatable draws, no secrets
    run = Run(place, config, folder, rng, engine, gate, ledger, control, market, server, HeadWatcher(place.client))
    working = asyncio.create_task(engine.run())
    try:
        await run.until(lambda: engine.status.state == "running", "loading the chain")
        engine.open()
        yield run
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        await signer.close()
        server.stop()
        await asyncio.gather(serving, return_exceptions=True)
        log.close()
        with suppress(Exception):
            audit.close()
        await asyncio.to_thread(ledger.close)


AUDIT_FOLDER = FOLDER
