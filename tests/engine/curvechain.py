"""Pools on curves and vaults of shares on a node: StableSwap's port, Balancer's Vaults, ERC-4626.

Each venue acts at random as the differential tests do, and swaps by hand what the engine has quoted before.
"""

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from eth_abi.abi import encode
from familychain import NodeChain, Pair, Venue, pair_of
from tests.differential import sources
from tests.differential.balancer_stable_cases import BalancerV2StableWorld
from tests.differential.balancer_v3_cases import INITIALIZE, BalancerV3World
from tests.differential.balancer_v3_cases import SWAP as THIRD_SWAP
from tests.differential.balancer_v3_cases import Play as ThirdPlay
from tests.differential.balancer_weighted_cases import BalancerV2WeightedWorld, WeightedPlay
from tests.differential.balancer_world import MAX_UINT, SWAP, BalancerChain
from tests.differential.chain import OWNER, SUPPLY, Reverted
from tests.differential.erc4626_cases import vault_codes
from tests.differential.mirror import Mirror
from tests.differential.saddle_cases import Play, SaddleWorld

from ouro.config.model import DexConfig
from ouro.testnet.abi import call_bytes
from ouro.testnet.artifacts import load_json
from ouro.testnet.client import Client
from ouro.types import Address, Log

CURVES = ("saddle", "balancer_v2_weighted", "balancer_v2_stable", "erc4626")
COMPILED = ("balancer_v3_weighted", "balancer_v3_stable")
AT_HAND = COMPILED if sources.balancer_v3_kept() else ()
"""Their contracts are compiled by `make balancer-v3`; from then on they are in the short tests as well."""
"""Whose contracts take minutes to compile: `make balancer-v3`, and wherever that has been run."""
NOBODY: Address = "0x" + "00" * 20
_OFFSETS = (0, 6, 12)


class Follower(Protocol):
    """What knows a pool by its logs."""

    def follow(self) -> None: ...


SwapCall = Callable[[Any, int, int, int], tuple[Address, bytes]]


class NodeVaultChain(BalancerChain, NodeChain):
    """Balancer's Vault on a node."""

    def __init__(self, client: Client) -> None:
        NodeChain.__init__(self, client)
        self.open(8)

    def all_logs(self) -> list[Log]:
        return self.last_logs


@dataclass
class CurveVenue(Venue):
    """Pools with the calls that swap in them; of several factories, or named one by one."""

    swap_call: SwapCall | None = None
    factories: tuple[Address, ...] = ()
    mirrors: dict[str, Follower] = field(default_factory=dict)
    token: Address = ""

    @property
    def start_token(self) -> Address:
        return self.token or self.chain.tokens[0]

    @property
    def dexes(self) -> list[DexConfig]:
        return [
            DexConfig(name=f"{self.family}_{k}", family=self.family, factory=factory)
            for k, factory in enumerate(self.factories)
        ]

    def swap(self, state: Any, i: int, j: int, amount: int) -> list[Log]:
        """The swap's logs. Raises ``Reverted``."""
        assert self.swap_call is not None
        self.chain.send(OWNER, *self.swap_call(state, i, j, amount))
        if state.address in self.mirrors:
            self.mirrors[state.address].follow()
        return self.chain.last_logs


def curve_venue(family: str, client: Client, rng: random.Random, pools: int = 3) -> CurveVenue:
    """Pools of the family with random actions; Balancer's: at least one of each generation."""
    if family == "erc4626":
        return _vaults(client, rng)
    if family in COMPILED:
        return _third_vault(family, client, rng, pools)
    return _saddle(client, rng, pools) if family == "saddle" else _balancer(family, client, rng, pools)


class _SaddlePlay(Play):
    def _compare_state(self) -> None:
        """The engine's own comparison does that."""


