"""Random pools of the Solidity port of StableSwap (real bytecode, 2 to 5 coins) against quotes, logs and words."""

import json
import random
from dataclasses import dataclass
from functools import lru_cache

from eth_abi.abi import decode, encode
from tests.differential import sources
from tests.differential.chain import SUPPLY, Chain, Reverted
from tests.differential.mirror import Mirror

from ouro.protocols.base import Quote, QuoteError
from ouro.protocols.curve_stable import Saddle
from ouro.protocols.curve_stable_state import SaddleState
from ouro.testnet.abi import call_bytes
from ouro.testnet.artifacts import load_json
from ouro.types import Address, BlockContext

FAMILY = Saddle()
PACKAGE = "@connext/smart-contracts"
_ROOT = "artifacts/contracts/core/connext"
_DAY = 86_400


@dataclass
class Tally:
    """What was compared."""

    cases: int = 0
    refused: int = 0
    exact_out: int = 0
    ramping: int = 0
    actions: int = 0
    words: int = 0
    scenarios: int = 0


@lru_cache(maxsize=1)
def _codes() -> tuple[bytes, bytes, bytes]:
    """Creation codes: pool (to be linked), its library, the LP token."""
    pool = sources.package_artifact(PACKAGE, f"{_ROOT}/helpers/StableSwap.sol/StableSwap.json")
    library = sources.package_artifact(PACKAGE, f"{_ROOT}/libraries/SwapUtilsExternal.sol/SwapUtilsExternal.json")
    token = sources.package_artifact(PACKAGE, f"{_ROOT}/helpers/LPToken.sol/LPToken.json")
    return pool.bytecode, library.bytecode, token.bytecode


def _linked(library: Address) -> bytes:
    folder = sources.package_dir(PACKAGE)
    raw = json.loads((folder / f"{_ROOT}/helpers/StableSwap.sol/StableSwap.json").read_text())
    code = bytearray(_codes()[0])
    for places in raw["linkReferences"].values():
        for positions in places.values():
            for position in positions:
                code[position["start"] : position["start"] + 20] = bytes.fromhex(library[2:])
    return bytes(code)


class SaddleWorld:
    """Pools of random size, decimals, A and fees, all on one chain, each made in its scenario and undone."""

    def __init__(self, chain: Chain | None = None) -> None:
        self.tally = Tally()
        self.chain = chain or Chain()
        library = self.chain.deploy(_codes()[1])
        self.pool_code = _linked(library)
        self.lp_code = self.chain.deploy(_codes()[2])
        token = load_json(sources.ROOT / "src/ouro/testnet/artifacts_own/TestToken.json").bytecode
        self.tokens: list[tuple[Address, int]] = []
        for places in (18, 18, 18, 6, 6, 8, 2, 0, 12):
            made = self.chain.deploy(
                token + encode(["string", "string", "uint8", "uint256"], ["T", "T", places, SUPPLY])
            )
            self.chain.call(made, call_bytes("transfer(address,uint256)", self.chain.driver, SUPPLY))
            self.tokens.append((made, places))

    def scenario(self, rng: random.Random, cases: int) -> None:
        """A pool, liquidity, then exchanges that stay and exchanges that are undone."""
        mark, time_before = self.chain.evm.snapshot(), self.chain.timestamp
        play = Play(self, rng)
        play.fill()
        for _ in range(cases):
            if rng.random() < 0.25:
                play.act()
            self.tally.refused += play.case()
        play.compare_all()
        self.tally.cases += cases
        self.tally.words += play.mirror.compared
        self.tally.scenarios += 1
        self.chain.evm.revert(mark)
        self.chain.at(time_before)


