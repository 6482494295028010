"""One chain of the testnet, moved block by block, with the engine's own parts around it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from eth_account import Account
from eth_utils.address import to_checksum_address

from ouro.chain.accounts import NonceBook
from ouro.chain.errors import RpcError
from ouro.chain.feed import BlockFeed
from ouro.chain.pool import EndpointPool
from ouro.chain.transactions import TransactionReader
from ouro.config.model import ChainConfig, LedgerConfig, OuroConfig, RiskConfig, SignerConfig
from ouro.engine.bookkeeping import ChainBooks, owned_accounts
from ouro.engine.chain_state import ChainState
from ouro.engine.decision import Decision, decide
from ouro.engine.trading import Clock, LiveTrader, PaperTrader
from ouro.execution.lanes import PublicLane
from ouro.execution.settlement import Ours
from ouro.execution.submit import Submitter
from ouro.execution.tracker import Tracker
from ouro.ledger.ledger import Ledger
from ouro.risk.approved import Approved
from ouro.risk.gate import RiskGate
from ouro.risk.limits import ChainCondition
from ouro.signer.client import SignerRefused
from ouro.signer.keys import KeyRing
from ouro.signer.messages import LeaseGranted, LeaseRequest, Refusal, SignedTransaction, SignRequest
from ouro.signer.requestlog import RequestLog
from ouro.signer.service import SignerService
from ouro.testnet.testnet import LocalChain
from ouro.types import Attempt, BlockUpdate, Mode, Outcome, Plan, Refused, Rollback

COIN = 10**18
LIMITS = RiskConfig(max_notional_wei=500 * COIN, max_gas_cost_wei=COIN, max_daily_loss_wei=100 * COIN)


class LocalSigner:
    """The signing service itself, without the process around it."""

    def __init__(self, config: OuroConfig, secrets: Sequence[bytes]) -> None:
        self.service = SignerService(config, KeyRing(secrets), RequestLog(config.data_dir / "signer.jsonl"))

    async def sign(self, request: SignRequest) -> SignedTransaction:
        lease = self.service.answer(LeaseRequest(request.chain, "bench"))
        assert isinstance(lease, LeaseGranted)
        answer = self.service.answer(msgspec.structs.replace(request, epoch=lease.epoch))
        if isinstance(answer, Refusal):
            raise SignerRefused(answer.reason, answer.detail)
        assert isinstance(answer, SignedTransaction)
        return answer


@dataclass
class Bench:
    """State, feed and books of one chain, as the engine has them."""

    chain: LocalChain
    config: ChainConfig
    folder: Path
    node: EndpointPool
    state: ChainState
    feed: BlockFeed
    ledger: Ledger
    refused: list[Refused] = field(default_factory=list)
    heard: list[tuple[Attempt, Plan | None, Outcome | None]] = field(default_factory=list)

    @classmethod
    async def start(cls, chain: LocalChain, folder: Path, **changes: Any) -> "Bench":
        config = chain.config().model_copy(update=changes)
        node = EndpointPool(config.endpoints, config.chain_id, name="ethereum")
        await node.start()
        state = await ChainState.load("ethereum", config, node, folder / "data", lambda _text: None)
        feed = BlockFeed(
            "ethereum",
            node,
            state.topics,
            config.reorg_ring_depth,
            start=(state.head_number, state.head_hash),
        )
        ledger = Ledger.open(f"sqlite:///{folder / 'ledger.db'}", give_up_s=0.3, interval_s=0.02)
        ledger.start_session(mode="live", config_hash="x", code_version="x")
        return cls(chain, config, folder, node, state, feed, ledger)

    async def close(self) -> None:
        await self.feed.close()
        await self.node.close()
        self.ledger.close()

    async def block_number(self) -> int:
        return int(await self.node.call("eth_blockNumber", []), 16)

    async def follow(self) -> BlockUpdate:
        """Apply everything up to the node's head; the last block."""
        head = await self.block_number()
        async for event in self.feed:
            if isinstance(event, BlockUpdate):
                self.state.apply(event)
                if event.number == head:
                    return event
            else:
                assert isinstance(event, Rollback), event
                self.state.rollback(event)
        raise AssertionError("the feed ended")

    async def mine(self) -> BlockUpdate:
        """One more block, applied."""
        await self.node.call("evm_mine", [])
        return await self.follow()

    def decide(self, update: BlockUpdate, lane: str = "public") -> Decision:
        """With all pools, as after a load."""
        self.state.carry(range(self.state.market.arrays.n_pools))
        return decide(self.state, update, frozenset(), lane)

    def approve(self, plans: Sequence[Plan], mode: Mode, update: BlockUpdate) -> list[Approved]:
        gate = RiskGate(LIMITS, mode, ["ethereum"])
        condition = ChainCondition(update.number, update.hash, "ready")
        verdicts = [gate.check(plan, condition) for plan in plans]
        assert all(isinstance(verdict, Approved) for verdict in verdicts), verdicts
        return [verdict for verdict in verdicts if isinstance(verdict, Approved)]

    def books(self, *, on_chain: bool) -> ChainBooks:
        def heard(attempt: Attempt, plan: Plan | None, outcome: Outcome | None) -> None:
            self.heard.append((attempt, plan, outcome))

        return ChainBooks(self.config, self.ledger, heard, on_chain=on_chain)

    def paper(self) -> PaperTrader:
        return PaperTrader(self.state, self.books(on_chain=False), self.refused.append)

    async def live(self, operators: Sequence[str] | None = None) -> tuple[LiveTrader, NonceBook]:
        """A live trader whose signer holds the chain's real keys."""
        config = OuroConfig(
            mode=Mode.LIVE,
            data_dir=self.folder / "data",
            ledger=LedgerConfig(url=f"sqlite:///{self.folder / 'ledger.db'}"),
            signer=SignerConfig(halt_file=self.folder / "halt"),
            chains={"ethereum": self.config},
        )
        secrets = [bytes.fromhex(key[2:]) for key in self.chain.operator_keys.values()]
        nonces = NonceBook(operators or self.config.operators)
        await nonces.resync(self.node)
        books = self.books(on_chain=True)
        lane = PublicLane(self.node, RpcError)
        submitter = Submitter(
            "ethereum",
            self.config.model_copy(update={"block_time_ms": 600_000}),
            LocalSigner(config, secrets),
            books,
            lane,
        )

        async def cancel(attempt: Attempt, head: BlockUpdate, known: bool) -> Attempt | None:
            return await submitter.cancel(attempt, head.number, trader.cancel_fee(head), known=known)

        tracker = Tracker(
            TransactionReader(self.node),
            books,
            cancel,
            Ours(owned_accounts(self.config), frozenset(self.config.start_tokens)),
            self.state.touched_in,
            self.state.is_canonical,
            self.config.finality_depth,
            self.config.reorg_ring_depth,
        )
        trader = LiveTrader(self.state, submitter, tracker, nonces, books, self.refused.append)
        return trader, nonces

    async def steal(self, plan: Plan) -> None:
        """Somebody with an operator's key takes ``plan``'s profit first."""
        who, key = list(self.chain.operator_keys.items())[-1]
        nonce = int(await self.node.call("eth_getTransactionCount", [who, "latest"]), 16)
        transaction = {
            "chainId": self.config.chain_id,
            "nonce": nonce,
            "to": to_checksum_address(self.config.executor or ""),
            "value": 0,
            "gas": plan.gas_limit,
            "maxFeePerGas": 10**13,
            "maxPriorityFeePerGas": 10**12,
            "data": "0x" + plan.calldata.hex(),
        }
        raw = Account.sign_transaction(transaction, key).raw_transaction
        await self.node.call("eth_sendRawTransaction", ["0x" + bytes(raw).hex()])


def clock() -> Clock:
    """A block that was read just now."""
    return Clock(time.monotonic_ns(), 700)
