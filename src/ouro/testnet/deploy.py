"""Deploy the protocols' real contracts, tokens and Ouro's executor on a local chain."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ouro.execution.contract import creation_code
from ouro.hashing import keccak
from ouro.testnet.abi import call_data, create_address, creation_data
from ouro.testnet.artifacts import artifact, load_json
from ouro.testnet.background import SINK_CREATION_CODE
from ouro.testnet.client import Client
from ouro.testnet.deploy_families import FAMILY_BUILDERS
from ouro.testnet.deployment import Deployment, Token, Venue
from ouro.testnet.family_contracts import family_artifact
from ouro.testnet.profiles import ChainProfile, RecordedToken, Shares, VenueProfile
from ouro.testnet.sender import Sender
from ouro.types import Address

_ACROSS = "@across-protocol/contracts"
_V2_PERIPHERY = "@uniswap/v2-periphery"
_V3_PERIPHERY = "@uniswap/v3-periphery"
_SUSHI = "@sushiswap/sushiswap"
_TEST_TOKEN = Path(__file__).parent / "artifacts_own" / "TestToken.json"

UNISWAP_PAIR_HASH = bytes.fromhex("96e8ac4277198ff8b6f785478aa9a39f403cb768dd02cbee326c3e7da348845f")
TOKEN_SUPPLY = 2**120
NATIVE_OF_DEPLOYER_WEI = 2**105
WRAPPED_NATIVE_WEI = 2**100


def deploy(
    client: Client,
    profile: ChainProfile,
    owner: Address,
    operators: Sequence[Address],
    treasury: Address | None = None,
) -> Deployment:
    """Deploy ``profile`` from the node's first account; pools come with ``seed``.

    The node must have a block gas limit that holds all of it (some hundred million). ``treasury`` defaults to
    ``owner``. Raises ``TransactionFailed`` naming what did not deploy.
    """
    deployer = client.call("eth_accounts")[0].lower()
    client.call("anvil_setBalance", deployer, hex(NATIVE_OF_DEPLOYER_WEI))
    start_block = client.block_number() + 1
    sender = Sender(client, deployer)
    tokens = _deploy_tokens(sender, profile)
    wrapped = next(token.address for token in tokens if token.symbol == profile.native_symbol)
    sender.send(wrapped, call_data("deposit()"), value_wei=WRAPPED_NATIVE_WEI, what="deposit")
    for shares in profile.shares:
        _fill_vault(sender, shares, tokens)
    multicall = _deploy(
        sender, "Multicall3", "@across-protocol/contracts", "dist/evm/artifacts/Multicall3.sol/Multicall3.json"
    )
    vaults = {token.symbol: token.address for token in tokens if token.asset is not None}
    venues = tuple(_deploy_venue(sender, venue, wrapped, vaults, start_block) for venue in profile.venues)
    gas_sink = sender.deploy("0x" + SINK_CREATION_CODE.hex(), "gas sink", gas=200_000)
    executor = deploy_executor(sender, owner, operators, treasury)
    sender.mine()
    return Deployment(
        chain=profile.name,
        chain_id=profile.chain_id,
        deployer=deployer,
        start_block=start_block,
        wrapped_native=wrapped,
        multicall=multicall,
        gas_sink=gas_sink,
        executor=executor,
        owner=owner,
        operators=tuple(operators),
        stable_tokens=tuple(token.address for token in tokens if token.symbol in profile.stable_symbols),
        tokens=tokens,
        venues=venues,
    )


def deploy_executor(
    sender: Sender, owner: Address, operators: Sequence[Address], treasury: Address | None = None
) -> Address:
    """Queue a deployment of our executor; profits go to ``treasury``, by default ``owner``."""
    return sender.deploy("0x" + creation_code(owner, operators, treasury).hex(), "OuroExecutor")


def _deploy_tokens(sender: Sender, profile: ChainProfile) -> tuple[Token, ...]:
    """Deploy in an order that gives the tokens the same address order as the recorded ones.

    Pairs sort their tokens by address; so recorded reserves, prices and ticks fit as they are.
    """
    recorded = profile.tokens
    at_nonce = _places(sender, recorded)
    while any(_too_early(token, k, at_nonce) for k, (_, token) in at_nonce.items()):
        sender.send(sender.account, gas=21_000, what="a nonce to skip")
        at_nonce = _places(sender, recorded)
    found_at = {token.recorded_address: address for address, token in at_nonce.values()}
    wrapped_code = artifact(_V2_PERIPHERY, "build/WETH9.json").bytecode
    token_code = load_json(_TEST_TOKEN).bytecode
    deployed: list[Token] = []
    for k in range(len(recorded)):
        address, token = at_nonce[k]
        asset = found_at[token.share_of.asset] if token.share_of else None
        if token.share_of is not None and asset is not None:
            arguments = (asset, token.share_of.offset)
            code = family_artifact("OffsetVault").bytecode
            found = sender.deploy(creation_data(code, ("address", "uint8"), arguments), token.symbol)
        elif token.symbol == profile.native_symbol:
            found = sender.deploy("0x" + wrapped_code.hex(), token.symbol)
        else:
            found = sender.deploy(_token_creation(token_code, token), token.symbol)
        assert found == address
        deployed.append(Token(token.symbol, address, token.decimals, token.recorded_address, asset))
    return tuple(sorted(deployed, key=lambda token: token.address))


_Places = dict[int, tuple[Address, RecordedToken]]


def _places(sender: Sender, recorded: Sequence[RecordedToken]) -> _Places:
    """Address and token of each of the next nonces."""
    addresses = sorted((_address_at(sender, k), k) for k in range(len(recorded)))
    return {k: (address, token) for (address, k), token in zip(addresses, recorded, strict=True)}


def _too_early(token: RecordedToken, nonce: int, at_nonce: _Places) -> bool:
    """Whether a vault would be deployed before its asset, whose decimals it asks for then."""
    asset = token.share_of.asset if token.share_of else None
    return any(k > nonce and other.recorded_address == asset for k, (_, other) in at_nonce.items())


def _fill_vault(sender: Sender, shares: Shares, tokens: Sequence[Token]) -> None:
    """The first deposit, and what the vault has earned since."""
    vault = next(token for token in tokens if token.recorded_address == shares.address)
    assert vault.asset is not None
    approve = call_data("approve(address,uint256)", vault.address, shares.deposited)
    sender.send(vault.asset, approve, gas=100_000, what=f"approval for {shares.symbol}")
    deposit = call_data("deposit(uint256,address)", shares.deposited, sender.account)
    sender.send(vault.address, deposit, gas=300_000, what=f"deposit for {shares.symbol}")
    earn = call_data("transfer(address,uint256)", vault.address, shares.earned)
    sender.send(vault.asset, earn, gas=100_000, what=f"yield of {shares.symbol}")
    sender.mine()


def _address_at(sender: Sender, ahead: int) -> Address:
    return create_address(sender.account, sender.nonce + ahead)


def _token_creation(code: bytes, token: RecordedToken) -> str:
    arguments = (f"Test {token.symbol}", token.symbol, token.decimals, TOKEN_SUPPLY)
    return creation_data(code, ("string", "string", "uint8", "uint256"), arguments)


def _deploy(
    sender: Sender, what: str, package: str, path: str, types: Sequence[str] = (), *arguments: Any
) -> Address:
    return sender.deploy(creation_data(artifact(package, path).bytecode, types, arguments), what)


def _deploy_venue(
    sender: Sender, venue: VenueProfile, wrapped: Address, vaults: Mapping[str, Address], start_block: int
) -> Venue:
    if venue.kind == "erc4626":  # named after its shares; it is its own factory, and what depositors use
        vault = vaults[venue.name]
        return Venue(venue.name, venue.kind, venue.family, None, vault, vault, start_block)
    build = {
        "uniswap_v2": _uniswap_v2,
        "sushiswap_v2": _sushiswap_v2,
        "pancake_v2": _pancake_v2,
        "uniswap_v3": _uniswap_v3,
        "bscswap": _bscswap,
        "trader_joe": _trader_joe,
        "swapr": _swapr,
        **FAMILY_BUILDERS,
    }[venue.kind]
    parts = build(sender, wrapped)
    return Venue(
        venue.name, venue.kind, venue.family, venue.fee_ppm, start_block=start_block,
        pays_itself=parts["router"] == sender.purse, **parts,
    )  # fmt: skip


def _uniswap_v2(sender: Sender, wrapped: Address) -> dict[str, Address]:
    factory = _deploy(
        sender, "UniswapV2Factory", "@uniswap/v2-core", "build/UniswapV2Factory.json", ("address",), sender.account
    )
    code = artifact(_V2_PERIPHERY, "build/UniswapV2Router02.json").bytecode
    return {"factory": factory, "router": _v2_router(sender, code, factory, wrapped)}


def _sushiswap_v2(sender: Sender, wrapped: Address) -> dict[str, Address]:
    # Only this deployment's files match each other: those under artifacts/ hold different pair hashes.
    folder = "deployments/arbitrum"
    factory = _deploy(
        sender, "SushiSwap factory", _SUSHI, f"{folder}/UniswapV2Factory.json", ("address",), sender.account
    )
    code = artifact(_SUSHI, f"{folder}/UniswapV2Router02.json").bytecode
    return {"factory": factory, "router": _v2_router(sender, code, factory, wrapped)}


def _pancake_v2(sender: Sender, wrapped: Address) -> dict[str, Address]:
    """No package has this generation's router: Uniswap's does, with the pair's init-code hash put in.

    It charges its users 30 bps where the pair asks 20, which is allowed and only costs them.
    """
    package = "@pancakeswap-libs/pancake-swap-core"
    factory = _deploy(sender, "PancakeFactory", package, "build/PancakeFactory.json", ("address",), sender.account)
    pair_hash = keccak(artifact(package, "build/PancakePair.json").bytecode)
    code = artifact(_V2_PERIPHERY, "build/UniswapV2Router02.json").bytecode
    patched = code.replace(UNISWAP_PAIR_HASH, pair_hash)
    if patched == code:
        raise ValueError("UniswapV2Router02 does not hold the known pair hash: the package has changed")
    return {"factory": factory, "router": _v2_router(sender, patched, factory, wrapped)}


def _bscswap(sender: Sender, wrapped: Address) -> dict[str, Address]:
    package = "@bscswap/contracts"
    factory = _deploy(sender, "BSCswapFactory", package, "build/BSCswapFactory.json", ("address",), sender.account)
    code = artifact(package, "build/BSCswapRouter.json").bytecode
    return {"factory": factory, "router": _v2_router(sender, code, factory, wrapped)}


def _trader_joe(sender: Sender, wrapped: Address) -> dict[str, Address]:
    code = family_artifact("JoeFactory").bytecode
    factory = sender.deploy(creation_data(code, ("address",), (sender.account,)), "JoeFactory")
    return {
        "factory": factory,
        "router": _v2_router(sender, family_artifact("JoeRouter02").bytecode, factory, wrapped),
    }


def _swapr(sender: Sender, wrapped: Address) -> dict[str, Address]:
    """Its pairs ask 25 bps until their setter says otherwise; Uniswap's router, which pays 30, serves as above."""
    code = family_artifact("DXswapFactory").bytecode
    factory = sender.deploy(creation_data(code, ("address",), (sender.account,)), "DXswapFactory")
    pair_hash = keccak(family_artifact("DXswapPair").bytecode)
    router = artifact(_V2_PERIPHERY, "build/UniswapV2Router02.json").bytecode
    patched = router.replace(UNISWAP_PAIR_HASH, pair_hash)
    return {"factory": factory, "router": _v2_router(sender, patched, factory, wrapped)}