class Play:
    def __init__(self, world: SaddleWorld, rng: random.Random) -> None:
        self.world, self.rng, self.chain, self.tally = world, rng, world.chain, world.tally
        self.chain.at(self.chain.timestamp + rng.randint(2 * _DAY, 10**7))
        coins = rng.sample(world.tokens, rng.choice([2, 2, 3, 3, 4, 5]))
        tokens, places = tuple(token for token, _ in coins), [digits for _, digits in coins]
        a = rng.choice([1, 2, 10, 100, 200, 2000, rng.randint(1, 9999)])
        fee = rng.choice([0, 1, 4_000_000, 30_000_000, 99_999_999, rng.randint(0, 99_999_999)])
        admin = rng.choice([0, 5 * 10**9, 10**10 - 1, rng.randint(0, 10**10 - 1)])
        pool = self.chain.deploy(world.pool_code)
        initial = "initialize(address[],uint8[],string,string,uint256,uint256,uint256,address)"
        self.chain.call(pool, call_bytes(initial, list(tokens), places, "L", "L", a, fee, admin, world.lp_code))
        rates = tuple(10 ** (36 - digits) for digits in places)
        n = len(tokens)
        state = SaddleState(pool, tokens, rates, (0,) * n, a * 100, a * 100, 0, 0, fee, admin)
        self.mirror = Mirror(self.chain, FAMILY, state)
        for token in tokens:
            self.chain.drive(token, call_bytes("approve(address,uint256)", pool, SUPPLY))

    @property
    def state(self) -> SaddleState:
        return self.mirror.state

    def _send(self, signature: str, *arguments: object, owner: bool = False) -> bool:
        """A call of the pool; whether it did not revert. Its logs are followed."""
        data = call_bytes(signature, *arguments)
        try:
            if owner:
                self.chain.call(self.state.address, data)
            else:
                self.chain.drive(self.state.address, data)
        except Reverted:
            return False
        self.mirror.follow()
        return True

    def fill(self) -> None:
        """The first deposit: near the peg, or far from it."""
        rng = self.rng
        depth = 10 ** rng.uniform(3, 9)
        skew = 3.0 if rng.random() < 0.2 else 0.5
        amounts = [max(int(depth * 10 ** rng.uniform(-skew, skew) * 10**36 / rate), 1) for rate in self.state.rates]
        self._send("addLiquidity(uint256[],uint256,uint256)", amounts, 0, SUPPLY)

    def act(self) -> None:
        """Something that stays: time, deposits, withdrawals of every kind, ramps, fees, swaps."""
        rng, n = self.rng, len(self.state.tokens)
        self.tally.actions += 1
        self.chain.at(self.chain.timestamp + rng.choice([0, 12, 3600, rng.randint(0, 20 * _DAY)]))
        kind = rng.randrange(9)
        held, supply = self.state.balances_wei, self.state.supply
        if kind == 0:
            amounts = [rng.choice([0, int(one * 10 ** rng.uniform(-6, 0.5))]) for one in held]
            self._send("addLiquidity(uint256[],uint256,uint256)", amounts, 0, SUPPLY)
        elif kind == 1:
            amount = int(supply * 10 ** rng.uniform(-5, -0.3))
            self._lp_approve()
            self._send("removeLiquidity(uint256,uint256[],uint256)", amount, [0] * n, SUPPLY)
        elif kind == 2:
            amount = int(supply * 10 ** rng.uniform(-7, -0.5))
            self._lp_approve()
            self._send(
                "removeLiquidityOneToken(uint256,uint8,uint256,uint256)", amount, rng.randrange(n), 0, SUPPLY
            )
        elif kind == 3:
            amounts = [rng.choice([0, int(one * 10 ** rng.uniform(-6, -0.7))]) for one in held]
            self._lp_approve()
            most = supply // 2
            self._send("removeLiquidityImbalance(uint256[],uint256,uint256)", amounts, most, SUPPLY)
        elif kind == 4:
            a = max(int(self.state.amp(self.chain.timestamp) / 100 * 10 ** rng.uniform(-0.29, 0.29)), 1)
            end = self.chain.timestamp + rng.randint(14 * _DAY, 60 * _DAY)
            self._send("rampA(uint256,uint256)", a, end, owner=True)
        elif kind == 5:
            self._send("stopRampA()", owner=True)
        elif kind == 6:
            self._send("setSwapFee(uint256)", rng.randint(0, 10**8), owner=True)
        elif kind == 7:
            self._send("setAdminFee(uint256)", rng.randint(0, 10**10), owner=True)
        else:
            self._swap_that_stays()
        self._compare_state()

    def _swap_that_stays(self) -> None:
        i, j = self.rng.sample(range(len(self.state.tokens)), 2)
        amount = max(int(self.state.balances_wei[i] * 10 ** self.rng.uniform(-6, 0.3)), 1)
        self._send("swap(uint8,uint8,uint256,uint256,uint256)", i, j, amount, 0, SUPPLY)

    def _lp_approve(self) -> None:
        raw = self.chain.call(self.state.address, call_bytes("swapStorage()"))
        token = "0x" + decode(["uint256"] * 6 + ["address"], raw)[6][2:]
        self.chain.drive(token, call_bytes("approve(address,uint256)", self.state.address, SUPPLY))

    def _compare_state(self) -> None:
        """What the logs told against the contract's getters: the share of the administrator is in no log."""
        for k, ours in enumerate(self.state.balances_wei):
            raw = self.chain.call(self.state.address, call_bytes("getTokenBalance(uint8)", k))
            self.mirror.expect(f"balance {k}", ours, decode(["uint256"], raw)[0])
        raw = self.chain.call(self.state.address, call_bytes("swapStorage()"))
        found = decode(["uint256"] * 6 + ["address"], raw)
        ours = self.state
        self.mirror.expect(
            "ramp and fees",
            (ours.initial_a, ours.future_a, ours.initial_a_time, ours.future_a_time, ours.fee, ours.admin_fee),
            found[:6],
        )
        raw = self.chain.call(self.state.address, call_bytes("getAPrecise()"))
        self.mirror.expect("A", ours.amp(self.chain.timestamp), decode(["uint256"], raw)[0])

    def compare_all(self) -> None:
        """State and every word predicted."""
        self._compare_state()
        self.mirror.compare_all()

    def case(self) -> bool:
        """One quote against the view and the swap itself, undone; True where it is refused."""
        rng, state = self.rng, self.state
        if rng.random() < 0.3:
            self.chain.at(self.chain.timestamp + rng.choice([1, 12, rng.randint(0, 5 * _DAY)]))
        context = BlockContext(1, self.chain.timestamp, 0)
        self.tally.ramping += state.ramping and context.timestamp < state.future_a_time
        i, j = rng.sample(range(len(state.tokens)), 2)
        exact_out = rng.random() < 0.2
        if rng.random() < 0.1:
            amount = rng.choice([1, 2, 10**9, state.balances_wei[i], 1 << 120, 1 << 200])
        else:
            amount = max(
                int(
                    state.balances_wei[j if exact_out else i] * 10 ** rng.uniform(-12, -0.01 if exact_out else 1.2)
                ),
                1,
            )
        try:
            quote = (FAMILY.quote_out if exact_out else FAMILY.quote_in)(state, i, j, amount, context)
        except QuoteError:
            if not exact_out:
                self._expect_refusal(i, j, amount)
            return True
        self.tally.exact_out += exact_out
        self._compare(i, j, quote, amount if exact_out else None)
        return False

    def _view(self, i: int, j: int, amount: int) -> int | None:
        try:
            raw = self.chain.call(
                self.state.address, call_bytes("calculateSwap(uint8,uint8,uint256)", i, j, amount)
            )
        except Reverted:
            return None
        return decode(["uint256"], raw)[0]

    def _compare(self, i: int, j: int, quote: Quote, wanted: int | None) -> None:
        what = f"{quote.amount_in_wei} of coin {i} for {j} at {self.chain.timestamp}"
        self.mirror.expect(what, quote.amount_out_wei, self._view(i, j, quote.amount_in_wei))
        if wanted is not None:
            self.mirror.expect(f"{what}: enough", True, quote.amount_out_wei >= wanted)
            # (nothing for something is no swap, though rounding may leave a unit there)
            less = (self._view(i, j, quote.amount_in_wei - 1) or 0) if quote.amount_in_wei > 1 else 0
            self.mirror.expect(f"{what}: one unit less is too little", True, less < wanted)
        mark, before = (
            self.chain.evm.snapshot(),
            (self.mirror.state, dict(self.mirror.words), dict(self.mirror.balances)),
        )
        done = self._send(
            "swap(uint8,uint8,uint256,uint256,uint256)", i, j, quote.amount_in_wei, quote.amount_out_wei, SUPPLY
        )
        self.mirror.expect(f"{what}: accepted", True, done)
        self.mirror.expect(f"{what}: next state", quote.next_state, self.state)
        if self.rng.random() < 0.2:
            self._compare_state()
        self.mirror.state, self.mirror.words, self.mirror.balances = before
        self.chain.evm.revert(mark)

    def _expect_refusal(self, i: int, j: int, amount: int) -> None:
        theirs = self._view(i, j, amount)
        if amount >= 1 << 100:
            return  # beyond what a state can hold
        self.mirror.expect(f"{amount} of coin {i} for {j} refused", True, not theirs)
