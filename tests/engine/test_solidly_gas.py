"""What a stable swap costs more than a volatile one is constant, by receipts of the real pools."""

import random

import pytest
from familychain import NodeChain, solidly

from ouro.protocols.solidly import STABLE_GAS, VOLATILE_GAS
from ouro.protocols.solidly_math import stable_out, volatile_out
from ouro.testnet.abi import call_bytes, decode_result
from ouro.testnet.client import Client

pytestmark = pytest.mark.node


def swap_gas(chain: NodeChain, pool: str, amount: int, *, stable: bool) -> int:
    """Gas of the transaction that swaps ``amount`` of token 0, in a block a while later."""
    answer = chain.client.read(pool, "0x" + call_bytes("getReserves()").hex())
    held, other = decode_result(("uint256", "uint256"), answer[:130])
    net = amount * 99 // 100
    out = stable_out(net, held, other, 10**18, 10**18) if stable else volatile_out(net, held, other)
    chain.at(chain.timestamp + 600)
    chain.drive(chain.tokens[0], call_bytes("transfer(address,uint256)", pool, amount))
    chain.drive(pool, call_bytes("swap(uint256,uint256,address,bytes)", 0, out, chain.driver, b""))
    return chain.last_gas_used


def test_a_stable_swap_costs_what_is_counted(client: Client) -> None:
    venue = solidly(client, random.Random(1))
    volatile, stable = venue.pools
    for pool in venue.pools:  # words that were never written
        swap_gas(venue.chain, pool, 10**18, stable=pool == stable)
    for amount in (10**12, 10**18, 10**20, 10**23):
        dearer = swap_gas(venue.chain, stable, amount, stable=True)
        dearer -= swap_gas(venue.chain, volatile, amount, stable=False)
        assert dearer == pytest.approx(STABLE_GAS - VOLATILE_GAS, abs=100)
