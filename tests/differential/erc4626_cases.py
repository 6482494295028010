"""Random vaults of OpenZeppelin (several offsets) and solmate against our conversions."""

import random
from contextlib import suppress
from typing import Any

import msgspec
from eth_abi.abi import encode
from tests.differential import sources
from tests.differential.balancer_weighted_cases import Tally
from tests.differential.chain import OWNER, SUPPLY, Chain, Reverted
from tests.differential.mirror import Mirror, Mismatch

from ouro.protocols.base import QuoteError
from ouro.protocols.creation import NewPool
from ouro.protocols.erc4626 import _PROBES, MAX_AMOUNT, Erc4626, Erc4626State, _ratio
from ouro.protocols.reads import play
from ouro.testnet.abi import call_bytes
from ouro.testnet.artifacts import load_json
from ouro.types import Address, BlockContext, Log

FAMILY = Erc4626()
_OFFSETS = (0, 3, 6, 12, 18)
_CONTEXT = BlockContext(1, 1, 0)
MAX_UINT = (1 << 256) - 1


def vault_codes() -> dict[str, bytes]:
    """Creation codes of both vaults, compiled from the libraries' own sources."""
    where = sources.HERE / "vaults"
    zeppelin = {
        "": sources.ROOT / "src/ouro/testnet/vaults",
        "@openzeppelin/contracts/": sources.package_dir("@openzeppelin/contracts"),
    }
    solmate = {"": where, "solmate/": sources.package_dir("solmate") / "src"}
    found = sources.compiled(zeppelin, {"OffsetVault": "OffsetVault.sol"}, None, "cancun")
    found |= sources.compiled(solmate, {"PlainVault": "PlainVault.sol"}, None, "cancun")
    return {name: one.bytecode for name, one in found.items()}


class Erc4626World:
    """Vaults of one asset by way of rounding: the offset, -1 for solmate's."""

    def __init__(self) -> None:
        self.chain = chain = Chain()
        self.tally = Tally()
        token = load_json(sources.ROOT / "src/ouro/testnet/artifacts_own/TestToken.json").bytecode
        self.asset = chain.deploy(token + encode(["string", "string", "uint8", "uint256"], ["A", "A", 6, SUPPLY]))
        codes = vault_codes()
        self.vaults: dict[int, Address] = {
            offset: chain.deploy(codes["OffsetVault"] + encode(["address", "uint8"], [self.asset, offset]))
            for offset in _OFFSETS
        }
        self.vaults[-1] = chain.deploy(codes["PlainVault"] + encode(["address"], [self.asset]))
        for vault in self.vaults.values():
            chain.call(self.asset, call_bytes("approve(address,uint256)", vault, MAX_UINT))

    def scenario(self, rng: random.Random, cases: int) -> None:
        """A vault after random deposits, gifts and losses, followed by logs, re-read; conversions, each undone."""
        chain = self.chain
        mark = chain.evm.snapshot()
        offset = rng.choice(list(self.vaults))
        _Play(self, self.vaults[offset], offset, rng).run(cases)
        self.tally.cases += cases
        self.tally.scenarios += 1
        chain.evm.revert(mark)