def _saddle(client: Client, rng: random.Random, pools: int) -> CurveVenue:
    chain = NodeChain(client)
    world = SaddleWorld(chain)
    plays = [_SaddlePlay(world, rng) for _ in range(pools)]
    for play in plays:
        play.fill()
    addresses = [play.state.address for play in plays]
    acts = [play.act for play in plays] * 4 + [lambda: _toggle(chain, addresses[0])]
    venue = CurveVenue("saddle", "", chain, acts, addresses, factories=tuple(addresses))
    venue.swap_call = lambda state, i, j, amount: (chain.driver, _port_swap(state, i, j, amount))
    venue.mirrors = {play.state.address: play.mirror for play in plays}
    venue.token = plays[0].state.tokens[0]
    return venue


def _port_swap(state: Any, i: int, j: int, amount: int) -> bytes:
    call = call_bytes("swap(uint8,uint8,uint256,uint256,uint256)", i, j, amount, 0, SUPPLY)
    return call_bytes("run(address,bytes)", state.address, call)


def _toggle(chain: NodeChain, pool: Address) -> None:
    """Pause a pool that trades, let one that is paused trade again."""
    paused = int.from_bytes(chain.call(pool, call_bytes("paused()")))
    chain.call(pool, call_bytes("unpause()" if paused else "pause()"))


def _balancer(family: str, client: Client, rng: random.Random, pools: int) -> CurveVenue:
    chain = NodeVaultChain(client)
    stable = family == "balancer_v2_stable"
    world: Any = BalancerV2StableWorld(chain=chain) if stable else BalancerV2WeightedWorld(chain)
    kinds = tuple(world.factories)
    venue = CurveVenue(family, "", chain, factories=tuple(world.factories.values()))
    venue.swap_call = _vault_swap
    for k in range(max(pools, len(kinds))):
        world.kinds = (kinds[k % len(kinds)],)
        found = world.open_pool(rng)
        play = found if stable else WeightedPlay(chain, found, rng, world.tally)
        play.fill()
        pool = play.state.address
        venue.pools.append(pool)
        venue.acts.append(play.act)
        venue.mirrors[pool] = play.mirror
        venue.token = play.state.tokens[0] if play.state.tokens[0] != pool else play.state.tokens[1]
        if stable:  # no getter tells between which values the amplification ramps
            venue.still.append(lambda pool=pool, mirror=play.mirror: _stop_ramp(chain, pool, mirror))
    return venue


def _vault_swap(state: Any, i: int, j: int, amount: int) -> tuple[Address, bytes]:
    single = (bytes.fromhex(state.pool_id[2:]), 0, state.tokens[i], state.tokens[j], amount, b"")
    return state.manager, call_bytes(SWAP, single, (OWNER, False, OWNER, False), 0, MAX_UINT)


def _stop_ramp(chain: NodeChain, pool: Address, mirror: Mirror) -> None:
    with suppress(Reverted):
        chain.call(pool, call_bytes("stopAmplificationParameterUpdate()"))
        mirror.follow()


def _third_vault(family: str, client: Client, rng: random.Random, pools: int) -> CurveVenue:
    """Pools with rates that no log tells, yield that is shared with the Vault, and everything that can be set."""
    chain = NodeChain(client)
    world = BalancerV3World(family, chain)
    plays = [ThirdPlay(world, rng) for _ in range(pools)]
    venue = CurveVenue(family, "", chain, [play.act for play in plays], factories=(world.factory,))
    venue.pools = [play.pool for play in plays]
    venue.mirrors = {play.pool: play for play in plays}
    venue.token = plays[0].tokens[0]
    venue.swap_call = lambda state, i, j, amount: (world.driver, _third_swap(world.vault, state, i, j, amount))
    return venue


def _third_swap(vault: Address, state: Any, i: int, j: int, amount: int) -> bytes:
    legs = [state.tokens[i], state.tokens[j]]
    swap = call_bytes(THIRD_SWAP, (0, state.address, *legs, amount, 0, b""))
    return call_bytes("run(address,bytes[],address[])", vault, [swap], legs)


