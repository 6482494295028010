"""Deploying the families without periphery in their packages: their factories and managers, and one purse of ours.

The purse (``MarketRouter``) stands for routers and position managers; see its source for why it must stay on local
chains.
"""

from collections.abc import Callable
from pathlib import Path

from eth_abi.abi import encode

from ouro.hashing import keccak
from ouro.testnet.abi import call_data, create_address, creation_data
from ouro.testnet.artifacts import load_json
from ouro.testnet.family_contracts import family_artifact
from ouro.testnet.sender import Sender
from ouro.types import Address

_OWN = Path(__file__).parent / "artifacts_own"
_DEPLOY_GAS = 20_000_000
_RELEASED_ADAPTIVE_POOL = bytes.fromhex("6ec6c9c8091d160c0aa74b2b14ba9c1717e95093bd3ac085cee99a49aab294a4")
_VAULT_CONTRACTS = ("BalancerAuthorizer", "BalancerVault", "BalancerFeeProvider")
CONTRACTS_OF_KIND: dict[str, tuple[str, ...]] = {
    "pancakeswap_v3": ("PancakeV3Factory", "PancakeV3Pool"),
    "slipstream": ("CLFactory", "CLPool"),
    "algebra_integral": ("AlgebraFactory", "AlgebraPoolDeployer", "AlgebraVaultFactoryStub"),
    "algebra_adaptive": ("AdaptiveAlgebraFactory", "AdaptiveAlgebraPoolDeployer", "AdaptiveAlgebraPool"),
    "uniswap_v4": ("PoolManager",),
    "solidly": ("SolidlyPool", "SolidlyPoolFactory"),
    "trader_joe": ("JoeFactory", "JoeRouter02"),
    "swapr": ("DXswapFactory", "DXswapPair"),
    "balancer_v2_weighted": (*_VAULT_CONTRACTS, "WeightedPoolFactory"),
    "balancer_v2_stable": (*_VAULT_CONTRACTS, "ComposableStablePoolFactory"),
    "saddle": ("StableSwap", "StableSwapLibrary", "StableSwapShares"),
    "erc4626": ("OffsetVault",),
}
"""What ``family_artifact`` has to have for a venue of the kind."""


def _purse(sender: Sender) -> Address:
    """The chain's purse; every venue that needs one shares it."""
    if sender.purse is None:
        sender.purse = sender.deploy("0x" + _own("MarketRouter").hex(), "MarketRouter")
    return sender.purse


def _own(name: str) -> bytes:
    return load_json(_OWN / f"{name}.json").bytecode


def _deploy(sender: Sender, name: str, *addresses: Address) -> Address:
    creation = creation_data(family_artifact(name).bytecode, ("address",) * len(addresses), addresses)
    return sender.deploy(creation, name, gas=_DEPLOY_GAS)


def _pancakeswap_v3(sender: Sender, _: Address) -> dict[str, Address]:
    pool = family_artifact("PancakeV3Pool").bytecode
    # its runtime is the pool's creation code: PUSH3 size, DUP1, PUSH1 11, PUSH0, CODECOPY, PUSH0, RETURN
    header = bytes.fromhex("62" + len(pool).to_bytes(3).hex() + "80600b5f395ff3")
    data = sender.deploy("0x" + (header + pool).hex(), "PancakeV3Pool's code", gas=_DEPLOY_GAS)
    deployer = sender.deploy(creation_data(_own("PancakeDeployer"), ("address",), (data,)), "PancakeDeployer")
    return {"factory": _deploy(sender, "PancakeV3Factory", deployer), "router": _purse(sender)}


def _slipstream(sender: Sender, _: Address) -> dict[str, Address]:
    stub = sender.deploy("0x" + _own("SlipstreamStub").hex(), "SlipstreamStub")
    implementation = _deploy(sender, "CLPool")
    return {"factory": _deploy(sender, "CLFactory", stub, stub, implementation), "router": _purse(sender)}


def _algebra_integral(sender: Sender, _: Address) -> dict[str, Address]:
    """Factory and deployer know each other's address in advance."""
    factory = _deploy(sender, "AlgebraFactory", create_address(sender.account, sender.nonce + 1))
    _deploy(sender, "AlgebraPoolDeployer", factory)
    vaults = _deploy(sender, "AlgebraVaultFactoryStub", sender.account)
    sender.send(factory, call_data("setVaultFactory(address)", vaults), what="setVaultFactory")
    return {"factory": factory, "router": _purse(sender)}


