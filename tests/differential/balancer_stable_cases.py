"""Random stable pools of the real Vault, six generations of factories, against our quotes and storage words."""

import random
from typing import Any

import msgspec
from eth_abi.abi import encode
from tests.differential import sources
from tests.differential.balancer_weighted_cases import Tally, WeightedPlay
from tests.differential.balancer_world import ZERO, BalancerChain, VaultMirror, amount_for
from tests.differential.chain import OWNER, Reverted

from ouro.protocols.balancer_math import ONE
from ouro.protocols.balancer_v2_stable import BalancerV2Stable, amplification
from ouro.protocols.balancer_v2_stable_state import BalancerV2StableState
from ouro.testnet.abi import call_bytes

FAMILY = BalancerV2Stable()
_OLD = "create(string,string,address[],uint256,uint256,address)"
_META = "create(string,string,address[],uint256,address[],uint256[],uint256,bool,address)"
_COMPOSABLE = "create(string,string,address[],uint256,address[],uint256[],bool[],uint256,address)"
_TASKS = {
    "stable": "deprecated/20210624-stable-pool/StablePoolFactory",
    "meta": "deprecated/20210727-meta-stable-pool/MetaStablePoolFactory",
    "stable2": "20220609-stable-pool-v2/StablePoolFactory",
    "composable1": "deprecated/20220906-composable-stable-pool/ComposableStablePoolFactory",
    "composable2": "20221122-composable-stable-pool-v2/ComposableStablePoolFactory",
    "composable3": "20230206-composable-stable-pool-v3/ComposableStablePoolFactory",
}
_ROUNDING = frozenset(("stable", "meta"))
_WITH_OWN_TOKEN = frozenset(("composable1", "composable2", "composable3"))
_WITH_RATES = _WITH_OWN_TOKEN | {"meta"}


def rate_provider_code() -> bytes:
    """Creation code of the provider beside this file."""
    wanted = {"RateProvider": "RateProvider.sol"}
    return sources.compiled({"": sources.HERE}, wanted, None, "paris")["RateProvider"].bytecode