def _v2_router(sender: Sender, code: bytes, factory: Address, wrapped: Address) -> Address:
    return sender.deploy(creation_data(code, ("address", "address"), (factory, wrapped)), "V2 router")


def _uniswap_v3(sender: Sender, wrapped: Address) -> dict[str, Address]:
    path = "artifacts/contracts/UniswapV3Factory.sol/UniswapV3Factory.json"
    factory = _deploy(sender, "UniswapV3Factory", "@uniswap/v3-core", path)
    # 0.01 % was added by governance; 500, 3000 and 10000 are built in.
    sender.send(factory, call_data("enableFeeAmount(uint24,int24)", 100, 1), what="enableFeeAmount(100)")

    def periphery(name: str, path: str, *more: Address) -> Address:
        arguments = (factory, wrapped, *more)
        return _deploy(
            sender, name, _V3_PERIPHERY, f"artifacts/contracts/{path}", ("address",) * len(arguments), *arguments
        )

    return {
        "factory": factory,
        "router": periphery("SwapRouter", "SwapRouter.sol/SwapRouter.json"),
        "quoter": periphery("QuoterV2", "lens/QuoterV2.sol/QuoterV2.json"),
        # The descriptor only draws pictures of positions; any address will do.
        "position_manager": periphery(
            "NonfungiblePositionManager",
            "NonfungiblePositionManager.sol/NonfungiblePositionManager.json",
            sender.account,
        ),
    }
