"""What routes call tokens."""

from types import SimpleNamespace
from typing import cast

import pytest

from ouro.engine.chain_engine import _token_name
from ouro.engine.chain_state import ChainState
from ouro.market.tokens import TokenInfo

WRAPPED, STABLE, LIAR, NAMELESS, UNKNOWN = (f"0x{digit * 40}" for digit in "abcde")


@pytest.mark.parametrize(
    ("token", "name"),
    [(WRAPPED, "native"), (STABLE, "USDC"), (LIAR, LIAR[:8]), (NAMELESS, NAMELESS[:8]), (UNKNOWN, UNKNOWN[:8])],
)
def test_the_wrapped_coin_is_native_by_the_configuration_and_nothing_else_is(token: str, name: str) -> None:
    symbols = {WRAPPED: "WETH", STABLE: "USDC", LIAR: "Native", NAMELESS: ""}
    state = SimpleNamespace(
        config=SimpleNamespace(wrapped_native=WRAPPED),
        market=SimpleNamespace(tokens={t: TokenInfo(t, symbol, 18) for t, symbol in symbols.items()}),
    )
    assert _token_name(token, cast("ChainState", state)) == name
