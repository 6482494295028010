"""Where everything of a local chain is: written by deploy and seed, read by agents and tests."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import msgspec

from ouro.types import Address


@dataclass(frozen=True, slots=True)
class Token:
    """A deployed ERC-20. ``recorded_address`` is the real token that it stands for.

    ``asset`` is what the shares of a vault are shares of.
    """

    symbol: str
    address: Address
    decimals: int
    recorded_address: Address
    asset: Address | None = None


@dataclass(frozen=True, slots=True)
class Venue:
    """A deployed DEX. ``router`` is ready for use by agents: the venue's own, or our purse (``pays_itself``).

    Uniswap V3 has a quoter and a position manager; Uniswap V4's manager and Balancer's Vault are the
    ``factory``, and the Vault's pools are made by a ``pool_factory`` of their kind.
    """

    name: str
    kind: str
    family: str
    fee_ppm: int | None
    factory: Address
    router: Address
    start_block: int
    quoter: Address | None = None
    position_manager: Address | None = None
    pays_itself: bool = False
    pool_factory: Address | None = None


@dataclass(frozen=True, slots=True)
class Pool:
    """A seeded pool; ``recorded`` is its position in the profile's pools.

    In Uniswap V4 ``address`` is the pool's id and ``manager`` the contract that holds it; Balancer's Vault is the
    ``manager`` of contracts that it knows by ``pool_id``.
    """

    dex: str
    kind: str
    address: Address
    tokens: tuple[Address, Address]
    symbols: tuple[str, str]
    fee_ppm: int
    recorded: int
    tick_spacing: int = 0
    manager: Address | None = None
    pool_id: str = ""


@dataclass(frozen=True, slots=True)
class Deployment:
    """One chain's addresses; ``gas_sink`` burns gas (see ``background``). Holds no keys: may be kept and shown."""

    chain: str
    chain_id: int
    deployer: Address
    start_block: int
    wrapped_native: Address
    multicall: Address
    gas_sink: Address
    executor: Address
    owner: Address
    operators: tuple[Address, ...]
    stable_tokens: tuple[Address, ...]
    tokens: tuple[Token, ...]
    venues: tuple[Venue, ...]
    pools: tuple[Pool, ...] = ()

    def token(self, symbol: str) -> Token:
        """By symbol; within a deployment they are distinct."""
        return next(token for token in self.tokens if token.symbol == symbol)

    def venue(self, name: str) -> Venue:
        """By name."""
        return next(venue for venue in self.venues if venue.name == name)

    def with_pools(self, pools: tuple[Pool, ...]) -> Self:
        """The same chain after seeding."""
        return replace(self, pools=pools)

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe form."""
        return msgspec.to_builtins(self)

    @classmethod
    def from_dict(cls, value: Any) -> Self:
        """Inverse of ``to_dict``. Raises ``msgspec.ValidationError`` naming the field."""
        return msgspec.convert(value, cls)

    def save(self, path: Path) -> None:
        """Write as JSON."""
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=2))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote."""
        return msgspec.json.decode(path.read_bytes(), type=cls)
