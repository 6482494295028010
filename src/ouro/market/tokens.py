"""What tokens say of themselves: decimals and symbol, for display and prices only. All of it may be a lie."""

import unicodedata
from dataclasses import dataclass

from ouro.hashing import selector
from ouro.protocols.reads import Read, words
from ouro.types import Address

_MAX_SYMBOL = 16
_DECIMALS_GAS = 15_000
_SYMBOL_GAS = 30_000


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """``decimals`` is None where the token doesn't tell (or tells nonsense); ``symbol`` is printable and short."""

    address: Address
    symbol: str
    decimals: int | None

    @property
    def label(self) -> str:
        """Symbol, or the short address where there is none."""
        return self.symbol or f"{self.address[:6]}…{self.address[-4:]}"


def token_reads(token: Address) -> tuple[Read, Read]:
    """The calls that ``parse_token`` wants the answers of."""
    return (
        Read(token, selector("decimals()"), _DECIMALS_GAS),
        Read(token, selector("symbol()"), _SYMBOL_GAS),
    )


def parse_token(token: Address, decimals: bytes | None, symbol: bytes | None) -> TokenInfo:
    """Never fails: what can't be read is left out."""
    value = words(decimals or b"")[:1]
    usable = bool(value) and value[0] <= 77  # 10^78 does not fit a word: no honest token has more
    return TokenInfo(token, parse_symbol(symbol or b""), value[0] if usable else None)


def parse_symbol(raw: bytes) -> str:
    """A symbol given as ``string`` or, by old tokens, as ``bytes32``; cleaned of what could disturb a terminal."""
    if len(raw) == 32:
        text = raw.rstrip(b"\0")
    else:
        head = words(raw[:64])
        if len(head) < 2 or head[0] != 32:
            return ""
        text = raw[64 : 64 + min(head[1], 256)]
    cleaned = (char for char in text.decode("utf-8", "ignore") if unicodedata.category(char)[0] in "LNPS")
    return "".join(cleaned)[:_MAX_SYMBOL]
