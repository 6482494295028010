"""Create the pools of a deployment and give them their recorded state, to the wei."""

from dataclasses import dataclass

from ouro.testnet.abi import call_bytes, call_data, decode_result
from ouro.testnet.client import Client
from ouro.testnet.deployment import Deployment, Pool, Venue
from ouro.testnet.profiles import ChainProfile, RecordedPool
from ouro.testnet.sender import Sender
from ouro.testnet.tickmath import (
    MAX_TICK,
    amounts_for_liquidity,
    liquidity_for_amounts,
    sqrt_ratio_at_tick,
)
from ouro.types import Address

_MAX_UINT256 = 2**256 - 1
_DEADLINE = 2**40
_MINT = "mint((address,address,uint24,int24,int24,uint256,uint256,uint256,uint256,address,uint256))"
_CREATE = "createAndInitializePoolIfNecessary(address,address,uint24,uint160)"
_RANGES = ((0.004, 0.25), (0.02, 0.25), (0.10, 0.20))
"""Half-widths of the inner ranges (share of price) and their shares of the recorded liquidity; a full range holds
the rest. Trades of plausible size cross the first edges, and no pool ever runs dry."""


class SeedError(Exception):
    """A pool did not come out as recorded."""


@dataclass(frozen=True, slots=True)
class _Position:
    lower: int
    upper: int
    amount0: int
    amount1: int


def seed(client: Client, deployment: Deployment, profile: ChainProfile) -> Deployment:
    """Create and fill every pool of ``profile``; returns the deployment with its pools.

    Raises ``SeedError`` if a pool's reserves, price or liquidity differ from the record, ``TransactionFailed`` if a
    transaction failed.
    """
    sender = Sender(client, deployment.deployer)
    addresses = {token.recorded_address: token.address for token in deployment.tokens}
    for venue in deployment.venues:
        if venue.position_manager is not None:
            for token in deployment.tokens:
                data = call_data("approve(address,uint256)", venue.position_manager, _MAX_UINT256)
                sender.send(token.address, data, gas=100_000, what=f"approve {token.symbol}")
    for recorded in profile.pools:
        token0, token1 = (addresses[token] for token in recorded.tokens)
        venue = deployment.venue(recorded.dex)
        if recorded.kind == "v2":
            data = call_data("createPair(address,address)", token0, token1)
            sender.send(venue.factory, data, gas=4_000_000, what=f"createPair {_name(recorded)}")
        else:
            _seed_v3(sender, venue, recorded, (token0, token1))
    sender.mine()
    pools = _find_pools(client, deployment, profile, addresses)
    for pool in pools:
        recorded = profile.pools[pool.recorded]
        if recorded.kind == "v2":
            _seed_v2(sender, pool, recorded)
    sender.mine()
    _verify(client, pools, profile)
    return deployment.with_pools(pools)


def _seed_v2(sender: Sender, pool: Pool, recorded: RecordedPool) -> None:
    for token, amount in zip(pool.tokens, recorded.reserves, strict=True):
        data = call_data("transfer(address,uint256)", pool.address, amount)
        sender.send(token, data, gas=120_000, what=f"transfer to {_name(recorded)}")
    sender.send(
        pool.address, call_data("mint(address)", sender.account), gas=400_000, what=f"mint of {_name(recorded)}"
    )


def _seed_v3(sender: Sender, venue: Venue, recorded: RecordedPool, tokens: tuple[Address, Address]) -> None:
    assert venue.position_manager is not None
    calls = [call_bytes(_CREATE, *tokens, recorded.fee_ppm, recorded.sqrt_price_x96)]
    for position in plan_positions(recorded):
        parameters = (
            *tokens, recorded.fee_ppm, position.lower, position.upper, position.amount0, position.amount1,
            0, 0, sender.account, _DEADLINE,
        )  # fmt: skip
        calls.append(call_bytes(_MINT, parameters))
    data = call_data("multicall(bytes[])", calls)
    sender.send(venue.position_manager, data, gas=9_000_000, what=f"positions of {_name(recorded)}")


