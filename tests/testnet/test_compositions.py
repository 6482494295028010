"""The chains of ``demo --chains``: what they are made of, and that every venue's real contracts trade."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ouro.chain.rpc import connect
from ouro.market.reader import pin
from ouro.market.token_probe import Verdict, probe_token
from ouro.testnet import artifacts, family_contracts
from ouro.testnet.agents import ChainMarket
from ouro.testnet.artifacts import ArtifactError
from ouro.testnet.client import Client
from ouro.testnet.compositions import COMPOSED, all_names, profile_of
from ouro.testnet.deploy_families import CONTRACTS_OF_KIND
from ouro.testnet.deployment import Pool
from ouro.testnet.family_contracts import NAMES, family_artifact
from ouro.testnet.head import HeadWatcher
from ouro.testnet.order_flow import Order, recorded_reserves, usd_per_unit
from ouro.testnet.poolview import read_views
from ouro.testnet.profiles import NATIVE, PROFILES
from ouro.testnet.testnet import ChainOptions, LocalChain, Testnet

FAMILIES = {
    "uniswap_v2",
    "swapr",
    "uniswap_v3",
    "pancakeswap_v3",
    "slipstream",
    "algebra_integral",
    "algebra_adaptive",
    "uniswap_v4",
    "solidly",
    "balancer_v2_weighted",
    "balancer_v2_stable",
    "saddle",
    "erc4626",
}


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Testnet]:
    options = ChainOptions(block_time_s=1.0)
    with Testnet.start(
        tmp_path_factory.mktemp("composed"), tuple(COMPOSED), agents=False, options=options
    ) as found:
        yield found


def test_together_they_have_every_family() -> None:
    profiles = [profile_of(name) for name in all_names()]
    assert {venue.family for profile in profiles for venue in profile.venues} == FAMILIES
    assert len({profile.chain_id for profile in profiles}) == len(profiles) >= 6
    # No public chain has such an id: what is signed here is valid nowhere else.
    assert all(9_300_000 < profile.chain_id < 9_400_000 for profile in profiles)
    pools = [pool for name in COMPOSED for pool in profile_of(name).pools]
    assert any(pool.stable for pool in pools)
    assert any(pool.kind == "solidly" and not pool.stable for pool in pools)
    assert any(NATIVE in pool.tokens for pool in pools)
    assert {venue.fee_ppm for profile in profiles for venue in profile.venues} >= {2_000, 2_500, 3_000}


@pytest.mark.parametrize("name", COMPOSED)
def test_modelled_pools_agree_on_prices(name: str) -> None:
    profile = COMPOSED[name]
    pools = [Pool(p.dex, p.kind, "", p.tokens, p.symbols, p.fee_ppm, k) for k, p in enumerate(profile.pools)]
    stables = [token.recorded_address for token in profile.tokens if token.symbol in profile.stable_symbols]
    usd = usd_per_unit(pools, profile.pools, stables)
    assert {venue.name for venue in profile.venues} == {pool.dex for pool in pools}
    for pool in pools:
        reserve0, reserve1 = recorded_reserves(profile.pools[pool.recorded])
        assert abs(reserve0 * usd[pool.tokens[0]] / (reserve1 * usd[pool.tokens[1]]) - 1) < 0.02, pool
        assert reserve0 * usd[pool.tokens[0]] > 20_000
        assert pool.tokens[0] < pool.tokens[1]


@pytest.mark.node
@pytest.mark.parametrize("name", COMPOSED)
def test_an_agents_swap_moves_the_price_in_every_pool(name: str, composed: Testnet) -> None:
    chain = composed.chains[name]
    with chain.node.client() as client:
        for position, pool in enumerate(chain.deployment.pools):
            if pool.kind == "erc4626":
                continue
            before = read_views(client, chain.deployment.pools, "latest")[position].price
            push(chain, client, position, 0.9)
            up = read_views(client, chain.deployment.pools, "latest")[position].price
            assert before * 1.002 < up < before * 1.02, pool
            push(chain, client, position, 0.1)
            assert read_views(client, chain.deployment.pools, "latest")[position].price < up, pool


@pytest.mark.node
def test_a_vaults_rate_rises_by_yield_and_stays_when_shares_are_redeemed(composed: Testnet) -> None:
    chain = composed.chains["base"]
    position, pool = next((k, p) for k, p in enumerate(chain.deployment.pools) if p.kind == "erc4626")
    plan = profile_of("base").shares[0]
    assert pool.symbols[1] == plan.symbol
    with chain.node.client() as client:

        def totals() -> tuple[int, int]:
            return read_views(client, chain.deployment.pools, "latest")[position].reserves

        assert totals() == (plan.assets, plan.supply)
        push(chain, client, position, 0.1)
        assets, supply = totals()
        assert supply == plan.supply
        assert plan.assets < assets < plan.assets * 1.001
        push(chain, client, position, 0.9)
        after = totals()
        assert after[1] < supply
        assert assets * after[1] <= after[0] * supply < assets * after[1] * 1.000001


def push(chain: LocalChain, client: Client, position: int, coin: float) -> None:
    market = ChainMarket(client, chain.deployment, chain.block_time_s, 1, 1.0)
    head = HeadWatcher(client).poll()
    assert head is not None
    market.on_head(head)
    assert market.execute(Order(0, 0.0, position, False, 0.004, coin, 1.0))
    client.call("evm_mine")


def test_family_contracts_are_verified_whenever_they_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = {name: family_artifact(name) for name in ("PoolManager", "JoeFactory")}
    packages = artifacts.cache_dir() / "whole"
    monkeypatch.setenv("OURO_CACHE", str(tmp_path))
    (tmp_path / "contracts").mkdir()
    (tmp_path / "contracts" / "whole").symlink_to(packages)
    family_contracts.fetch_families(["PoolManager"])
    kept = tmp_path / "contracts" / "families" / "PoolManager.json"
    raw = json.loads(kept.read_text())
    kept.write_text(json.dumps({**raw, "bytecode": raw["bytecode"][:-2] + "00"}))
    family_contracts._verified.cache_clear()
    assert family_artifact("PoolManager").bytecode == real["PoolManager"].bytecode  # made anew, not believed

    lock = json.loads(artifacts.LOCK_PATH.read_text())
    lock["families"]["contracts"]["JoeFactory"] = "00" * 32
    monkeypatch.setattr(artifacts, "LOCK_PATH", tmp_path / "contracts.lock")
    artifacts.LOCK_PATH.write_text(json.dumps(lock))
    with pytest.raises(ArtifactError, match="JoeFactory: creation code has sha256"):
        family_artifact("JoeFactory")


def test_the_lock_names_every_family_contract_and_the_fast_demo_needs_none() -> None:
    section = json.loads(artifacts.LOCK_PATH.read_text())["families"]
    assert set(section["contracts"]) == set(NAMES)
    kinds = {venue.kind for profile in PROFILES.values() for venue in profile.venues}
    assert not kinds & set(CONTRACTS_OF_KIND)


def test_honest_tokens_pass_their_trial_in_every_kind_of_pool(composed: Testnet) -> None:
    """Pools that pass their fees on, or keep them, are told from tokens that take something."""
    verdicts: dict[tuple[str, str], str] = {}
    for name, chain in composed.chains.items():
        deployment = chain.deployment
        for pool in deployment.pools:
            venue = deployment.venue(pool.dex)
            key = venue.kind, "stable" if profile_of(name).pools[pool.recorded].stable else ""
            token = next(t for t in pool.tokens if t not in (NATIVE, deployment.wrapped_native))
            if key not in verdicts:
                verdicts[key] = asyncio.run(tried(chain, token, venue.family, pool))
    assert set(verdicts.values()) == {""}, verdicts


async def tried(chain: LocalChain, token: str, family: str, pool: Pool) -> str:
    """Why the token is refused after a trial in ``pool``; nothing where it is admitted."""
    state: Any = SimpleNamespace(family=family, address=pool.address, tokens=pool.tokens, manager=pool.manager)
    if pool.manager is None:
        del state.manager
    node = await connect(chain.node.ws_url, chain_id=chain.deployment.chain_id)
    try:
        with chain.node.client() as client:
            block = await pin(node, client.block_number(), token)
        report = await probe_token(node, token, state, block, chain.deployment.chain_id)
    finally:
        await node.close()
    return "" if report.verdict is Verdict.ADMITTED else f"{report.verdict}: {report.reason}"
