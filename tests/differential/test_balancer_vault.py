"""Asset managers of the real Vault: cash, managed balances and words of pools of all three ways of keeping them."""

import pytest
from tests.differential.balancer_world import BalancerChain, VaultMirror
from tests.differential.chain import OWNER, account

from ouro.protocols.balancer_math import ONE
from ouro.protocols.balancer_v2_vault import GENERAL, MINIMAL, TWO_TOKEN
from ouro.protocols.balancer_v2_weighted import BalancerV2Weighted
from ouro.protocols.balancer_v2_weighted_state import BalancerV2WeightedState
from ouro.testnet.abi import call_bytes
from ouro.testnet.artifacts import ArtifactError

WITHDRAW, DEPOSIT, UPDATE = 0, 1, 2


@pytest.fixture(scope="module")
def chain() -> BalancerChain:
    try:
        return BalancerChain(tokens=3)
    except ArtifactError as error:
        pytest.skip(f"needs its packages once, `python -m tests.differential.sources` fetches them: {error}")


@pytest.mark.parametrize("kind", [GENERAL, MINIMAL, TWO_TOKEN])
def test_asset_managers_are_followed_word_by_word(chain: BalancerChain, kind: int) -> None:
    pool = account(f"pool {kind}")
    answer = chain.call(chain.vault, call_bytes("registerPool(uint8)", kind), caller=pool)
    pool_id = "0x" + answer.hex()
    tokens = tuple(sorted(chain.decimals)[: 2 if kind == TWO_TOKEN else 3])
    n = len(tokens)
    call = call_bytes("registerTokens(bytes32,address[],address[])", answer, list(tokens), [OWNER] * n)
    chain.call(chain.vault, call, caller=pool)
    zeros = (0,) * n
    weights = (ONE // n,) * n
    state = BalancerV2WeightedState(
        pool, chain.vault, pool_id, tokens, (1,) * n, weights, zeros, zeros, zeros, 10**15
    )
    mirror = VaultMirror(chain, BalancerV2Weighted(), state)
    steps = ((UPDATE, 0, 1000), (DEPOSIT, 0, 400), (UPDATE, 1, 77), (WITHDRAW, 0, 150), (UPDATE, 0, 5))
    for what, place, amount in steps:
        chain.at(chain.timestamp + 12)
        move = (what, answer, tokens[place], amount)
        chain.call(chain.vault, call_bytes("managePoolBalance((uint8,bytes32,address,uint256)[])", [move]))
        mirror.follow()
        mirror.expect_words(f"after {what} of {amount}", mirror.state)
    assert (mirror.state.cash[:2], mirror.state.managed[:2]) == ((250, 0), (5, 77))
    assert mirror.compared > 10