def plan_positions(recorded: RecordedPool) -> tuple[_Position, ...]:
    """Ranges around the recorded price whose liquidities add up exactly to the recorded one.

    The inner ranges come out at whatever whole token amounts allow; the full range, where one token unit is less
    than one unit of liquidity, makes up the exact rest.
    """
    root, spacing = recorded.sqrt_price_x96, recorded.tick_spacing
    positions: list[_Position] = []
    placed = 0
    for half_width, share in _RANGES:
        reach = max(1, round(half_width * 10_000 / spacing)) * spacing
        lower = (recorded.tick - reach) // spacing * spacing
        upper = -((-recorded.tick - reach) // spacing) * spacing
        wanted = int(recorded.liquidity * share)
        position, got = _position(root, lower, upper, wanted)
        positions.append(position)
        placed += got
    edge = MAX_TICK // spacing * spacing
    position, got = _position(root, -edge, edge, recorded.liquidity - placed)
    if placed + got != recorded.liquidity:
        raise SeedError(f"{_name(recorded)}: liquidity {recorded.liquidity} can't be met exactly ({placed + got})")
    return (*positions, position)


def _position(root: int, lower_tick: int, upper_tick: int, liquidity: int) -> tuple[_Position, int]:
    lower, upper = sqrt_ratio_at_tick(lower_tick), sqrt_ratio_at_tick(upper_tick)
    amount0, amount1 = amounts_for_liquidity(root, lower, upper, liquidity)
    # The token with the finer grain decides, the other is offered in excess of its own grain.
    if root >= 1 << 96:
        amount0 += 1
    else:
        amount1 += 1
    return _Position(lower_tick, upper_tick, amount0, amount1), liquidity_for_amounts(
        root, lower, upper, amount0, amount1
    )


def _find_pools(
    client: Client, deployment: Deployment, profile: ChainProfile, addresses: dict[str, Address]
) -> tuple[Pool, ...]:
    calls = []
    for recorded in profile.pools:
        token0, token1 = (addresses[token] for token in recorded.tokens)
        data = (
            call_data("getPair(address,address)", token0, token1)
            if recorded.kind == "v2"
            else call_data("getPool(address,address,uint24)", token0, token1, recorded.fee_ppm)
        )
        calls.append(("eth_call", [{"to": deployment.venue(recorded.dex).factory, "data": data}, "latest"]))
    pools = []
    for position, (recorded, answer) in enumerate(zip(profile.pools, client.batch(calls), strict=True)):
        (address,) = decode_result(("address",), answer)
        tokens = (addresses[recorded.tokens[0]], addresses[recorded.tokens[1]])
        found = (recorded.dex, recorded.kind, address.lower(), tokens, recorded.symbols, recorded.fee_ppm, position)
        pools.append(Pool(*found))
    return tuple(pools)


def _verify(client: Client, pools: tuple[Pool, ...], profile: ChainProfile) -> None:
    calls = []
    for pool in pools:
        names = ("getReserves()", "token0()") if pool.kind == "v2" else ("slot0()", "liquidity()")
        calls += [("eth_call", [{"to": pool.address, "data": call_data(name)}, "latest"]) for name in names]
    answers = client.batch(calls)
    for k, pool in enumerate(pools):
        recorded = profile.pools[pool.recorded]
        first, second = answers[2 * k : 2 * k + 2]
        if pool.kind == "v2":
            found = decode_result(("uint112", "uint112"), first[: 2 + 128])
            wanted = recorded.reserves
        else:
            found = decode_result(("uint160",), first[: 2 + 64]) + decode_result(("uint128",), second)
            wanted = (recorded.sqrt_price_x96, recorded.liquidity)
        if found != wanted:
            raise SeedError(f"{_name(recorded)}: the chain has {found}, the record {wanted}")


def _name(recorded: RecordedPool) -> str:
    return f"{recorded.dex} {recorded.symbols[0]}/{recorded.symbols[1]} {recorded.fee_ppm} ppm"
