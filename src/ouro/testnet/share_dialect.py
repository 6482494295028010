"""ERC-4626 vaults: pools of asset and share whose rate only yield moves.

Where traders trade elsewhere, yield comes in here (a transfer, of which no event of the vault tells) or holders
redeem.
"""

from collections.abc import Sequence

from ouro.testnet.abi import call_data
from ouro.testnet.client import Client
from ouro.testnet.deployment import Pool, Venue
from ouro.testnet.dialects import Call, Dialect, Located, Seen, Tokens
from ouro.testnet.profiles import RecordedPool
from ouro.testnet.sender import Sender
from ouro.types import Address

YIELD_PART = 100
"""Of what a trade of that size would move, so little comes in as yield, or is redeemed."""


class Shares(Dialect):
    """The vault is deployed and filled as one of the chain's tokens."""

    swap_gas = 300_000

    def create(self, sender: Sender, venue: Venue, recorded: RecordedPool, tokens: Tokens) -> None:
        """Nothing is left to do."""

    def locate(self, client: Client, venue: Venue, asked: Sequence[tuple[RecordedPool, Tokens]]) -> list[Located]:
        """The share is the vault."""
        return [Located(share) for _, (_, share) in asked]

    def reads(self, pool: Pool) -> tuple[Call, ...]:
        return tuple((pool.address, call_data(call)) for call in ("totalAssets()", "totalSupply()"))

    def seen(self, answers: Sequence[str]) -> Seen:
        return Seen(reserves=(int(answers[0], 16), int(answers[1], 16)))

    def swap(self, venue: Venue, pool: Pool, zero_for_one: bool, amount_in: int, trader: Address) -> Call:
        amount = max(amount_in // YIELD_PART, 1)
        if zero_for_one:
            return pool.tokens[0], call_data("transfer(address,uint256)", pool.address, amount)
        return pool.address, call_data("redeem(uint256,address,address)", amount, trader, trader)
