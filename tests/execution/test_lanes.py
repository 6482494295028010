"""What a lane makes of a node's words, and of its silence. Words of a real node are in test_submit."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ouro.chain.errors import CallTimeout, MalformedAnswer, RateLimited, RpcError, TransportError
from ouro.execution.lanes import Handover, PublicLane, SendResult, classify_error

TEXTS = [
    # geth, erigon, nethermind, besu, reth/anvil, bor
    ("already known", Handover.KNOWN),
    ("known transaction: 0xabc", Handover.KNOWN),
    ("AlreadyKnown", Handover.KNOWN),
    ("ALREADY_EXISTS: already known", Handover.KNOWN),
    ("transaction already imported", Handover.KNOWN),
    ("nonce too low: next nonce 5, tx nonce 4", Handover.NONCE_USED),
    ("nonce is too low", Handover.NONCE_USED),
    ("OldNonce, Current nonce: 5, nonce of rejected tx: 4", Handover.NONCE_USED),
    ("Nonce too low", Handover.NONCE_USED),
    ("replacement transaction underpriced", Handover.UNDERPRICED),
    ("transaction underpriced", Handover.UNDERPRICED),
    ("max fee per gas less than block base fee", Handover.UNDERPRICED),
    ("Gas price too low", Handover.UNDERPRICED),
    ("FeeTooLow, EffectivePriorityFeePerGas too low", Handover.UNDERPRICED),
    ("insufficient funds for gas * price + value", Handover.REJECTED),
    ("exceeds block gas limit", Handover.REJECTED),
    ("", Handover.REJECTED),
]


@pytest.mark.parametrize(("text", "expected"), TEXTS)
def test_known_prose(text: str, expected: Handover) -> None:
    assert classify_error(text) is expected
    assert classify_error(f"eth_sendRawTransaction: node answered error -32000: {text}") is expected


@given(st.text())
def test_unknown_prose_never_counts_as_accepted(text: str) -> None:
    assert classify_error(text) is not Handover.ACCEPTED


class Node:
    """Answers one call as told."""

    def __init__(self, answer: Any) -> None:
        self.answer, self.asked = answer, []

    async def call(self, method: str, params: list[Any], timeout_ms: int | None = None) -> Any:
        self.asked.append((method, params, timeout_ms))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def test_bytes_travel_as_hex_once_with_the_lanes_time_out() -> None:
    node = Node("0x" + "11" * 32)
    assert await PublicLane(node, RpcError, timeout_ms=250).send(b"\x02\xff") == SendResult(Handover.ACCEPTED)
    assert node.asked == [("eth_sendRawTransaction", ["0x02ff"], 250)]


@pytest.mark.parametrize(
    "silence",
    [
        TransportError("closed"),
        CallTimeout("3 s"),
        RateLimited("slow down"),
        MalformedAnswer("html"),
        ConnectionResetError("peer"),
        TimeoutError(),
    ],
)
async def test_no_answer_is_an_unknown_never_an_exception(silence: Exception) -> None:
    """The bytes may have arrived: an exception here would lose sight of a transaction that can land."""
    result = await PublicLane(Node(silence), RpcError).send(b"\x02")
    assert result.handover is Handover.UNKNOWN
    assert result.may_be_pending


@pytest.mark.parametrize(
    ("handover", "pending"),
    [(each, each in (Handover.ACCEPTED, Handover.KNOWN, Handover.UNKNOWN)) for each in Handover],
)
def test_what_may_still_land(handover: Handover, pending: bool) -> None:
    assert SendResult(handover).may_be_pending is pending


async def test_a_refusal_keeps_the_nodes_words() -> None:
    lane = PublicLane(Node(RpcError(-32003, "nonce too low", method="eth_sendRawTransaction")), RpcError)
    result = await lane.send(b"\x02")
    assert result.handover is Handover.NONCE_USED
    assert "nonce too low" in result.detail
