"""Random weighted pools of the real Vault, four generations of factories, against our quotes and storage words."""

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from eth_abi.abi import encode
from tests.differential.balancer_world import ZERO, BalancerChain, VaultMirror, amount_for
from tests.differential.chain import OWNER, Reverted

from ouro.protocols.balancer_math import ONE
from ouro.protocols.balancer_v2_weighted import BalancerV2Weighted
from ouro.protocols.balancer_v2_weighted_state import BalancerV2WeightedState
from ouro.protocols.base import QuoteError
from ouro.testnet.abi import call_bytes

FAMILY = BalancerV2Weighted()
_V1 = "create(string,string,address[],uint256[],uint256,address)"
_PAIR = "create(string,string,address[],uint256[],uint256,bool,address)"
_LATER = "create(string,string,address[],uint256[],address[],uint256,address)"
_TASKS = {
    "first": "deprecated/20210418-weighted-pool/WeightedPoolFactory",
    "pair": "deprecated/20210418-weighted-pool/WeightedPool2TokensFactory",
    "second": "20220908-weighted-pool-v2/WeightedPoolFactory",
    "third": "20230206-weighted-pool-v3/WeightedPoolFactory",
}


@dataclass
class Tally:
    """What was compared."""

    cases: int = 0
    refused: int = 0
    actions: int = 0
    words: int = 0
    scenarios: int = 0


