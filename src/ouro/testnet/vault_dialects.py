"""Pools whose tokens lie in Balancer's second Vault: made by their own factories, filled and traded at the Vault.

Traders use the Vault itself, as Balancer's own front ends do; the deployer provides the liquidity.
"""

from collections.abc import Sequence

from eth_abi.abi import encode

from ouro.hashing import topic
from ouro.testnet.abi import call_data, decode_result
from ouro.testnet.client import Client
from ouro.testnet.deployment import Pool, Venue
from ouro.testnet.dialects import DEADLINE, Call, Dialect, Located, Seen, Tokens
from ouro.testnet.profiles import NATIVE, RecordedPool
from ouro.testnet.sender import Sender
from ouro.types import Address

ONE = 10**18
_INIT = 0
_BPT_PREMINT = 2**112 - 1
_POOL_CREATED = topic("PoolCreated(address)")
_SWAP = "swap((bytes32,uint8,address,address,uint256,bytes),(address,bool,address,bool),uint256,uint256)"
_JOIN = "joinPool(bytes32,address,address,(address[],uint256[],bytes,bool))"


class _VaultPool(Dialect):
    swap_gas = 400_000

    def locate(self, client: Client, venue: Venue, asked: Sequence[tuple[RecordedPool, Tokens]]) -> list[Located]:
        """The factory announces its pools in the order of their creation; each knows its id."""
        request = {"address": venue.pool_factory, "topics": [_POOL_CREATED], "fromBlock": hex(venue.start_block)}
        pools = ["0x" + log["topics"][1][-40:] for log in client.call("eth_getLogs", request)]
        assert len(pools) == len(asked)
        calls = [("eth_call", [{"to": pool, "data": call_data("getPoolId()")}, "latest"]) for pool in pools]
        return [
            Located(pool, venue.factory, pool_id) for pool, pool_id in zip(pools, client.batch(calls), strict=True)
        ]

    def reads(self, pool: Pool) -> tuple[Call, ...]:
        assert pool.manager is not None
        return ((pool.manager, call_data("getPoolTokens(bytes32)", bytes.fromhex(pool.pool_id[2:]))),)

    def swap(self, venue: Venue, pool: Pool, zero_for_one: bool, amount_in: int, trader: Address) -> Call:
        token_in, token_out = pool.tokens if zero_for_one else pool.tokens[::-1]
        single = (bytes.fromhex(pool.pool_id[2:]), 0, token_in, token_out, amount_in, b"")
        return venue.router, call_data(_SWAP, single, (trader, False, trader, False), 0, DEADLINE)

    def _join(self, sender: Sender, pool: Pool, label: str, tokens: list[Address], amounts: list[int]) -> None:
        assert pool.manager is not None
        user_data = encode(["uint256", "uint256[]"], [_INIT, amounts])
        request = (tokens, [2**256 - 1] * len(tokens), user_data, False)
        data = call_data(_JOIN, bytes.fromhex(pool.pool_id[2:]), sender.account, sender.account, request)
        sender.send(pool.manager, data, gas=2_000_000, what=f"first join of {label}")


class Weighted(_VaultPool):
    """Two tokens with the weights of the record."""

    def create(self, sender: Sender, venue: Venue, recorded: RecordedPool, tokens: Tokens) -> None:
        assert venue.pool_factory is not None
        signature = "create(string,string,address[],uint256[],address[],uint256,address)"
        weights = [ONE * weight // 100 for weight in recorded.weights]
        arguments = (
            recorded.label,
            "BPT",
            tokens,
            weights,
            [NATIVE] * 2,
            recorded.fee_ppm * 10**12,
            sender.account,
        )
        data = call_data(signature, *arguments)
        sender.send(venue.pool_factory, data, gas=9_000_000, what=f"create {recorded.label}")

    def fill(self, sender: Sender, venue: Venue, pool: Pool, recorded: RecordedPool) -> None:
        self._join(sender, pool, recorded.label, list(pool.tokens), list(recorded.reserves))

    def reads(self, pool: Pool) -> tuple[Call, ...]:
        return (*super().reads(pool), (pool.address, call_data("getNormalizedWeights()")))

    def seen(self, answers: Sequence[str]) -> Seen:
        _, balances, _ = decode_result(("address[]", "uint256[]", "uint256"), answers[0])
        (weights,) = decode_result(("uint256[]",), answers[1])
        return Seen(reserves=(balances[0], balances[1]), weights=(weights[0] * 100 // ONE, weights[1] * 100 // ONE))


class ComposableStable(_VaultPool):
    """Two tokens at par, and the pool's own shares as a third that nobody trades here."""

    amplification = 200

    def create(self, sender: Sender, venue: Venue, recorded: RecordedPool, tokens: Tokens) -> None:
        assert venue.pool_factory is not None
        signature = "create(string,string,address[],uint256,address[],uint256[],bool[],uint256,address)"
        arguments = (
            recorded.label, "BPT", tokens, self.amplification, [NATIVE] * 2, [0, 0], [False, False],
            recorded.fee_ppm * 10**12, sender.account,
        )  # fmt: skip
        data = call_data(signature, *arguments)
        sender.send(venue.pool_factory, data, gas=12_000_000, what=f"create {recorded.label}")

    def fill(self, sender: Sender, venue: Venue, pool: Pool, recorded: RecordedPool) -> None:
        entries = [*zip(pool.tokens, recorded.reserves, strict=True), (pool.address, _BPT_PREMINT)]
        entries.sort()
        self._join(sender, pool, recorded.label, [token for token, _ in entries], [amount for _, amount in entries])

    def reads(self, pool: Pool) -> tuple[Call, ...]:
        # which of the three is the pool's own share follows from the addresses; the answer carries it
        return (*super().reads(pool), (pool.address, call_data("getBptIndex()")))

    def seen(self, answers: Sequence[str]) -> Seen:
        _, balances, _ = decode_result(("address[]", "uint256[]", "uint256"), answers[0])
        own = int(answers[1], 16)
        rest = [balance for k, balance in enumerate(balances) if k != own]
        return Seen(reserves=(rest[0], rest[1]))
