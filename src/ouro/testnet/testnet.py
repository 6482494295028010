"""Whole local chains for the demo and the tests: nodes, real contracts, recorded pools, a live market."""

import json
import secrets
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from eth_account import Account

from ouro.config.model import ChainConfig, DexConfig
from ouro.testnet.accounts import fund_purse, fund_rivals, fund_traders
from ouro.testnet.compositions import profile_of
from ouro.testnet.deploy import deploy
from ouro.testnet.deployment import Deployment
from ouro.testnet.kinds import configured
from ouro.testnet.node import AnvilNode, NodeConfig
from ouro.testnet.process import end, spawn
from ouro.testnet.profiles import ChainProfile
from ouro.testnet.seed import seed as seed_pools
from ouro.types import Address

SETUP_GAS_LIMIT = 3_000_000_000
"""While deploying, so that all of it fits into a few blocks; afterwards blocks have ``BLOCK_GAS_LIMIT``."""

BLOCK_GAS_LIMIT = 30_000_000
OPERATOR_BALANCE_WEI = 100 * 10**18
OWNER_BALANCE_WEI = 10**18
_NODE_ACCOUNTS = 40
_OVERSIZED_KINDS = frozenset(("algebra_adaptive",))
"""What its package ships was built without the optimiser, beyond the usual limit of 24,576 bytes a contract."""

_ROOMY_CODE_BYTES = 1 << 17


@dataclass(frozen=True, slots=True)
class ChainOptions:
    """What every chain of a testnet has in common. ``state_interval_s``: see ``NodeConfig``."""

    operators: int = 4
    rivals: int = 0
    intensity: float = 1.0
    block_time_s: float | None = None
    state_interval_s: int | None = None
    historical_states: bool = False
    agents: Literal["together", "apart"] = "together"


@dataclass(slots=True)
class LocalChain:
    """One running chain. Keys are made anew for each run and live in memory only."""

    profile: ChainProfile
    node: AnvilNode
    deployment: Deployment
    block_time_s: float
    owner_key: str = field(repr=False)
    operator_keys: Mapping[Address, str] = field(repr=False)
    rivals: tuple[dict[str, str], ...] = ()

    @property
    def ws_url(self) -> str:
        """For subscriptions."""
        return self.node.ws_url

    @property
    def http_url(self) -> str:
        """For scripts."""
        return self.node.http_url

    @property
    def ipc_path(self) -> Path:
        """The node's Unix socket."""
        return self.node.ipc_path

    def config(self) -> ChainConfig:
        """How the engine is told of this chain: nothing in it that a real provider would not give."""
        deployment = self.deployment
        return ChainConfig(
            chain_id=deployment.chain_id,
            profile=self.profile.name,
            endpoints=(self.ws_url,),
            block_time_ms=round(self.block_time_s * 1_000),
            fee_model=self.profile.fee_model,
            wrapped_native=deployment.wrapped_native,
            multicall=deployment.multicall,
            executor=deployment.executor,
            owner=deployment.owner,
            operators=deployment.operators,
            stable_tokens=deployment.stable_tokens,
            dexes=tuple(
                DexConfig.model_validate(
                    {
                        "name": name,
                        "family": venue.family,
                        "factory": factory,
                        "fee_ppm": venue.fee_ppm if venue.family == "uniswap_v2" else None,
                        "start_block": venue.start_block,
                    }
                )
                for venue in deployment.venues
                for name, factory in configured(venue, deployment.pools)
            ),
        )


