import pytest
from hypothesis import given
from hypothesis import strategies as st

from ouro.market.tokens import parse_symbol, parse_token

from .streams import address, word


def string(text: bytes) -> bytes:
    return bytes.fromhex(word(32) + word(len(text))) + text + bytes(-len(text) % 32)


@pytest.mark.parametrize(
    ("raw", "symbol"),
    [
        (string(b"USDC"), "USDC"),
        (b"MKR".ljust(32, b"\0"), "MKR"),
        (string("₮ÖKEN".encode()), "₮ÖKEN"),
        (string(b"\x1b[2J\x07evil\n"), "[2Jevil"),
        (string("a\u202egpj".encode()), "agpj"),
        (string(b"A" * 5000), "A" * 16),
        (string(b"\xff\xfeX"), "X"),
        (b"", ""),
        (bytes.fromhex(word(2**255) + word(1)), ""),
        (bytes.fromhex(word(32) + word(2**255)) + b"abc", "abc"),
    ],
)
def test_symbols(raw: bytes, symbol: str) -> None:
    assert parse_symbol(raw) == symbol


@given(st.binary(max_size=300), st.binary(max_size=80))
def test_no_answer_breaks_anything(symbol: bytes, decimals: bytes) -> None:
    info = parse_token(address(1), decimals, symbol)
    assert len(info.symbol) <= 16
    assert info.symbol.isprintable()
    assert info.decimals is None or 0 <= info.decimals <= 77
    assert info.label


def test_decimals() -> None:
    assert parse_token(address(1), bytes.fromhex(word(6)), None).decimals == 6
    assert parse_token(address(1), bytes.fromhex(word(255)), None).decimals is None
    assert parse_token(address(1), None, None).decimals is None