def _algebra_adaptive(sender: Sender, _: Address) -> dict[str, Address]:
    """The factory computes pools' addresses from the hash of the released code; the package's own has another."""
    deployer = _deploy(sender, "AdaptiveAlgebraPoolDeployer")
    code = family_artifact("AdaptiveAlgebraFactory").bytecode
    if code.count(_RELEASED_ADAPTIVE_POOL) != 1:
        raise ValueError("AlgebraFactory does not hold the released pool's hash: the package has changed")
    code = code.replace(_RELEASED_ADAPTIVE_POOL, keccak(family_artifact("AdaptiveAlgebraPool").bytecode))
    creation = creation_data(code, ("address", "address"), (deployer, sender.account))
    factory = sender.deploy(creation, "AdaptiveAlgebraFactory", gas=_DEPLOY_GAS)
    sender.send(deployer, call_data("setFactory(address)", factory), what="setFactory")
    return {"factory": factory, "router": _purse(sender)}


def _solidly(sender: Sender, _: Address) -> dict[str, Address]:
    implementation = _deploy(sender, "SolidlyPool")
    return {"factory": _deploy(sender, "SolidlyPoolFactory", implementation), "router": _purse(sender)}


def _uniswap_v4(sender: Sender, _: Address) -> dict[str, Address]:
    creation = family_artifact("PoolManager").bytecode + encode(["address"], [sender.account])
    manager = sender.deploy("0x" + creation.hex(), "PoolManager", gas=_DEPLOY_GAS)
    return {"factory": manager, "router": _purse(sender)}


def _vault_venue(sender: Sender, wrapped: Address, pool_factory: str) -> dict[str, Address]:
    """The Vault is what a DEX of its pools is known by, what traders use and what holds the tokens."""
    if sender.vault is None:
        authorizer = _deploy(sender, "BalancerAuthorizer", sender.account)
        code = family_artifact("BalancerVault").bytecode
        types = ("address", "address", "uint256", "uint256")  # no pause: no window, no buffer
        creation = creation_data(code, types, (authorizer, wrapped, 0, 0))
        sender.vault = sender.deploy(creation, "BalancerVault", gas=_DEPLOY_GAS)
    vault = sender.vault
    code = family_artifact("BalancerFeeProvider").bytecode
    fees = sender.deploy(
        creation_data(code, ("address", "uint256", "uint256"), (vault, 10**18, 10**18)), "fee provider"
    )
    code = family_artifact(pool_factory).bytecode
    creation = creation_data(code, ("address", "address", "string", "string"), (vault, fees, "local", "local"))
    made_by = sender.deploy(creation, pool_factory, gas=_DEPLOY_GAS)
    return {"factory": vault, "router": vault, "position_manager": vault, "pool_factory": made_by}


def _balancer_weighted(sender: Sender, wrapped: Address) -> dict[str, Address]:
    return _vault_venue(sender, wrapped, "WeightedPoolFactory")


def _balancer_stable(sender: Sender, wrapped: Address) -> dict[str, Address]:
    return _vault_venue(sender, wrapped, "ComposableStablePoolFactory")


def _saddle(sender: Sender, _: Address) -> dict[str, Address]:
    """No factory: what all pools share is their library, and the share token that each clones."""
    library = _deploy(sender, "StableSwapLibrary")
    return {"factory": library, "router": _purse(sender), "pool_factory": _deploy(sender, "StableSwapShares")}


FAMILY_BUILDERS: dict[str, Callable[[Sender, Address], dict[str, Address]]] = {
    "pancakeswap_v3": _pancakeswap_v3,
    "slipstream": _slipstream,
    "algebra_integral": _algebra_integral,
    "algebra_adaptive": _algebra_adaptive,
    "uniswap_v4": _uniswap_v4,
    "solidly": _solidly,
    "balancer_v2_weighted": _balancer_weighted,
    "balancer_v2_stable": _balancer_stable,
    "saddle": _saddle,
}
"""Factory and purse, by the venue's kind; the wrapped native coin is the second argument."""
