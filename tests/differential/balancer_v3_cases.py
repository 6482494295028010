"""Random pools of the real third Vault (compiled from its package) against our quotes, logs and re-reads.

Two minutes of compilation when not yet cached: ``make balancer-v3``, not part of the normal runs.
"""

import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
from eth_abi.abi import decode, encode
from tests.differential import sources
from tests.differential.balancer_stable_cases import rate_provider_code
from tests.differential.balancer_weighted_cases import Tally, weights_for
from tests.differential.balancer_world import amount_for
from tests.differential.chain import OWNER, SUPPLY, Chain, Reverted
from tests.differential.mirror import Mismatch

from ouro.hashing import keccak, topic
from ouro.protocols.balancer_math import ONE
from ouro.protocols.balancer_v3_stable import BalancerV3Stable
from ouro.protocols.balancer_v3_weighted import BalancerV3Weighted
from ouro.protocols.base import QuoteError
from ouro.protocols.creation import NewPool
from ouro.protocols.reads import Garbage, play
from ouro.testnet.abi import call_bytes, create_address
from ouro.testnet.artifacts import load_json
from ouro.types import Address, BlockContext, Log

ZERO: Address = "0x" + "00" * 20
DECIMALS = (18, 6, 18, 8, 0, 18, 2, 12)
MAX_UINT = (1 << 256) - 1
MOST = (1 << 127) - 1
LEAST_TRADE = 10**6
_CONFIGS = "(address,uint8,address,bool)[]"
_ROLES = "(address,address,address)"
_WEIGHTED = f"create(string,string,{_CONFIGS},uint256[],{_ROLES},uint256,address,bool,bool,bytes32)"
_STABLE = f"create(string,string,{_CONFIGS},uint256,{_ROLES},uint256,address,bool,bool,bytes32)"
SWAP = "swap((uint8,address,address,address,uint256,uint256,bytes))"
INITIALIZE = "initialize(address,address,address[],uint256[],uint256,bytes)"
_ADD = "addLiquidity((address,address,uint256[],uint256,uint8,bytes))"
_REMOVE = "removeLiquidity((address,address,uint256,uint256[],uint8,bytes))"
_POOL_CREATED = topic("PoolCreated(address)")
FAMILIES: dict[str, Any] = {
    "balancer_v3_weighted": BalancerV3Weighted(),
    "balancer_v3_stable": BalancerV3Stable(),
}


def compiled() -> bool:
    """Whether the Vault's contracts are at hand without compiling them for minutes."""
    return sources.balancer_v3_kept()


def own(name: str) -> bytes:
    """Creation code of a contract of ``BalancerV3.sol`` beside this file."""
    return sources.compiled({"": sources.HERE}, {name: "BalancerV3.sol"}, None, "cancun")[name].bytecode


def deploy_vault(chain: Any, nonce: int) -> tuple[Address, Address, dict[str, Address]]:
    """(vault, fee controller, factories) by the owner whose next nonce is ``nonce``."""
    codes = {name: artifact.bytecode for name, artifact in sources.balancer_v3().items()}
    authorizer = chain.deploy(own("OwnersAuthorizer"))
    vault = create_address(OWNER, nonce + 4)  # each part names the Vault before it exists
    fees = chain.deploy(
        codes["ProtocolFeeController"] + encode(["address", "uint256", "uint256"], [vault, 5 * 10**17, 10**17])
    )
    admin_types = ["address", "uint32", "uint32", "uint256", "uint256"]
    values = [vault, 4 * 365 * 86_400, 90 * 86_400, LEAST_TRADE, 10**4]
    admin = chain.deploy(codes["VaultAdmin"] + encode(admin_types, values))
    extension = chain.deploy(codes["VaultExtension"] + encode(["address", "address"], [vault, admin]))
    types = ["address", "address", "address"]
    made = chain.deploy(codes["Vault"] + encode(types, [extension, authorizer, fees]))
    assert made == vault
    types = ["address", "uint32", "string", "string"]
    factories = {
        name: chain.deploy(codes[contract] + encode(types, [vault, 365 * 86_400, "f", "p"]))
        for name, contract in (
            ("balancer_v3_weighted", "WeightedPoolFactory"),
            ("balancer_v3_stable", "StablePoolFactory"),
        )
    }
    return vault, fees, factories


