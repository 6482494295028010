"""Aave V3 from its package's own bytecode: one market with the assets that are lent in the tests."""

from collections.abc import Callable, Sequence
from typing import Any

from eth_abi.abi import encode
from packages import test_artifact

from ouro.execution.program import NATIVE
from ouro.testnet.abi import call_bytes
from ouro.testnet.artifacts import Artifact
from ouro.types import Address

PACKAGE = "@aave/core-v3"
_LIBRARIES = ("Borrow", "Supply", "Bridge", "EMode", "Liquidation", "Pool", "Configurator")
_FOLDERS = {
    **{f"{name}Logic": "protocol/libraries/logic" for name in (*_LIBRARIES, "FlashLoan")},
    **dict.fromkeys(("PoolAddressesProvider", "ACLManager"), "protocol/configuration"),
    **dict.fromkeys(("Pool", "PoolConfigurator", "DefaultReserveInterestRateStrategy"), "protocol/pool"),
    **dict.fromkeys(("AToken", "StableDebtToken", "VariableDebtToken"), "protocol/tokenization"),
    "PriceOracle": "mocks/oracle",
}
FILES = tuple(f"artifacts/contracts/{folder}/{name}.sol/{name}.json" for name, folder in _FOLDERS.items())
PREMIUM_BPS = 5
_RAY = 10**27
_RESERVE = f"(address,address,address,uint8,{'address,' * 4}{'string,' * 6}bytes)"


class AaveMarket:
    """``deploy(code) -> address`` and ``send(to, data)`` act as the owner."""

    def __init__(
        self,
        deploy: Callable[[bytes], Address],
        send: Callable[[Address, bytes], Any],
        read: Callable[[Address, str], Address],
        owner: Address,
    ) -> None:
        self._deploy, self._send, self._read, self._owner = deploy, send, read, owner
        libraries: dict[str, Address] = {}
        for name in (*_LIBRARIES, "FlashLoan"):
            libraries[f"{name}Logic"] = deploy(linked(_artifact(f"{name}Logic"), libraries))
        self.provider = self._make("PoolAddressesProvider", libraries, ["string", "address"], ["tests", owner])
        self._tell(self.provider, "setACLAdmin(address)", owner)
        roles = self._make("ACLManager", libraries, ["address"], [self.provider])
        self._tell(self.provider, "setACLManager(address)", roles)
        self._tell(roles, "addPoolAdmin(address)", owner)
        self._tell(roles, "addAssetListingAdmin(address)", owner)
        pool = self._make("Pool", libraries, ["address"], [self.provider])
        self._tell(pool, "initialize(address)", self.provider)
        configurator = self._make("PoolConfigurator", libraries, [], [])
        self._tell(configurator, "initialize(address)", self.provider)
        self._tell(self.provider, "setPoolImpl(address)", pool)
        self._tell(self.provider, "setPoolConfiguratorImpl(address)", configurator)
        self.pool = read(self.provider, "getPool()")
        self.configurator = read(self.provider, "getPoolConfigurator()")
        self._tell(self.provider, "setPriceOracle(address)", self._make("PriceOracle", libraries, [], []))
        self._tokens = [
            self._make(name, libraries, ["address"], [self.pool])
            for name in ("AToken", "StableDebtToken", "VariableDebtToken")
        ]
        rates = [8 * _RAY // 10, 0, _RAY // 25, _RAY, _RAY // 50, _RAY, _RAY // 50, _RAY // 20, _RAY // 5]
        self._rates = self._make(
            "DefaultReserveInterestRateStrategy",
            libraries,
            ["address", *["uint256"] * 9],
            [self.provider, *rates],
        )

    def offer(self, assets: Sequence[Address], amount: int) -> None:
        """Make ``assets`` (18 decimals) lendable and supply ``amount`` of each."""
        for asset in assets:
            reserve = (*self._tokens, 18, self._rates, asset, self._owner, NATIVE, *["t"] * 6, b"")
            self._tell(self.configurator, f"initReserves({_RESERVE}[])", [reserve])
            self._tell(self.configurator, "setReserveFlashLoaning(address,bool)", asset, True)
            self._tell(asset, "approve(address,uint256)", self.pool, amount)
            self._tell(self.pool, "supply(address,uint256,address,uint16)", asset, amount, self._owner, 0)
        self._tell(self.configurator, "updateFlashloanPremiumTotal(uint128)", PREMIUM_BPS)

    def _make(self, name: str, libraries: dict[str, Address], types: list[str], values: list[Any]) -> Address:
        return self._deploy(linked(_artifact(name), libraries) + encode(types, values))

    def _tell(self, to: Address, signature: str, *values: Any) -> None:
        self._send(to, call_bytes(signature, *values))


def _artifact(name: str) -> Artifact:
    return test_artifact(PACKAGE, f"artifacts/contracts/{_FOLDERS[name]}/{name}.sol/{name}.json")


def linked(made: Artifact, libraries: dict[str, Address]) -> bytes:
    """Creation code with the libraries' addresses in their places."""
    code = bytearray(made.bytecode)
    for names in made.link_references.values():
        for name, places in names.items():
            for place in places:
                code[place["start"] : place["start"] + 20] = bytes.fromhex(libraries[name][2:])
    return bytes(code)
