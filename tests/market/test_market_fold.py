"""Folding a block's logs of a pool gives what one log after the other gives, to the last field and word."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ouro.execution.image import ShadowImage
from ouro.market.journal import ApplyResult
from ouro.market.market import Market
from ouro.protocols.base import BalanceChange
from ouro.protocols.registry import FAMILIES
from ouro.replay.generate import Flow, Scale

OPERATOR = "0x" + "51" * 20


class Follower:
    """A market, and the storage that its deltas lead to."""

    def __init__(self, flow: Flow) -> None:
        origin = flow.origin()
        self.market = Market(origin.chain, FAMILIES)
        self.market.start(origin.head, origin.states.values())
        assert isinstance(origin.image, ShadowImage)
        self.words = {
            (who, slot): word for who, words in origin.image.words.items() for slot, word in words.items()
        }
        self.balances: dict[tuple[str, str], int] = {}

    def lead(self, result: ApplyResult) -> None:
        for family, state, delta in result.deltas:
            for change in family.storage_writes(state, delta):
                if isinstance(change, BalanceChange):
                    place = change.token, change.holder
                    self.balances[place] = self.balances.get(place, 0) + change.change_wei
                else:
                    self.words[change.address, change.slot] = change.value

    def seen(self) -> tuple[Any, ...]:
        words = {place: word for place, word in self.words.items() if word}
        balances = {place: change for place, change in self.balances.items() if change}
        return self.market.states, self.market.quarantine, words, balances


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10**6), logs=st.integers(1, 60))
def test_same_states_and_words(seed: int, logs: int) -> None:
    flow = Flow(Scale(pools=20, blocks=6, logs=logs, touched=4, unknown=0.1), seed, (OPERATOR,), None)
    folded, single = Follower(flow), Follower(flow)
    for block in flow.blocks():
        one = folded.market.apply(block)
        with pytest.MonkeyPatch.context() as patch:
            for name in ("uniswap_v2", "uniswap_v3"):
                patch.setattr(type(FAMILIES[name]), "folds", False)
            other = single.market.apply(block)
        folded.lead(one)
        single.lead(other)
        assert folded.seen() == single.seen()
        assert one.touched.tolist() == other.touched.tolist()
        assert one.unknown_logs == other.unknown_logs
        assert len(one.deltas) <= len(other.deltas)
    assert not folded.market.quarantine
    assert FAMILIES["uniswap_v2"].folds
    assert FAMILIES["uniswap_v3"].folds
