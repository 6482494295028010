"""Create the pools of a deployment and give them their recorded state, to the wei."""

from ouro.testnet.abi import call_data
from ouro.testnet.client import Client
from ouro.testnet.deployment import Deployment, Pool, Venue
from ouro.testnet.dialects import Tokens, recorded_state
from ouro.testnet.kinds import dialect
from ouro.testnet.profiles import NATIVE, ChainProfile, RecordedPool
from ouro.testnet.sender import Sender
from ouro.types import Address

_MAX_UINT256 = 2**256 - 1


class SeedError(Exception):
    """A pool did not come out as recorded."""


def seed(client: Client, deployment: Deployment, profile: ChainProfile) -> Deployment:
    """Create and fill every pool of ``profile``; returns the deployment with its pools.

    Raises ``SeedError`` if a pool's reserves, price or liquidity differ from the record, ``TransactionFailed`` if a
    transaction failed.
    """
    sender = Sender(client, deployment.deployer)
    addresses = {token.recorded_address: token.address for token in deployment.tokens} | {NATIVE: NATIVE}
    for venue in deployment.venues:
        if venue.position_manager is not None:
            for token in deployment.tokens:
                data = call_data("approve(address,uint256)", venue.position_manager, _MAX_UINT256)
                sender.send(token.address, data, gas=100_000, what=f"approve {token.symbol}")
    planned = [(deployment.venue(pool.dex), pool, _tokens(pool, addresses)) for pool in profile.pools]
    for venue, recorded, tokens in planned:
        dialect(recorded.kind).create(sender, venue, recorded, tokens)
    sender.mine()
    pools = _find_pools(client, planned)
    for (venue, recorded, _), pool in zip(planned, pools, strict=True):
        dialect(recorded.kind).fill(sender, venue, pool, recorded)
    sender.mine()
    _verify(client, pools, profile)
    return deployment.with_pools(pools)


def _tokens(recorded: RecordedPool, addresses: dict[str, Address]) -> Tokens:
    return addresses[recorded.tokens[0]], addresses[recorded.tokens[1]]


def _find_pools(client: Client, planned: list[tuple[Venue, RecordedPool, Tokens]]) -> tuple[Pool, ...]:
    asked: dict[str, list[tuple[RecordedPool, Tokens]]] = {}
    for venue, recorded, tokens in planned:
        asked.setdefault(venue.name, []).append((recorded, tokens))
    venues = {venue.name: venue for venue, _, _ in planned}
    found = {
        name: iter(dialect(pools[0][0].kind).locate(client, venues[name], pools)) for name, pools in asked.items()
    }
    pools = []
    for position, (venue, recorded, tokens) in enumerate(planned):
        located = next(found[venue.name])
        pools.append(
            Pool(
                recorded.dex, recorded.kind, located.address, tokens, recorded.symbols, recorded.fee_ppm, position,
                recorded.tick_spacing, located.manager, located.pool_id,
            )
        )  # fmt: skip
    return tuple(pools)


def _verify(client: Client, pools: tuple[Pool, ...], profile: ChainProfile) -> None:
    asked = [dialect(pool.kind).reads(pool) for pool in pools]
    calls = [("eth_call", [{"to": to, "data": data}, "latest"]) for reads in asked for to, data in reads]
    answers = iter(client.batch(calls))
    for pool, reads in zip(pools, asked, strict=True):
        recorded = profile.pools[pool.recorded]
        found, wanted = dialect(pool.kind).seen([next(answers) for _ in reads]), recorded_state(recorded)
        if found != wanted:
            raise SeedError(f"{recorded.label}: the chain has {found}, the record {wanted}")