def _vaults(client: Client, rng: random.Random) -> CurveVenue:
    """Vaults of one asset that round in different ways; gifts and losses change their rates without a log."""
    chain = NodeChain(client)
    token = load_json(sources.ROOT / "src/ouro/testnet/artifacts_own/TestToken.json").bytecode
    asset = chain.deploy(token + encode(["string", "string", "uint8", "uint256"], ["A", "A", 6, SUPPLY]))
    codes = vault_codes()
    vaults = [chain.deploy(codes["OffsetVault"] + encode(["address", "uint8"], [asset, k])) for k in _OFFSETS]
    vaults.append(chain.deploy(codes["PlainVault"] + encode(["address"], [asset])))
    venue = CurveVenue("erc4626", "", chain, pools=list(vaults), factories=tuple(vaults))
    venue.swap_call, venue.token = _conversion, asset
    for vault in vaults:
        chain.call(asset, call_bytes("approve(address,uint256)", vault, MAX_UINT))
        chain.evm.set_balance(vault, 10**30)
        chain.call(vault, call_bytes("deposit(uint256,address)", rng.randint(1, 10**18), OWNER))
        venue.acts.append(lambda vault=vault: _vault_act(chain, asset, vault, rng))
    return venue


def _conversion(state: Any, i: int, j: int, amount: int) -> tuple[Address, bytes]:
    signature = "redeem(uint256,address,address)" if i else "deposit(uint256,address)"
    return state.address, call_bytes(signature, amount, OWNER, *((OWNER,) if i else ()))


def _vault_act(chain: NodeChain, asset: Address, vault: Address, rng: random.Random) -> None:
    kind, amount = rng.random(), int(10 ** rng.uniform(0, rng.choice([6, 18, 24])))
    supply = int.from_bytes(chain.call(vault, call_bytes("totalSupply()")))
    held = int.from_bytes(chain.call(vault, call_bytes("totalAssets()")))
    share, lost = int(supply * rng.random()), int(held * rng.random() * 0.9)
    if kind < 0.3:
        chain.call(vault, call_bytes("deposit(uint256,address)", amount, OWNER))
    elif kind < 0.4:
        chain.call(vault, call_bytes("mint(uint256,address)", amount, OWNER))
    elif kind < 0.6 or supply >> 110:  # losses make shares cheap: one day they would be no money any more
        share = (
            int.from_bytes(chain.call(vault, call_bytes("balanceOf(address)", OWNER))) if supply >> 110 else share
        )
        chain.call(vault, call_bytes("redeem(uint256,address,address)", share, OWNER, OWNER))
    elif kind < 0.7:
        chain.call(vault, call_bytes("withdraw(uint256,address,address)", lost, OWNER, OWNER))
    elif kind < 0.9:
        chain.call(asset, call_bytes("transfer(address,uint256)", vault, min(amount, held + 1)))
    else:
        chain.call(asset, call_bytes("transfer(address,uint256)", OWNER, lost), caller=vault)


# ------------------------------------------------------------------------------------------------ worth the same


class _Even(random.Random):
    """Draws equal weights and no rates."""

    def random(self) -> float:
        return 0.0


def curve_at_one(family: str, client: Client) -> tuple[CurveVenue, Pair]:
    """A pool (a vault) of two tokens that are worth the same, and a pair of them where they are not."""
    makers = {"saddle": _saddle_at_one, "erc4626": _vault_at_one}
    maker = makers.get(family, _third_at_one if family in COMPILED else _second_at_one)
    venue, tokens = maker(family, client)
    low, high = sorted(tokens)
    return venue, pair_of(venue.chain, (low, high), 10**23, 12 * 10**22)


