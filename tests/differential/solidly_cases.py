"""Random volatile and stable pools of Aerodrome V1's real contracts against our quotes and storage words."""

import random
from dataclasses import dataclass

import msgspec
from eth_abi.abi import decode, encode
from tests.differential import sources
from tests.differential.chain import OWNER, SUPPLY, Chain, Reverted
from tests.differential.mirror import Mirror

from ouro.protocols.base import Quote, QuoteError
from ouro.protocols.solidly import Solidly, SolidlyState
from ouro.testnet.abi import call_bytes
from ouro.testnet.artifacts import load_json
from ouro.types import Address, BlockContext

FAMILY = Solidly()
CONTEXT = BlockContext(0, 0, 0)


@dataclass
class Tally:
    """What was compared."""

    cases: int = 0
    refused: int = 0
    lowered: int = 0
    view_reverts: int = 0
    words: int = 0
    scenarios: int = 0


class SolidlyWorld:
    """One factory; pools of token pairs with different decimals, volatile and stable."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.pools: list[tuple[Chain, Address, bool, tuple[int, int]]] = []
        code = sources.aerodrome()
        for decimals in ((18, 18), (6, 18), (18, 6), (8, 2), (0, 18)):
            chain = _chain_with(decimals)
            implementation = chain.deploy(code["Pool"].bytecode)
            factory = chain.deploy(code["PoolFactory"].bytecode + encode(["address"], [implementation]))
            for stable in (False, True):
                signature = "createPool(address,address,bool)"
                answer = chain.call(factory, call_bytes(signature, *chain.tokens, stable))
                self.pools.append((chain, "0x" + answer[-20:].hex(), stable, decimals))

    def scenario(self, rng: random.Random, cases: int) -> None:
        """Reserves from nothing by transfer and sync, a fee, then swaps, each undone."""
        chain, pool, stable, decimals = rng.choice(self.pools)
        mark, time_before = chain.evm.snapshot(), chain.timestamp
        factory = "0x" + chain.call(pool, call_bytes("factory()"))[-20:].hex()
        unit0, unit1 = 10 ** decimals[0], 10 ** decimals[1]
        chain.at(chain.timestamp + rng.randint(1, 10**6))
        state = SolidlyState(pool, chain.tokens, stable, unit0, unit1, 0, 0, 5 if stable else 30)
        if rng.random() < 0.5:
            fee = rng.choice([1, 7, 100, 300])
            chain.call(factory, call_bytes("setCustomFee(address,uint256)", pool, fee))
            state = msgspec.structs.replace(state, fee_bps=fee)
        mirror = Mirror(chain, FAMILY, state)
        play = _Play(chain, mirror, rng, self.tally)
        play.fill()
        for _ in range(cases):
            self.tally.refused += play.case()
        if rng.random() < 0.1:
            play.paused(factory)
        mirror.compare_all()
        self.tally.cases += cases
        self.tally.words += mirror.compared
        self.tally.scenarios += 1
        chain.evm.revert(mark)
        chain.at(time_before)


def _chain_with(decimals: tuple[int, int]) -> Chain:
    """A chain whose two tokens have these decimals, in the order of their addresses."""
    chain = Chain()
    code = load_json(sources.ROOT / "src/ouro/testnet/artifacts_own/TestToken.json").bytecode
    found: dict[int, Address] = {}
    tokens: list[Address] = []
    for index, places in enumerate(decimals):
        while True:
            initial = encode(["string", "string", "uint8", "uint256"], ["T", "T", places, SUPPLY])
            token = chain.deploy(code + initial)
            if index == 0 or token > tokens[0]:
                tokens.append(token)
                found[places] = token
                break
    chain.tokens = (tokens[0], tokens[1])
    driver = sources.own("FamilyDriver").bytecode
    chain.driver = chain.deploy(driver + encode(["address", "address"], chain.tokens))
    for token in chain.tokens:
        chain.call(token, call_bytes("transfer(address,uint256)", chain.driver, SUPPLY))
    return chain


class _Play:
    def __init__(self, chain: Chain, mirror: Mirror, rng: random.Random, tally: Tally) -> None:
        self.chain, self.mirror, self.rng, self.tally = chain, mirror, rng, tally

    @property
    def state(self) -> SolidlyState:
        return self.mirror.state

    def fill(self) -> None:
        """Syncs at different times, the last one with reserves near balance for stable pools, or far from it."""
        rng, state = self.rng, self.state
        depth = 10 ** rng.uniform(0, rng.choice([3, 9, 14]))
        skew = 10 ** rng.uniform(-0.3, 0.3) if rng.random() < 0.7 else 10 ** rng.uniform(-6, 6)
        self._found()
        for _ in range(rng.randint(1, 3)):
            for token, whole, unit in zip(
                self.chain.tokens, (depth, depth * skew), (state.unit0, state.unit1), strict=True
            ):
                amount = max(int(whole * unit) + rng.randint(0, 3), 1)
                self._transfer(token, amount)
            self.chain.at(self.chain.timestamp + rng.choice([0, 1, 13, 4000, rng.randint(0, 1 << 30)]))
            self.chain.drive(self.state.address, call_bytes("sync()"))
            self.mirror.follow()

    def _found(self) -> None:
        """The first deposit: equal values. Without LP tokens a pool can't share its fees and refuses every swap."""
        whole = 10 ** self.rng.randint(4, 8)
        for token, unit in zip(self.chain.tokens, (self.state.unit0, self.state.unit1), strict=True):
            self._transfer(token, whole * unit)
        self.chain.drive(self.state.address, call_bytes("mint(address)", OWNER))
        self.mirror.follow()

    def _transfer(self, token: Address, amount: int) -> None:
        self.chain.drive(token, call_bytes("transfer(address,uint256)", self.state.address, amount))

    def case(self) -> bool:
        """One quote against ``getAmountOut`` and the swap itself; True where both refuse it."""
        rng, state = self.rng, self.state
        i = rng.randrange(2)
        reserve_in, reserve_out = (state.reserve0, state.reserve1) if i == 0 else (state.reserve1, state.reserve0)
        kind = rng.random()
        if kind < 0.1:
            amount = rng.choice([1, 2, 3, 10**9, reserve_in, 1 << 200, (1 << 256) - 1])
        else:
            amount = max(int(reserve_in * 10 ** rng.uniform(-12, 1.5)), 1)
        exact_out = kind > 0.75
        if exact_out:
            amount = max(min(int(reserve_out * 10 ** rng.uniform(-9, 0)), reserve_out), 1)
        self.context = BlockContext(1, self.chain.timestamp, 0)
        try:
            quote = (FAMILY.quote_out if exact_out else FAMILY.quote_in)(state, i, 1 - i, amount, self.context)
        except QuoteError as error:
            if not exact_out:
                self._expect_refusal(i, amount, error)
            return True
        if not exact_out:
            self._compare_view(i, amount, quote.amount_out_wei)
        self._swap(i, quote, exact_out)
        return False

    def _compare_view(self, i: int, amount: int, ours: int) -> None:
        """``getAmountOut``, where it does not overflow in a test that scales twice; the swap itself decides."""
        data = call_bytes("getAmountOut(uint256,address)", amount, self.state.tokens[i])
        try:
            theirs = decode(["uint256"], self.chain.call(self.state.address, data))[0]
        except Reverted:
            self.tally.view_reverts += 1
            self.mirror.expect("only stable pools' view overflows", True, self.state.stable)
            return
        self.tally.lowered += theirs != ours
        if not 0 <= theirs - ours <= 3:
            self.mirror.expect(f"getAmountOut({amount}, {i})", ours, theirs)

    def _attempt(self, i: int, amount_in: int, amount_out: int) -> bool:
        outputs = (0, amount_out) if i == 0 else (amount_out, 0)
        signature = "swap(uint256,uint256,address,bytes)"
        try:
            self._transfer(self.chain.tokens[i], amount_in)
            self.chain.drive(self.state.address, call_bytes(signature, *outputs, self.chain.driver, b""))
        except Reverted:
            return False
        return True

    def _swap(self, i: int, quote: Quote, exact_out: bool) -> None:
        """The pool takes exactly this; one unit less in (exact-out) is refused; words and balances agree."""
        what = f"swap {quote.amount_in_wei} of token {i} for {quote.amount_out_wei}"
        mark = self.chain.evm.snapshot()
        self.mirror.expect(f"{what} accepted", True, self._attempt(i, quote.amount_in_wei, quote.amount_out_wei))
        before, words, balances = self.mirror.state, dict(self.mirror.words), dict(self.mirror.balances)
        self.mirror.follow()
        self.mirror.expect(f"state after {what}", quote.next_state, self.mirror.state)
        self.mirror.compare_all()
        self.mirror.state, self.mirror.words, self.mirror.balances = before, words, balances
        self.chain.evm.revert(mark)
        mark = self.chain.evm.snapshot()
        if exact_out and quote.amount_in_wei > 1:
            worse = self._attempt(i, quote.amount_in_wei - 1, quote.amount_out_wei)
            self.mirror.expect(f"{what}: one unit less is refused", False, worse)
        elif not exact_out and not self.state.stable:
            better = self._attempt(i, quote.amount_in_wei, quote.amount_out_wei + 1)
            self.mirror.expect(f"{what}: one unit more is refused", False, better)
        self.chain.evm.revert(mark)

    def _expect_refusal(self, i: int, amount: int, ours: QuoteError) -> None:
        """Where we refuse an input, what ``getAmountOut`` says can't be had either (or it reverts)."""
        try:
            answer = self.chain.call(
                self.state.address, call_bytes("getAmountOut(uint256,address)", amount, self.state.tokens[i])
            )
        except Reverted:
            return
        theirs = decode(["uint256"], answer)[0]
        if not theirs:
            return
        mark = self.chain.evm.snapshot()
        self.mirror.expect(
            f"{amount} of token {i} refused ({ours.reason}), getAmountOut {theirs}",
            False,
            self._attempt(i, amount, theirs),
        )
        self.chain.evm.revert(mark)

    def paused(self, factory: Address) -> None:
        """A paused factory: the pool refuses, and so do we."""
        mark = self.chain.evm.snapshot()
        self.chain.call(factory, call_bytes("setPauseState(bool)", True))
        amount = max(self.state.reserve0 // 100, 1)
        self.mirror.expect("a paused pool swaps", False, self._attempt(0, amount, 1))
        stopped = msgspec.structs.replace(self.state, paused=True)
        try:
            FAMILY.quote_in(stopped, 0, 1, amount, CONTEXT)
            self.mirror.expect("a paused pool quotes", False, True)
        except QuoteError:
            pass
        self.chain.evm.revert(mark)