class BalancerV2StableWorld:
    """One Vault and rate providers; each scenario creates a pool of a random generation."""

    def __init__(self, kinds: tuple[str, ...] = tuple(_TASKS), chain: BalancerChain | None = None) -> None:
        self.chain = chain = chain or BalancerChain()
        self.kinds = kinds
        self.factories = {name: chain.factory(_TASKS[name]) for name in kinds}
        code = rate_provider_code()
        self.providers = [chain.deploy(code) for _ in range(5)]
        self.tally = Tally()

    def scenario(self, rng: random.Random, cases: int) -> None:
        """A pool followed by logs through random actions, then swaps, each undone."""
        chain = self.chain
        mark, before = chain.evm.snapshot(), (chain.timestamp, chain.number)
        chain.at(chain.timestamp + rng.randint(1, 10**5))
        play = self.open_pool(rng)
        play.fill()
        for _ in range(rng.randint(0, 12)):
            play.act()
        if rng.random() < 0.9:
            play.resume()
        play.refresh()
        play.compare_read()
        for _ in range(cases):
            self.tally.refused += play.case()
        play.mirror.compare_all()
        self.tally.cases += cases
        self.tally.words += play.mirror.compared
        self.tally.scenarios += 1
        chain.evm.revert(mark)
        chain.timestamp, chain.number = before
        chain.at(chain.timestamp)

    def open_pool(self, rng: random.Random) -> "StablePlay":
        """A new, empty pool, followed from its first log."""
        chain = self.chain
        kind = rng.choice(self.kinds)
        n = 2 if kind == "meta" else rng.choice([2, 2, 3, 4, 5])
        tokens = tuple(sorted(rng.sample(list(chain.decimals), n)))
        fee = rng.choice([10**12, 4 * 10**14, 10**17, rng.randint(10**12, 10**17)])
        amp = rng.choice([1, 5000, 200, rng.randint(1, 5000)])
        providers, durations = [ZERO] * n, [0] * n
        for k in range(n):
            if kind in _WITH_RATES and rng.random() < 0.5:
                providers[k] = self.providers[k]
                durations[k] = rng.choice([0, 60, 10_800])
                self.set_rate(providers[k], int(ONE * rng.choice([1, 0.5, 1.1234567890123, 1.9, 3.7])))
        arguments: dict[str, tuple[str, tuple[Any, ...]]] = {
            "meta": (_META, (tokens, amp, providers, durations, fee, False, OWNER)),
        }
        old = (_OLD, (tokens, amp, fee, OWNER))
        exempt = [p != ZERO and rng.random() < 0.5 for p in providers]
        later = (_COMPOSABLE, (tokens, amp, providers, durations, exempt, fee, OWNER))
        signature, values = arguments.get(kind, later if kind.startswith("composable") else old)
        pool, pool_id = chain.created(self.factories[kind], call_bytes(signature, "P", "P", *values))
        own = -1
        if kind in _WITH_OWN_TOKEN:
            by_token = dict(zip(tokens, zip(providers, durations, strict=True), strict=True))
            tokens = tuple(sorted((*tokens, pool)))
            own = tokens.index(pool)
            by_token[pool] = (ZERO, 0)
            providers = [by_token[token][0] for token in tokens]
            durations = [by_token[token][1] for token in tokens]
        scaling = tuple(10 ** (18 - chain.decimals.get(token, 18)) for token in tokens)
        zeros = (0,) * len(tokens)
        now = chain.timestamp
        rates = tuple(self.rate(provider) for provider in providers)
        state = BalancerV2StableState(
            address=pool,
            manager=chain.vault,
            pool_id=pool_id,
            tokens=tokens,
            scaling=scaling,
            cash=zeros,
            managed=zeros,
            changed_at=zeros,
            swap_fee=fee,
            amp_start=amp * 1000,
            amp_end=amp * 1000,
            amp_start_time=0,
            amp_end_time=0,
            rounds_up=kind in _ROUNDING,
            own_token=own,
            rate_providers=tuple(providers),
            rates=rates,
            rate_durations=tuple(durations),
            rate_expires=tuple(now + d if p != ZERO else 0 for p, d in zip(providers, durations, strict=True)),
            provider_rates=tuple(r if p != ZERO else 0 for p, r in zip(providers, rates, strict=True)),
            pause_ends=chain.paused_until(pool)[1],
        )
        return StablePlay(chain, VaultMirror(chain, FAMILY, state), rng, self, kind)

    def set_rate(self, provider: str, rate: int) -> None:
        """The provider's answer from now on."""
        self.chain.call(provider, call_bytes("setRate(uint256)", rate))

    def rate(self, provider: str) -> int:
        """The provider's answer now; one where there is none."""
        if provider == ZERO:
            return ONE
        return int.from_bytes(self.chain.call(provider, call_bytes("getRate()")))


