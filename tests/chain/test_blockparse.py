"""The quick way through a block's logs says the same as the slow one, or nothing."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ouro.chain.blockparse import parse_block_logs
from ouro.chain.headers import Header
from ouro.chain.logs import check_logs

HASH, PARENT, TX = "0x" + "ab" * 32, "0x" + "cd" * 32, "0x" + "0f" * 32
TOPIC, OTHER = "0x" + "11" * 32, "0x" + "22" * 32
HEADER = Header(17, HASH, PARENT, 1, 10, 0, 1, None)
WATCHED = frozenset((TOPIC,))


def answer(count: int = 3) -> list[dict[str, Any]]:
    return [
        {
            "address": "0x" + "a1" * 20,
            "topics": [TOPIC, OTHER],
            "data": "0x" + "00" * 31 + f"{k:02x}",
            "blockNumber": "0x11",
            "blockHash": HASH,
            "transactionHash": TX,
            "transactionIndex": hex(k // 2),
            "logIndex": hex(k),
            "removed": False,
        }
        for k in range(count)
    ]


def test_ordinary_logs() -> None:
    logs = parse_block_logs(answer(), HEADER, WATCHED)
    assert logs is not None
    assert len(logs) == 3
    assert logs == check_logs(answer(), HEADER, WATCHED).logs
    assert parse_block_logs([], HEADER, WATCHED) == ()


ODD: list[Any] = [
    None, 5, "", "0x", "0xzz", "zz", True, [], {}, "0x1", "0x 1", "0x1_0", HASH.upper(), HASH[:-1], [TOPIC.upper()],
    [OTHER], [TOPIC] * 5, "0x" + "AB" * 32, "0x" + " " * 64, "0x" + "é" * 64, -1,
]  # fmt: skip


@given(
    st.integers(0, 2),
    st.sampled_from(sorted(answer(1)[0])),
    st.sampled_from(range(len(ODD))),
    st.booleans(),
)
def test_whatever_is_odd_is_left_to_the_slow_way_or_read_alike(place: int, name: str, odd: int, drop: bool) -> None:
    value = answer()
    if drop:
        del value[place][name]
    else:
        value[place][name] = ODD[odd]
    quick = parse_block_logs(value, HEADER, WATCHED)
    slow = check_logs(value, HEADER, WATCHED)
    if quick is not None:
        assert slow.faults == []
        assert quick == slow.logs


def test_order_and_foreign_blocks() -> None:
    assert parse_block_logs(list(reversed(answer())), HEADER, WATCHED) is None
    assert parse_block_logs([*answer(), answer()[2]], HEADER, WATCHED) is None
    assert parse_block_logs([{**each, "blockHash": PARENT} for each in answer()], HEADER, WATCHED) is None
    assert parse_block_logs("no list", HEADER, WATCHED) is None