def weights_for(rng: random.Random, n: int) -> list[int]:
    """Weights that sum to one: equal, round, or any."""
    if rng.random() < 0.3:
        weights = [ONE // n] * n
    elif rng.random() < 0.4:
        units = 100 // n
        parts = [rng.randint(1, units) for _ in range(n - 1)]
        weights = [part * ONE // 100 for part in parts] + [0]
    else:
        parts = [rng.random() + 0.05 for _ in range(n)]
        weights = [max(int(part / sum(parts) * ONE), ONE // 100) for part in parts]
    weights[-1] = ONE - sum(weights[:-1])
    rng.shuffle(weights)
    return weights


class BalancerV2WeightedWorld:
    """One Vault; each scenario creates a pool of a random generation."""

    def __init__(self, chain: BalancerChain | None = None) -> None:
        self.chain = chain or BalancerChain()
        self.kinds = tuple(_TASKS)
        self.factories = {name: self.chain.factory(path) for name, path in _TASKS.items()}
        self.tally = Tally()

    def scenario(self, rng: random.Random, cases: int) -> None:
        """A pool followed by logs through random actions, then swaps, each undone."""
        chain = self.chain
        mark, before = chain.evm.snapshot(), (chain.timestamp, chain.number)
        chain.at(chain.timestamp + rng.randint(1, 10**5))
        play = WeightedPlay(chain, self.open_pool(rng), rng, self.tally)
        play.fill()
        for _ in range(rng.randint(0, 12)):
            play.act()
        if rng.random() < 0.9:
            play.resume()
        play.mirror.expect("the pool read anew", chain.read_anew(FAMILY, play.state), play.state)
        for _ in range(cases):
            self.tally.refused += play.case()
        play.mirror.compare_all()
        self.tally.cases += cases
        self.tally.words += play.mirror.compared
        self.tally.scenarios += 1
        chain.evm.revert(mark)
        chain.timestamp, chain.number = before
        chain.at(chain.timestamp)

    def open_pool(self, rng: random.Random) -> VaultMirror:
        """A new, empty pool."""
        chain = self.chain
        kind = rng.choice(self.kinds)
        n = 2 if kind == "pair" else rng.choice([2, 2, 3, 4, 8])
        tokens = tuple(sorted(rng.sample(list(chain.decimals), n)))
        weights = weights_for(rng, n)
        fee = rng.choice([10**12, 10**15, 3 * 10**15, 10**17, rng.randint(10**12, 10**17)])
        arguments: dict[str, tuple[str, tuple[Any, ...]]] = {
            "first": (_V1, (tokens, weights, fee, OWNER)),
            "pair": (_PAIR, (tokens, weights, fee, False, OWNER)),
        }
        signature, values = arguments.get(kind, (_LATER, (tokens, weights, [ZERO] * n, fee, OWNER)))
        pool, pool_id = chain.created(self.factories[kind], call_bytes(signature, "P", "P", *values))
        scaling = tuple(10 ** (18 - chain.decimals[token]) for token in tokens)
        zeros = (0,) * n
        later = kind in ("second", "third")
        end = chain.paused_until(pool)[1]
        state = BalancerV2WeightedState(
            pool, chain.vault, pool_id, tokens, scaling, tuple(weights), zeros, zeros, zeros, fee, later, False, end
        )
        return VaultMirror(chain, FAMILY, state)


class WeightedPlay:
    """Actions and cases on one pool."""

    family: Any = FAMILY

    def __init__(self, chain: BalancerChain, mirror: VaultMirror, rng: random.Random, tally: Tally) -> None:
        self.chain, self.mirror, self.rng, self.tally = chain, mirror, rng, tally
        self.actions: tuple[Callable[[], None], ...] = (
            self._swap,
            self._swap,
            self._join,
            self._exit,
            self._fee,
            self._pause,
        )

    @property
    def state(self) -> Any:
        return self.mirror.state

    def fill(self) -> None:
        """The first join."""
        rng, state = self.rng, self.state
        depth = rng.uniform(7, rng.choice([12, 24, 30]))
        skew = rng.choice([0.0, 1.0, 5.0])
        while True:
            amounts = [
                min(max(int(10 ** (depth + rng.uniform(-skew, skew))) // unit, 1), 1 << 100)
                for unit in state.scaling
            ]
            with suppress(Reverted):
                self.chain.join(state.pool_id, state.tokens, encode(["uint256", "uint256[]"], [0, amounts]))
                self.mirror.follow()
                return
            depth += 1

    def act(self) -> None:
        """One random action in a new block, followed by its logs alone; it may revert."""
        self.chain.at(self.chain.timestamp + self.rng.choice([1, 12, 3600]))
        with suppress(Reverted):
            self.rng.choice(self.actions)()
            self.mirror.follow()
        self.tally.actions += 1

    def _direction(self) -> tuple[int, int]:
        i, j = self.rng.sample(range(len(self.state.tokens)), 2)
        return i, j

    def _swap(self) -> None:
        i, j = self._direction()
        state, given_in = self.state, self.rng.random() < 0.5
        amount = amount_for(self.rng, state.cash[i if given_in else j], -0.6)
        self.chain.swap(state.pool_id, given_in, state.tokens[i], state.tokens[j], amount)

    def _join(self) -> None:
        amounts = [amount_for(self.rng, held, 0.3) for held in self.state.cash]
        data = encode(["uint256", "uint256[]", "uint256"], [1, amounts, 0])
        self.chain.join(self.state.pool_id, self.state.tokens, data)

    def _exit(self) -> None:
        held = self.chain.balance(self.state.address, OWNER)
        share = int(held * self.rng.random() ** 2)
        self.chain.leave(self.state.pool_id, self.state.tokens, encode(["uint256", "uint256"], [1, share]))

    def _fee(self) -> None:
        fee = self.rng.choice([10**12, 10**16, 10**17])
        self.chain.call(self.state.address, call_bytes("setSwapFeePercentage(uint256)", fee))

    def _pause(self) -> None:
        signatures = ("pause()", "unpause()") if self.later else ("setPaused(bool)",) * 2
        signature = signatures[self.state.paused]
        self.chain.allow(self.state.address, signature)
        arguments = () if self.later else (not self.state.paused,)
        self.chain.call(self.state.address, call_bytes(signature, *arguments))

    def resume(self) -> None:
        """End a pause: a paused pool has nothing to compare but its refusals."""
        if self.state.paused:
            self._pause()
            self.mirror.follow()

    @property
    def later(self) -> bool:
        """Whether pause and unpause are two functions."""
        return self.state.exact_powers

    def case(self) -> bool:
        """One quote against the swap itself; True where both refuse it."""
        rng, chain, state = self.rng, self.chain, self.state
        i, j = self._direction()
        given_in = rng.random() < 0.6
        amount = amount_for(rng, state.cash[i if given_in else j], -0.48)
        quote_of = self.family.quote_in if given_in else self.family.quote_out
        return self.compare(quote_of, i, j, given_in, amount, chain.context())

    def compare(self, quote_of: Any, i: int, j: int, given_in: bool, amount: int, context: Any) -> bool:
        """Amount, state and words of a swap, or a mutual refusal."""
        chain, state = self.chain, self.state
        ours, reason = None, ""
        try:
            ours = quote_of(state, i, j, amount, context)
        except QuoteError as error:
            reason = error.reason
        what = f"{'in' if given_in else 'out'} {amount} {i}->{j} at {chain.timestamp}"
        mark = chain.evm.snapshot()
        try:
            theirs = chain.swap(state.pool_id, given_in, state.tokens[i], state.tokens[j], amount)
        except Reverted as error:
            chain.evm.revert(mark)
            self.mirror.expect(f"{what} refused: {error}", ours, None)
            return True
        self.mirror.expect(f"{what}: we refuse: {reason}", reason, "")
        assert ours is not None
        self.mirror.expect(what, ours.amount_out_wei if given_in else ours.amount_in_wei, theirs)
        self.mirror.expect_words(what, ours.next_state)
        chain.evm.revert(mark)
        return False
