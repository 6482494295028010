"""A local node with the real contracts and random traffic on them, mined on demand."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ouro.chain.logs import parse_log
from ouro.chain.rpc import Caller
from ouro.testnet.abi import call_data, decode_result
from ouro.testnet.client import Client
from ouro.testnet.deployment import Deployment, Pool
from ouro.types import BlockUpdate

_FOREVER = 2**40
_MAX = 2**256 - 1
_MINT = "mint((address,address,uint24,int24,int24,uint256,uint256,uint256,uint256,address,uint256))"
_SWAP_V3 = "exactInputSingle((address,address,uint24,address,uint256,uint256,uint256,uint160))"
_SWAP_V2 = "swapExactTokensForTokens(uint256,uint256,address[],address,uint256)"
_DECREASE = "decreaseLiquidity((uint256,uint128,uint256,uint256,uint256))"
_SPACINGS = {100: 1, 500: 10, 3_000: 60, 10_000: 200}


@dataclass
class Traffic:
    """Random swaps, mints, burns, donations, fee switches and oracle growth by the deployer; some of it fails."""

    client: Client
    deployment: Deployment
    rng: random.Random
    seeded: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        spenders = {venue.router for venue in self.deployment.venues}
        spenders |= {venue.position_manager for venue in self.deployment.venues if venue.position_manager}
        self.client.call("evm_setAutomine", True)
        for token in self.deployment.tokens:
            for spender in spenders:
                self.send(token.address, call_data("approve(address,uint256)", spender, _MAX))
        self.client.call("evm_setAutomine", False)
        for venue in self.deployment.venues:
            if venue.position_manager:
                self.seeded[venue.position_manager] = self._balance(venue.position_manager, self.me)

    @property
    def me(self) -> str:
        """Who acts."""
        return self.deployment.deployer

    def send(self, to: str, data: str, gas: int = 1_500_000) -> None:
        """Queue a transaction; whether it succeeds shows when it is mined."""
        request = {"from": self.me, "to": to, "data": data, "gas": hex(gas), "gasPrice": hex(10**12)}
        self.client.call("eth_sendTransaction", request)

    def mine(self) -> None:
        """One block of what is queued."""
        self.client.call("evm_mine")

    def act(self) -> None:
        """Queue one random action on a random pool."""
        pool = self.rng.choice(self.deployment.pools)
        v2: list[Callable[[Pool], None]] = [self.swap_v2] * 6 + [self.mint_v2, self.burn_v2, self.donate_v2]
        v3: list[Callable[[Pool], None]] = [self.swap_v3] * 8 + [self.mint_v3] * 4
        v3 += [self.burn_v3] * 3 + [self.fee_switch_v3, self.grow_oracle_v3]
        self.rng.choice(v2 if pool.kind == "v2" else v3)(pool)

    def _balance(self, token: str, holder: str) -> int:
        return int(self.client.read(token, call_data("balanceOf(address)", holder)), 16)

    def _amount(self, token: str, pool: Pool) -> int:
        return max(1, int(self._balance(token, pool.address) * 10 ** self.rng.uniform(-7, -0.7)))

    def swap_v2(self, pool: Pool) -> None:
        i = self.rng.randrange(2)
        path = [pool.tokens[i], pool.tokens[1 - i]]
        router = self.deployment.venue(pool.dex).router
        amount = self._amount(path[0], pool)
        self.send(router, call_data(_SWAP_V2, amount, 0, path, self.me, _FOREVER))

    def mint_v2(self, pool: Pool) -> None:
        for token in pool.tokens:
            self.send(token, call_data("transfer(address,uint256)", pool.address, self._amount(token, pool)))
        self.send(pool.address, call_data("mint(address)", self.me))

    def burn_v2(self, pool: Pool) -> None:
        part = self._balance(pool.address, self.me) // self.rng.randrange(3, 1000)
        self.send(pool.address, call_data("transfer(address,uint256)", pool.address, part))
        self.send(pool.address, call_data("burn(address)", self.me))

    def donate_v2(self, pool: Pool) -> None:
        token = self.rng.choice(pool.tokens)
        self.send(token, call_data("transfer(address,uint256)", pool.address, self._amount(token, pool)))
        take = self.rng.choice((call_data("sync()"), call_data("skim(address)", self.me)))
        self.send(pool.address, take)

    def swap_v3(self, pool: Pool) -> None:
        i = self.rng.randrange(2)
        token_in, token_out = pool.tokens[i], pool.tokens[1 - i]
        amount = self._amount(token_in, pool) * self.rng.choice((1, 1, 1, 5))
        args = (token_in, token_out, pool.fee_ppm, self.me, _FOREVER, amount, 0, 0)
        self.send(self.deployment.venue(pool.dex).router, call_data(_SWAP_V3, args), gas=6_000_000)

    def mint_v3(self, pool: Pool) -> None:
        spacing = _SPACINGS[pool.fee_ppm]
        (tick,) = decode_result(("uint160", "int24"), self.client.read(pool.address, call_data("slot0()"))[:130])[
            1:
        ]
        lower = (tick // spacing + self.rng.randrange(-30, 20)) * spacing
        upper = lower + self.rng.randrange(1, 40) * spacing
        amounts = [self._amount(token, pool) for token in pool.tokens]
        args = (*pool.tokens, pool.fee_ppm, lower, upper, *amounts, 0, 0, self.me, _FOREVER)
        manager = self._manager(pool)
        self.send(manager, call_data(_MINT, args))

    def burn_v3(self, pool: Pool) -> None:
        manager = self._manager(pool)
        count = self._balance(manager, self.me)
        index = self.rng.randrange(count)
        query = call_data("tokenOfOwnerByIndex(address,uint256)", self.me, index)
        token_id = int(self.client.read(manager, query), 16)
        position = self.client.read(manager, call_data("positions(uint256)", token_id))
        liquidity = int(position[2 + 7 * 64 : 2 + 8 * 64], 16)
        part = liquidity if self.rng.random() < 0.5 else liquidity // 3
        if part and index >= self.seeded[manager]:  # the first positions keep the whole range liquid
            self.send(manager, call_data(_DECREASE, (token_id, part, 0, 0, _FOREVER)))

    def fee_switch_v3(self, pool: Pool) -> None:
        choice = self.rng.choice(((0, 0), (4, 6), (10, 10), (0, 5)))
        self.send(pool.address, call_data("setFeeProtocol(uint8,uint8)", *choice))

    def grow_oracle_v3(self, pool: Pool) -> None:
        count = self.rng.randrange(2, 9)
        self.send(pool.address, call_data("increaseObservationCardinalityNext(uint16)", count))

    def _manager(self, pool: Pool) -> str:
        manager = self.deployment.venue(pool.dex).position_manager
        assert manager is not None
        return manager


async def read_update(reader: Caller, chain: str, number: int, topics: tuple[str, ...]) -> BlockUpdate:
    """A block as a feed would deliver it."""
    header: dict[str, Any] = await reader.call("eth_getBlockByNumber", [hex(number), False])
    query = {"blockHash": header["hash"], "topics": [list(topics)]}
    logs = [parse_log(value) for value in await reader.call("eth_getLogs", [query])]
    return BlockUpdate(
        chain=chain,
        number=number,
        hash=header["hash"],
        parent_hash=header["parentHash"],
        timestamp=int(header["timestamp"], 16),
        base_fee_wei=int(header["baseFeePerGas"], 16),
        gas_used=int(header["gasUsed"], 16),
        gas_limit=int(header["gasLimit"], 16),
        logs=tuple(logs),
        received_ns=0,
    )