class StablePlay(WeightedPlay):
    """Actions and cases on one stable pool."""

    family = FAMILY

    def __init__(
        self, chain: BalancerChain, mirror: VaultMirror, rng: random.Random, world: BalancerV2StableWorld, kind: str
    ) -> None:
        super().__init__(chain, mirror, rng, world.tally)
        self.world, self.kind = world, kind
        self.actions = (*self.actions, self._ramp, self._rates, self._rates, self._cache)

    @property
    def later(self) -> bool:
        return self.kind in ("stable2", "composable1", "composable2", "composable3")

    def _curve(self) -> list[int]:
        return [k for k in range(len(self.state.tokens)) if k != self.state.own_token]

    def _direction(self) -> tuple[int, int]:
        i, j = self.rng.sample(self._curve(), 2)
        return i, j

    def _amounts(self, amounts: dict[int, int]) -> list[int]:
        """By token as joins want them: without the pool's own."""
        return [amounts[k] for k in self._curve()]

    def _init_amounts(self, whole: list[int]) -> list[int]:
        own = self.state.own_token
        return [*whole[:own], (1 << 112) - 1, *whole[own:]] if own >= 0 else whole

    def fill(self) -> None:
        """The first join, balanced or not."""
        rng, state = self.rng, self.state
        depth = rng.uniform(7, rng.choice([12, 24, 28]))
        skew = rng.choice([0.05, 0.1, 0.1, 0.3, 0.3, 1.0, 3.0])
        while depth < 40:
            amounts = [
                min(max(int(10 ** (depth + rng.uniform(-skew, skew))) // state.scaling[k], 1), 1 << 100)
                for k in self._curve()
            ]
            try:
                data = encode(["uint256", "uint256[]"], [0, self._init_amounts(amounts)])
                self.chain.join(state.pool_id, state.tokens, data)
                self.mirror.follow()
                return
            except Reverted:
                depth += 1
        raise AssertionError(f"no first join of {state}")

    def _join(self) -> None:
        amounts = [amount_for(self.rng, self.state.cash[k], 0.3) for k in self._curve()]
        data = encode(["uint256", "uint256[]", "uint256"], [1, amounts, 0])
        self.chain.join(self.state.pool_id, self.state.tokens, data)

    def _exit(self) -> None:
        held = self.chain.balance(self.state.address, OWNER)
        share = int(held * self.rng.random() ** 2)
        kind = 0 if self.state.own_token >= 0 else 1
        if kind:
            data = encode(["uint256", "uint256"], [1, share])
        else:
            data = encode(["uint256", "uint256", "uint256"], [0, share, self.rng.randrange(len(self._curve()))])
        self.chain.leave(self.state.pool_id, self.state.tokens, data)

    def _ramp(self) -> None:
        """Start or stop a ramp of the amplification."""
        if self.rng.random() < 0.3:
            self.chain.call(self.state.address, call_bytes("stopAmplificationParameterUpdate()"))
            return
        now = self.state.amp_end // 1000
        target = min(max(int(now * self.rng.choice([0.55, 0.8, 1.3, 1.9])), 1), 5000)
        end = self.chain.timestamp + self.rng.choice([86_400, 200_000])
        call = call_bytes("startAmplificationParameterUpdate(uint256,uint256)", target, end)
        self.chain.call(self.state.address, call)

    def _rates(self) -> None:
        """Providers answer otherwise from now on, which no log tells; time passes."""
        for provider in self.state.rate_providers:
            if provider != ZERO and self.rng.random() < 0.7:
                rate = int(self.world.rate(provider) * (1 + self.rng.uniform(-0.01, 0.03)))
                self.world.set_rate(provider, max(rate, 1))
        self.chain.at(self.chain.timestamp + self.rng.choice([30, 61, 20_000]))
        self.refresh()
        self.chain.paused_until(self.state.address)  # the last call's logs are followed: none

    def _cache(self) -> None:
        """Renew a cache or change how long it holds."""
        k = self.rng.choice(self._curve())
        token = self.state.tokens[k]
        meta = self.kind == "meta"
        if self.rng.random() < 0.5:
            name = "updatePriceRateCache(address)" if meta else "updateTokenRateCache(address)"
            self.chain.call(self.state.address, call_bytes(name, token))
        else:
            name = "setPriceRateCacheDuration" if meta else "setTokenRateCacheDuration"
            duration = self.rng.choice([0, 60, 4000])
            self.chain.call(self.state.address, call_bytes(f"{name}(address,uint256)", token, duration))

    def compare_read(self) -> None:
        """The pool read anew is the one followed by logs, on its way from one amplification to another too."""
        state, now = self.state, self.chain.timestamp
        found = self.chain.read_anew(FAMILY, state)
        if now < state.amp_end_time:
            self.mirror.expect("the pool read anew in a ramp", found, state)
            return
        amp = amplification(state, now)
        settled = msgspec.structs.replace(state, amp_start=amp, amp_end=amp, amp_start_time=0, amp_end_time=0)
        self.mirror.expect("the pool read anew", found, settled)

    def refresh(self) -> None:
        """What a re-read of the providers brings."""
        answers = tuple(0 if p == ZERO else self.world.rate(p) for p in self.state.rate_providers)
        self.mirror.state = msgspec.structs.replace(self.state, provider_rates=answers)