class _Play:
    def __init__(self, world: Erc4626World, vault: Address, offset: int, rng: random.Random) -> None:
        self.world, self.chain, self.vault, self.rng = world, world.chain, vault, rng
        state = Erc4626State(vault, (world.asset, vault), offset, 0, 0, MAX_UINT, 0)
        self.mirror = Mirror(self.chain, FAMILY, state)
        self.mirror.balances = {}

    @property
    def state(self) -> Erc4626State:
        return self.mirror.state

    def run(self, cases: int) -> None:
        for _ in range(self.rng.randint(0, 6)):
            self._act()
        self.mirror.expect("the vault read anew", self._read(), self.state)
        for _ in range(cases):
            self.world.tally.refused += self._case()
        self.world.tally.words += self.mirror.compared

    def _read(self) -> Erc4626State:
        """By the family's script. Where two ways of rounding agree on all probes (no yield yet), ours is taken."""

        def answer(ask: Any) -> bytes | None:
            try:
                return self.chain.call(ask.target, ask.data)
            except Reverted:
                return None

        found = play(FAMILY.read(NewPool("dex", "erc4626", self.vault, (), 0)), answer)
        if found.offset != self.state.offset:
            same = [a * n // d for a in _PROBES for n, d in (_ratio(found, 0), _ratio(found, 1))]
            mine = [a * n // d for a in _PROBES for n, d in (_ratio(self.state, 0), _ratio(self.state, 1))]
            self.mirror.expect("another way of rounding gives the same", mine, same)
            found = msgspec.structs.replace(found, offset=self.state.offset)
        return FAMILY.from_json(FAMILY.to_json(found))

    def _act(self) -> None:
        """A deposit or redemption followed by its log; a gift or loss, which only a re-read tells."""
        rng, chain = self.rng, self.chain
        kind = rng.random()
        amount = int(10 ** rng.uniform(0, rng.choice([6, 18, 24])))
        with suppress(Reverted):
            if kind < 0.5:
                chain.call(self.vault, call_bytes("deposit(uint256,address)", amount, OWNER))
                self._follow()
            elif kind < 0.7:
                share = int(self.state.total_supply * rng.random())
                chain.call(self.vault, call_bytes("redeem(uint256,address,address)", share, OWNER, OWNER))
                self._follow()
            elif kind < 0.9:
                chain.call(self.world.asset, call_bytes("transfer(address,uint256)", self.vault, amount))
                self._drift(amount)
            else:
                lost = int(self.state.total_assets * rng.random() * 0.9)
                call = call_bytes("transfer(address,uint256)", OWNER, lost)
                chain.call(self.world.asset, call, caller=self.vault)
                self._drift(-lost)

    def _follow(self) -> None:
        for log in self._logs():
            delta = FAMILY.decode(self.state, log, 1)
            if delta is not None:
                self.mirror.state = FAMILY.apply(self.state, delta)

    def _logs(self) -> list[Log]:
        return self.chain.logs(self.vault)

    def _drift(self, change: int) -> None:
        state = self.state
        total, idle = state.total_assets + change, state.idle + change
        self.mirror.state = msgspec.structs.replace(state, total_assets=total, idle=idle)

    def _case(self) -> bool:
        """One conversion, given in or out; True where both refuse it."""
        rng, state = self.rng, self.state
        i, given_in = rng.randrange(2), rng.random() < 0.6
        scale = (state.total_assets, state.total_supply)[i if given_in else 1 - i]
        amount = int(10 ** rng.uniform(0, 26)) if rng.random() < 0.4 else int(scale * 10 ** rng.uniform(-9, 0.05))
        amount = min(max(amount, 1), MAX_AMOUNT)
        if rng.random() < 0.05:
            amount = rng.choice([1, 2, max(scale, 1), scale + 1])
        signature = {
            (0, True): "deposit(uint256,address)",
            (0, False): "mint(uint256,address)",
            (1, True): "redeem(uint256,address,address)",
            (1, False): "withdraw(uint256,address,address)",
        }[i, given_in]
        owners = (OWNER,) if i == 0 else (OWNER, OWNER)
        ours, reason = None, ""
        try:
            ours = (FAMILY.quote_in if given_in else FAMILY.quote_out)(state, i, 1 - i, amount, _CONTEXT)
        except QuoteError as error:
            reason = error.reason
        what = f"{signature} {amount}"
        mark = self.chain.evm.snapshot()
        try:
            theirs = int.from_bytes(self.chain.call(self.vault, call_bytes(signature, amount, *owners)))
        except Reverted as error:
            self.chain.evm.revert(mark)
            self.mirror.expect(f"{what} refused: {error}", ours, None)
            return True
        if ours is None:
            self.chain.evm.revert(mark)
            if theirs and not _too_large(state, amount, theirs):
                raise Mismatch(f"{what}: we refuse ({reason}), the vault gives {theirs} ({state})")
            return True
        self.mirror.expect(what, ours.amount_out_wei if given_in else ours.amount_in_wei, theirs)
        before = self.mirror.state
        self._follow()
        self.mirror.expect(f"state after {what}", ours.next_state, self.mirror.state)
        totals = tuple(
            int.from_bytes(self.chain.call(self.vault, call_bytes(call)))
            for call in ("totalAssets()", "totalSupply()")
        )
        self.mirror.expect(
            f"totals after {what}", (ours.next_state.total_assets, ours.next_state.total_supply), totals
        )
        self.mirror.state = before
        self.chain.evm.revert(mark)
        return False


def _too_large(state: Erc4626State, *amounts: int) -> bool:
    """Beyond what we quote on purpose."""
    return max(amounts) > MAX_AMOUNT or max(state.total_assets, state.total_supply) >> 160 > 0