class Testnet:
    """Local chains and their market. Use as a context manager, or ``start`` and ``stop``."""

    __test__ = False  # not a test class, whatever pytest thinks of the name

    def __init__(self, work_dir: Path, chains: Mapping[str, LocalChain], seed: int, options: ChainOptions) -> None:
        self.work_dir = work_dir
        self.chains = dict(chains)
        self.seed = seed
        self.options = options
        self._agents: list[subprocess.Popen[bytes]] = []

    @classmethod
    def start(
        cls,
        work_dir: Path,
        chains: Sequence[str] = ("ethereum", "fantom"),
        seed: int = 1,
        rivals: int = 0,
        *,
        agents: bool = True,
        options: ChainOptions | None = None,
    ) -> Self:
        """Start nodes, deploy, seed, fund, start the agents' process.

        Raises ``NodeStartError``, ``ArtifactError``, ``TransactionFailed`` or ``SeedError``, having stopped what it
        had started.
        """
        work_dir = work_dir.resolve()
        work_dir.mkdir(parents=True, exist_ok=True)
        chosen = options or ChainOptions()
        if rivals:
            chosen = ChainOptions(**{**_fields(chosen), "rivals": rivals})
        started: dict[str, LocalChain] = {}
        nodes = {name: _node(profile_of(name), work_dir, chosen) for name in chains}
        try:
            with ThreadPoolExecutor(max_workers=max(1, len(nodes))) as pool:
                jobs = {name: pool.submit(_start_chain, name, node, chosen) for name, node in nodes.items()}
                started = {name: job.result() for name, job in jobs.items()}
            testnet = cls(work_dir, started, seed, chosen)
            if agents:
                testnet.start_agents()
        except BaseException:
            for node in nodes.values():
                node.close()
            raise
        return testnet

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def chain_config(self, name: str) -> ChainConfig:
        """The engine's configuration of one chain."""
        return self.chains[name].config()

    @property
    def agents_running(self) -> bool:
        """Whether the market moves."""
        return bool(self._agents) and all(process.poll() is None for process in self._agents)

    def start_agents(self) -> None:
        """Start the market agents (and rivals) in a process of their own, or in one for each chain."""
        if self.agents_running:
            return
        whole = self.agents_config()
        apart = self.options.agents == "apart"
        parts = [{**whole, "chains": [chain]} for chain in whole["chains"]] if apart else [whole]
        for number, part in enumerate(parts):
            path = self.work_dir / (f"agents-{number}.json" if apart else "agents.json")
            path.write_text(json.dumps(part))
            command = [sys.executable, "-m", "ouro.testnet.agents", "--config", path]
            self._agents.append(spawn(command, log=self.work_dir / "agents.log", death_signal=signal.SIGTERM))

    def agents_config(self) -> dict[str, Any]:
        """What the agents' process is told; no keys: the node signs for its own accounts."""
        return {
            "seed": self.seed,
            "chains": [
                {
                    "http_url": chain.http_url,
                    "block_time_s": chain.block_time_s,
                    "intensity": self.options.intensity,
                    "deployment": chain.deployment.to_dict(),
                    "rivals": list(chain.rivals),
                }
                for chain in self.chains.values()
            ],
        }

    def stop_agents(self) -> None:
        """Stop the market; the chains go on."""
        for process in self._agents:
            end(process)
        self._agents = []

    def stop(self) -> None:
        """Stop everything. The chains' state is gone; files in the work dir stay."""
        self.stop_agents()
        for chain in self.chains.values():
            chain.node.close()


def _node(profile: ChainProfile, work_dir: Path, options: ChainOptions) -> AnvilNode:
    kinds = {venue.kind for venue in profile.venues}
    config = NodeConfig(
        chain_id=profile.chain_id,
        block_time_s=options.block_time_s or profile.block_time_s,
        gas_limit=SETUP_GAS_LIMIT,
        base_fee_wei=profile.base_fee_wei,
        accounts=_NODE_ACCOUNTS,
        state_interval_s=options.state_interval_s,
        historical_states=options.historical_states,
        code_size_limit=_ROOMY_CODE_BYTES if kinds & _OVERSIZED_KINDS else None,
    )
    return AnvilNode(config, work_dir, profile.name)


def _start_chain(name: str, node: AnvilNode, options: ChainOptions) -> LocalChain:
    profile = profile_of(name)
    owner_key, owner = _new_key()
    operator_keys = {address: key for key, address in (_new_key() for _ in range(options.operators))}
    node.start()
    with node.client() as client:
        deployment = deploy(client, profile, owner, tuple(operator_keys))
        fund_purse(client, deployment)
        deployment = seed_pools(client, deployment, profile)
        fund_traders(client, deployment)
        rivals = fund_rivals(client, deployment, options.rivals)
        client.call("anvil_setBalance", owner, hex(OWNER_BALANCE_WEI))
        for operator in operator_keys:
            client.call("anvil_setBalance", operator, hex(OPERATOR_BALANCE_WEI))
        node.set_gas_limit(client, BLOCK_GAS_LIMIT)
        # The limit is a property of blocks: a rollback to one of set-up would bring the old one back.
        # Its gas limit also made the blocks look empty, which lowered the base fee.
        client.call("anvil_setNextBlockBaseFeePerGas", hex(profile.base_fee_wei))
        client.call("evm_mine")
    deployment.save(node.work_dir / f"{name}-deployment.json")
    block_time_s = options.block_time_s or profile.block_time_s
    return LocalChain(profile, node, deployment, block_time_s, owner_key, operator_keys, rivals)


def _new_key() -> tuple[str, Address]:
    key = secrets.token_bytes(32)
    return "0x" + key.hex(), Account.from_key(key).address.lower()


def _fields(options: ChainOptions) -> dict[str, Any]:
    return {name: getattr(options, name) for name in options.__dataclass_fields__}