def _saddle_at_one(family: str, client: Client) -> tuple[CurveVenue, list[Address]]:
    chain = NodeChain(client)
    world = SaddleWorld(chain)
    tokens = [token for token, places in world.tokens if places == 18][:2]
    pool = chain.deploy(world.pool_code)
    initial = "initialize(address[],uint8[],string,string,uint256,uint256,uint256,address)"
    chain.call(pool, call_bytes(initial, tokens, [18, 18], "L", "L", 200, 4_000_000, 0, world.lp_code))
    for token in tokens:
        chain.drive(token, call_bytes("approve(address,uint256)", pool, SUPPLY))
    chain.drive(pool, call_bytes("addLiquidity(uint256[],uint256,uint256)", [10**23] * 2, 0, SUPPLY))
    return CurveVenue(family, "", chain, pools=[pool], factories=(pool,), token=tokens[0]), tokens


def _second_at_one(family: str, client: Client) -> tuple[CurveVenue, list[Address]]:
    chain = NodeVaultChain(client)
    stable = family == "balancer_v2_stable"
    tokens = sorted(token for token, places in chain.decimals.items() if places == 18)[:2]
    if stable:
        factory = chain.factory("20230206-composable-stable-pool-v3/ComposableStablePoolFactory")
        signature = "create(string,string,address[],uint256,address[],uint256[],bool[],uint256,address)"
        values = (200, [NOBODY] * 2, [0, 0], [False, False])
    else:
        factory = chain.factory("20230206-weighted-pool-v3/WeightedPoolFactory")
        signature = "create(string,string,address[],uint256[],address[],uint256,address)"
        values = ([5 * 10**17] * 2, [NOBODY] * 2)
    data = call_bytes(signature, "P", "P", tokens, *values, 3 * 10**15, OWNER)
    pool, pool_id = chain.created(factory, data)
    entries = sorted([*((token, 10**23) for token in tokens), *([(pool, (1 << 112) - 1)] if stable else [])])
    amounts = [amount for _, amount in entries]
    chain.join(pool_id, tuple(token for token, _ in entries), encode(["uint256", "uint256[]"], [0, amounts]))
    _hand_over(chain, tokens)
    return CurveVenue(family, "", chain, pools=[pool], factories=(factory,), token=tokens[0]), tokens


def _third_at_one(family: str, client: Client) -> tuple[CurveVenue, list[Address]]:
    chain = NodeChain(client)
    world = BalancerV3World(family, chain)
    tokens = sorted(token for token, places in world.decimals.items() if places == 18)[:2]
    pool = world.create(_Even(1), tuple(tokens), [NOBODY] * 2)
    call = call_bytes(INITIALIZE, pool, world.driver, tokens, [10**23] * 2, 0, b"")
    world.run(tuple(tokens), call)
    _hand_over(chain, tokens)
    return CurveVenue(family, "", chain, pools=[pool], factories=(world.factory,), token=tokens[0]), tokens


def _vault_at_one(family: str, client: Client) -> tuple[CurveVenue, list[Address]]:
    """A share is worth a little more than its asset."""
    chain = NodeChain(client)
    asset = chain.tokens[0]
    vault = chain.deploy(vault_codes()["OffsetVault"] + encode(["address", "uint8"], [asset, 0]))
    for data in (
        call_bytes("approve(address,uint256)", vault, MAX_UINT),
        call_bytes("transfer(address,uint256)", OWNER, 10**26),
    ):
        chain.drive(asset, data)
    chain.drive(vault, call_bytes("deposit(uint256,address)", 10**25, chain.driver))
    chain.drive(asset, call_bytes("transfer(address,uint256)", vault, 10**23 + 7))
    return CurveVenue(family, "", chain, pools=[vault], factories=(vault,), token=asset), [asset, vault]


def _hand_over(chain: NodeChain, tokens: list[Address]) -> None:
    """The pair is filled and moved by the driver."""
    for token in tokens:
        chain.call(token, call_bytes("transfer(address,uint256)", chain.driver, 10**30))
