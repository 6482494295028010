from pathlib import Path

import pytest

from ouro.config.model import OuroConfig
from ouro.hashing import keccak
from ouro.testnet.abi import call_data, decode_result
from ouro.testnet.artifacts import artifact
from ouro.testnet.deployment import Deployment, Pool
from ouro.testnet.testnet import LocalChain, Testnet

pytestmark = pytest.mark.node


def read(chain: LocalChain, to: str, signature: str, returns: tuple[str, ...], *arguments: object) -> tuple:
    with chain.node.client() as client:
        return decode_result(returns, client.read(to, call_data(signature, *arguments)))


def test_v2_reserves_equal_the_record_to_the_wei(chain: LocalChain) -> None:
    checked = 0
    for pool in chain.deployment.pools:
        if pool.kind == "v2":
            found = read(chain, pool.address, "getReserves()", ("uint112", "uint112", "uint32"))
            assert found[:2] == chain.profile.pools[pool.recorded].reserves
            checked += 1
    assert checked >= 14


def test_v3_price_and_liquidity_equal_the_record(chain: LocalChain) -> None:
    checked = 0
    for pool in chain.deployment.pools:
        if pool.kind == "v3":
            recorded = chain.profile.pools[pool.recorded]
            root, tick = read(chain, pool.address, "slot0()", ("uint160", "int24"))
            assert (root, tick) == (recorded.sqrt_price_x96, recorded.tick)
            assert read(chain, pool.address, "liquidity()", ("uint128",)) == (recorded.liquidity,)
            assert read(chain, pool.address, "tickSpacing()", ("int24",)) == (recorded.tick_spacing,)
            checked += 1
    assert checked >= 7


def test_tokens_keep_the_recorded_order_so_that_pairs_need_no_turning(chain: LocalChain) -> None:
    by_address = sorted(chain.deployment.tokens, key=lambda token: token.address)
    by_record = sorted(chain.deployment.tokens, key=lambda token: token.recorded_address)
    assert by_address == by_record
    for token in chain.deployment.tokens:
        assert read(chain, token.address, "decimals()", ("uint8",)) == (token.decimals,)
        assert read(chain, token.address, "symbol()", ("string",)) == (
            ("WETH",) if token.address == chain.deployment.wrapped_native else (token.symbol,)
        )


def test_pairs_are_the_protocols_own_code(chain: LocalChain) -> None:
    """CREATE2 addresses from the published init-code hashes."""
    hashes = {
        "uniswap_v2": "96e8ac4277198ff8b6f785478aa9a39f403cb768dd02cbee326c3e7da348845f",
        "sushiswap_v2": "e18a34eb0e04b04f7a0ac29a6e80748dca96319b42c54d679cb821dca90c6303",
        "pancake_v2": keccak(
            artifact("@pancakeswap-libs/pancake-swap-core", "build/PancakePair.json").bytecode
        ).hex(),
    }
    for pool in chain.deployment.pools:
        if pool.kind == "v2":
            factory = bytes.fromhex(chain.deployment.venue(pool.dex).factory[2:])
            salt = keccak(b"".join(bytes.fromhex(token[2:]) for token in pool.tokens))
            digest = keccak(b"\xff" + factory + salt + bytes.fromhex(hashes[pool.dex]))
            assert pool.address == "0x" + digest[12:].hex()


def deepest(chain: LocalChain, dex: str) -> Pool:
    return next(pool for pool in chain.deployment.pools if pool.dex == dex)


def test_v2_routers_quote_the_seeded_pools(chain: LocalChain) -> None:
    for venue in chain.deployment.venues:
        if venue.family != "uniswap_v2":
            continue
        pool = deepest(chain, venue.name)
        reserve_in, reserve_out = chain.profile.pools[pool.recorded].reserves
        amount = reserve_in // 1_000
        signature = "getAmountsOut(uint256,address[])"
        (amounts,) = read(chain, venue.router, signature, ("uint256[]",), amount, list(pool.tokens))
        # Every router charges 30 bps, also the one in front of the 20 bps pairs.
        assert amounts[1] == amount * 997 * reserve_out // (reserve_in * 1_000 + amount * 997)


def test_quoter_crosses_the_seeded_ranges(chain: LocalChain) -> None:
    venue = chain.deployment.venue("uniswap_v3")
    assert venue.quoter is not None
    pool = next(p for p in chain.deployment.pools if p.kind == "v3" and p.fee_ppm == 3_000)
    recorded = chain.profile.pools[pool.recorded]
    reserve0 = recorded.liquidity * 2**96 // recorded.sqrt_price_x96
    signature = "quoteExactInputSingle((address,address,uint256,uint24,uint160))"
    arguments = (*pool.tokens, reserve0 // 50, pool.fee_ppm, 0)
    out, _, crossed, _ = read(
        chain, venue.quoter, signature, ("uint256", "uint160", "uint32", "uint256"), arguments
    )
    assert out > 0
    assert crossed >= 2


def test_executor_belongs_to_the_cold_owner_and_knows_its_operators(chain: LocalChain) -> None:
    deployment = chain.deployment
    assert read(chain, deployment.executor, "owner()", ("address",)) == (deployment.owner,)
    assert read(chain, deployment.executor, "treasury()", ("address",)) == (deployment.owner,)
    assert set(chain.operator_keys) == set(deployment.operators)
    with chain.node.client() as client:
        for operator in deployment.operators:
            assert read(chain, deployment.executor, "isOperator(address)", ("bool",), operator) == (True,)
            assert client.balance(operator) == 100 * 10**18


def test_multicall_works(chain: LocalChain) -> None:
    pool = chain.deployment.pools[0]
    calls = [(pool.address, False, bytes.fromhex(call_data("token0()")[2:]))]
    ((result,),) = read(
        chain,
        chain.deployment.multicall,
        "aggregate3((address,bool,bytes)[])",
        ("(bool,bytes)[]",),
        calls,
    )
    assert result == (True, bytes.fromhex(pool.tokens[0][2:]).rjust(32, b"\0"))


def test_blocks_have_a_plain_gas_limit_after_set_up(chain: LocalChain) -> None:
    with chain.node.client() as client:
        client.call("evm_mine")
        assert int(client.call("eth_getBlockByNumber", "latest", False)["gasLimit"], 16) == 30_000_000


def test_deployments_round_trip_and_hold_no_keys(chain: LocalChain, tmp_path: Path) -> None:
    path = tmp_path / "deployment.json"
    chain.deployment.save(path)
    assert Deployment.load(path) == chain.deployment
    assert Deployment.from_dict(chain.deployment.to_dict()) == chain.deployment
    secrets = [chain.owner_key, *chain.operator_keys.values()]
    assert not any(secret[2:] in path.read_text() + repr(chain) for secret in secrets)


def test_chain_configs_make_a_valid_configuration(quiet_testnet: Testnet) -> None:
    chains = {name: quiet_testnet.chain_config(name) for name in quiet_testnet.chains}
    config = OuroConfig.model_validate({"mode": "live", "chains": {k: v.model_dump() for k, v in chains.items()}})
    assert config.chains["fantom"].block_time_ms == 250
    assert {dex.fee_ppm for dex in config.chains["fantom"].dexes} == {3_000, 2_000, None}
    assert len(config.chains["ethereum"].stable_tokens) == 3