class BalancerV3World:
    """One Vault; each scenario creates a pool of one family."""

    def __init__(self, name: str, chain: Any = None) -> None:
        self.family = FAMILIES[name]
        self.chain = chain = chain or Chain()
        account = chain.evm.basic(OWNER)
        assert account is not None
        self.vault, self.fees, factories = deploy_vault(chain, account.nonce)
        self.factory = factories[name]
        self.driver = chain.deploy(own("VaultDriver"))
        code = load_json(sources.ROOT / "src/ouro/testnet/artifacts_own/TestToken.json").bytecode
        self.decimals: dict[Address, int] = {}
        for places in DECIMALS:
            arguments = encode(["string", "string", "uint8", "uint256"], ["T", "T", places, SUPPLY])
            token = chain.deploy(code + arguments)
            chain.call(token, call_bytes("transfer(address,uint256)", self.driver, SUPPLY // 2))
            self.decimals[token] = places
        self.providers = [chain.deploy(rate_provider_code()) for _ in range(8)]
        self.tally = Tally()
        self._salt = 0

    def scenario(self, rng: random.Random, cases: int) -> None:
        """A pool, random actions followed by logs and re-reads, then swaps, each undone."""
        chain = self.chain
        mark, before = chain.evm.snapshot(), (chain.timestamp, chain.number)
        chain.at(chain.timestamp + rng.randint(1, 10**5))
        one = Play(self, rng)
        for _ in range(rng.randint(0, 10)):
            one.act()
        one.resume()
        for _ in range(cases):
            self.tally.refused += one.case()
        self.tally.cases += cases
        self.tally.scenarios += 1
        chain.evm.revert(mark)
        chain.timestamp, chain.number = before
        chain.at(chain.timestamp)

    def run(self, tokens: tuple[Address, ...], *calls: bytes) -> list[bytes]:
        """Calls inside the Vault's unlock, settled. Raises ``Reverted``."""
        data = call_bytes("run(address,bytes[],address[])", self.vault, list(calls), list(tokens))
        return list(decode(["bytes[]"], self.chain.call(self.driver, data))[0])

    def create(self, rng: random.Random, tokens: tuple[Address, ...], providers: list[Address]) -> Address:
        """A new pool without liquidity."""
        n, salt = len(tokens), self._salt.to_bytes(32)
        self._salt += 1
        configs = [
            (token, int(provider != ZERO), provider, provider != ZERO and rng.random() < 0.6)
            for token, provider in zip(tokens, providers, strict=True)
        ]
        fee = rng.choice([10**13, 10**15, 3 * 10**15, 10**17, rng.randint(100, 10**6) * 10**11])
        rest = ((OWNER, OWNER, ZERO), fee, ZERO, False, False, salt)
        if self.family.name == "balancer_v3_weighted":
            data = call_bytes(_WEIGHTED, "P", "P", configs, weights_for(rng, n), *rest)
        else:
            amp = rng.choice([1, 5000, 50_000, 200, rng.randint(1, 50_000)])
            data = call_bytes(_STABLE, "P", "P", configs, amp, *rest)
        self.chain.call(self.factory, data)
        log = next(log for log in self.chain.logs(self.factory) if log.topics[0] == _POOL_CREATED)
        return "0x" + log.topics[1][-40:]

    def read(self, pool: Address) -> Any:
        """The pool as the family's script finds it. Raises ``Garbage``."""

        script = self.family.read(NewPool("dex", self.family.name, pool, (), 0))
        chain: Any = self.chain

        def answer(ask: Any) -> bytes | None:
            return chain.ask(ask.target, ask.data)

        found = play(script, answer)
        return self.family.from_json(self.family.to_json(found))


class Play:
    """Actions and cases on one pool."""

    def __init__(self, world: BalancerV3World, rng: random.Random) -> None:
        self.world, self.rng, self.chain, self.family = world, rng, world.chain, world.family
        stable = self.family.name == "balancer_v3_stable"
        n = rng.choice([2, 2, 3, 4, 5] if stable else [2, 2, 3, 4, 8])
        self.tokens = tuple(sorted(rng.sample(list(world.decimals), n)))
        self.providers = [world.providers[k] if rng.random() < 0.4 else ZERO for k in range(n)]
        for provider in self.providers:
            if provider != ZERO:
                self._set_rate(provider, int(ONE * rng.choice([1, 0.5, 1.1234567890123, 1.9, 3.7])))
        self.pool = world.create(rng, self.tokens, self.providers)
        self._fill(stable)
        self.state = world.read(self.pool)
        self.actions: tuple[Callable[[], None], ...] = (
            self._swap, self._swap, self._add, self._remove, self._fee, self._pause, self._rates, self._protocol,
            self._rescue, *((self._ramp,) if stable else ()),
        )  # fmt: skip

    def _expect(self, what: str, ours: object, theirs: object) -> None:
        self.world.tally.words += 1
        if ours != theirs:
            raise Mismatch(f"{what}: ours {ours}, the contract's {theirs} ({self.family.to_json(self.state)})")

    def _set_rate(self, provider: Address, rate: int) -> None:
        self.chain.call(provider, call_bytes("setRate(uint256)", rate))

    def _fill(self, stable: bool) -> None:
        rng = self.rng
        skew = rng.choice([0.1, 0.1, 0.5, 1.5]) if stable else rng.choice([0.0, 1.0, 4.0])
        depth = rng.uniform(9, rng.choice([20, 26, 30]))
        while depth < 36:
            amounts = [
                min(max(int(10 ** (depth + rng.uniform(-skew, skew) + self.world.decimals[t] - 18)), 1), 1 << 110)
                for t in self.tokens
            ]
            with suppress(Reverted):
                call = call_bytes(INITIALIZE, self.pool, self.world.driver, list(self.tokens), amounts, 0, b"")
                self.world.run(self.tokens, call)
                return
            depth += 1
        raise AssertionError(f"no first deposit in {self.tokens}")

    def act(self) -> None:
        """One random action in a new block; what its logs say equals what the contracts say."""
        self.chain.at(self.chain.timestamp + self.rng.choice([1, 12, 3600]))
        with suppress(Reverted):
            self.rng.choice(self.actions)()
        self.world.tally.actions += 1

    def follow(self) -> None:
        """Logs, then a fresh read: without yield, everything is told by logs."""
        followed = self.state
        for log in self._logs():
            delta = self.family.decode(followed, log, self.chain.timestamp)
            if delta is not None:
                followed = self.family.apply(followed, delta)
        found = self._read()
        if not any(self.state.pays_yield):
            told = msgspec.structs.replace(followed, last_live=found.last_live, rates=found.rates)
            self._expect("state by logs", told, found)
        self.state = found

    def _read(self) -> Any:
        try:
            return self.world.read(self.pool)
        except Garbage as error:
            raise Mismatch(f"the pool can't be read: {error}") from error

    def _logs(self) -> list[Log]:
        named = [log for log in self.chain.logs(self.world.vault) if self.family.pool_named(log) == self.pool]
        return [*named, *self.chain.logs(self.pool)]

    def _swap(self) -> None:
        i, j = self.rng.sample(range(len(self.tokens)), 2)
        given_in = self.rng.random() < 0.5
        amount = amount_for(self.rng, self.state.balances[i if given_in else j], -0.6)
        self._send_swap(given_in, i, j, amount)
        self.follow()

    def _send_swap(self, given_in: bool, i: int, j: int, amount: int) -> int:
        limit = 0 if given_in else MAX_UINT
        kind = 0 if given_in else 1
        call = call_bytes(SWAP, (kind, self.pool, self.tokens[i], self.tokens[j], amount, limit, b""))
        [answer] = self.world.run((self.tokens[i], self.tokens[j]), call)
        return decode(["uint256", "uint256", "uint256"], answer)[0]

    def _add(self) -> None:
        amounts = [amount_for(self.rng, held, -0.3) for held in self.state.balances]
        kind = self.rng.randrange(2)
        amounts = [MOST] * len(amounts) if kind == 0 else amounts
        supply = self.chain.balance(self.pool, self.world.driver)
        wanted = int(supply * 10 ** self.rng.uniform(-6, -0.5)) if kind == 0 else 0
        call = call_bytes(_ADD, (self.pool, self.world.driver, amounts, wanted, kind, b""))
        self.world.run(self.tokens, call)
        self.follow()

    def _remove(self) -> None:
        held = self.chain.balance(self.pool, self.world.driver)
        share = int(held * self.rng.random() ** 3)
        kind = self.rng.randrange(2)
        least = [0] * len(self.tokens)
        if kind == 1:
            least[self.rng.randrange(len(least))] = 1
        call = call_bytes(_REMOVE, (self.pool, self.world.driver, share, least, kind, b""))
        self.world.run(self.tokens, call)
        self.follow()

    def _fee(self) -> None:
        fee = self.rng.choice([10**12, 10**16, 10**17])
        data = call_bytes("setStaticSwapFeePercentage(address,uint256)", self.pool, fee)
        self.chain.call(self.world.vault, data)
        self.follow()

    def _pause(self) -> None:
        name = "unpausePool(address)" if self.state.stopped else "pausePool(address)"
        self.chain.call(self.world.vault, call_bytes(name, self.pool))
        self.follow()

    def resume(self) -> None:
        """End a pause."""
        if self.state.stopped:
            self._pause()

    def _rescue(self) -> None:
        name = "disableRecoveryMode(address)" if self.state.rescued else "enableRecoveryMode(address)"
        self.chain.call(self.world.vault, call_bytes(name, self.pool))
        self.follow()

    def _protocol(self) -> None:
        """Another share for the protocol, of swaps or of yield."""
        what = self.rng.choice(["Swap", "Yield"])
        share = self.rng.choice([0, 10**17, 5 * 10**17, 123_456 * 10**11])
        data = call_bytes(f"setProtocol{what}FeePercentage(address,uint256)", self.pool, share)
        self.chain.call(self.world.fees, data)
        self.follow()

    def _rates(self) -> None:
        """Providers answer otherwise from now on, which no log tells."""
        for k, provider in enumerate(self.providers):
            if provider != ZERO and self.rng.random() < 0.7:
                rate = int(self.state.rates[k] * (1 + self.rng.uniform(-0.01, 0.03)))
                self._set_rate(provider, max(rate, 1))
        self.state = self._read()

    def _ramp(self) -> None:
        state = self.state
        if self.chain.timestamp < state.amp_end_time:
            self.chain.at(self.chain.timestamp + self.rng.choice([3_000, 40_000, 200_000]))
            if self.rng.random() < 0.5:
                self.chain.call(self.pool, call_bytes("stopAmplificationParameterUpdate()"))
                self.follow()
            return
        target = min(max(int(state.amp_end // 1000 * self.rng.choice([0.55, 0.8, 1.3, 1.9])), 1), 50_000)
        end = self.chain.timestamp + self.rng.choice([86_400, 200_000])
        self.chain.call(self.pool, call_bytes("startAmplificationParameterUpdate(uint256,uint256)", target, end))
        self.follow()

    def case(self) -> bool:
        """One quote against the swap itself, undone; True where both refuse it."""
        rng, chain = self.rng, self.chain
        if rng.random() < 0.1:
            self._rates()
        i, j = rng.sample(range(len(self.tokens)), 2)
        given_in = rng.random() < 0.6
        amount = amount_for(rng, self.state.balances[i if given_in else j], -0.48)
        quote_of = self.family.quote_in if given_in else self.family.quote_out
        ours, reason = None, ""
        try:
            ours = quote_of(self.state, i, j, amount, BlockContext(chain.number, chain.timestamp, 0))
        except QuoteError as error:
            reason = error.reason
        what = f"{'in' if given_in else 'out'} {amount} {i}->{j} at {chain.timestamp}"
        mark = chain.evm.snapshot()
        try:
            theirs = self._send_swap(given_in, i, j, amount)
        except Reverted as error:
            chain.evm.revert(mark)
            self._expect(f"{what} refused: {error}", ours, None)
            return True
        self._expect(f"{what}: we refuse: {reason}", reason, "")
        assert ours is not None
        self._expect(what, ours.amount_out_wei if given_in else ours.amount_in_wei, theirs)
        self._expect_told(what, ours.next_state)
        chain.evm.revert(mark)
        return False

    def _expect_told(self, what: str, after: Any) -> None:
        """The log leads to the quote's state; so do, word by word, the Vault's packed balances."""
        [delta] = [found for log in self._logs() if (found := self.family.decode(self.state, log, 0)) is not None]
        self._expect(f"{what}: by its log", self.family.apply(self.state, delta), after)
        base = _mapped(int(self.pool, 16), BALANCES_SLOT)
        for k in range(len(self.tokens)):
            word = after.balances[k] | after.last_live[k] << 128
            self._expect(f"{what}: balance word {k}", word, self.chain.slot(self.world.vault, _mapped(k, base)))


BALANCES_SLOT = 5
"""Of the Vault: pool → token's position → balance and live balance."""


def _mapped(key: int, slot: int) -> int:
    return int.from_bytes(keccak(key.to_bytes(32) + slot.to_bytes(32)))
