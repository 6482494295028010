"""Logs of StableSwap pools of every generation as deltas; newer contracts have dynamic arrays."""

import re
from collections.abc import Callable, Mapping

import msgspec

from ouro.hashing import topic
from ouro.protocols.base import DecodeError
from ouro.protocols.eventdata import data_words, topic_words
from ouro.types import Log

MAX_COINS = 8
_HEX = re.compile(r"0x(?:[0-9a-fA-F]{64})*")


class ExchangeDelta(msgspec.Struct, frozen=True):
    """``sold_wei`` of coin ``i`` went in, ``bought_wei`` of coin ``j`` came out."""

    i: int
    sold_wei: int
    j: int
    bought_wei: int
    timestamp: int


class LiquidityDelta(msgspec.Struct, frozen=True):
    """A deposit (``sign`` 1) or a withdrawal (-1): amounts moved, fees charged in each coin, LP supply after it."""

    sign: int
    amounts_wei: tuple[int, ...]
    fees_wei: tuple[int, ...]
    supply: int


class OneCoinDelta(msgspec.Struct, frozen=True):
    """A withdrawal in one coin. Old contracts don't say which: ``coin`` is None then."""

    burnt: int
    amount_wei: int
    coin: int | None
    timestamp: int


class RampDelta(msgspec.Struct, frozen=True):
    """A (times its precision) goes from ``initial`` to ``future`` between the two times."""

    initial: int
    future: int
    start: int
    end: int


class FeeDelta(msgspec.Struct, frozen=True):
    """New fees of 10^10; None where the event does not carry one."""

    fee: int | None = None
    admin_fee: int | None = None
    off_peg: int | None = None


StableDelta = ExchangeDelta | LiquidityDelta | OneCoinDelta | RampDelta | FeeDelta
Reader = Callable[[Log, int, int], StableDelta]
"""(log, number of coins, timestamp) → delta."""


def dynamic_words(log: Log, event: str) -> tuple[int, ...]:
    """All words of ``log.data``, for events with arrays."""
    if not _HEX.fullmatch(log.data):
        raise DecodeError(f"{event} of {log.address}: data is not whole words")
    raw = bytes.fromhex(log.data[2:])
    return tuple(int.from_bytes(raw[k : k + 32]) for k in range(0, len(raw), 32))


def _array(words: tuple[int, ...], place: int, n: int, log: Log, event: str) -> tuple[int, ...]:
    """The dynamic array whose offset stands at ``place``: ``n`` values, or none."""
    start = words[place] // 32 if place < len(words) else len(words)
    if start >= len(words) or words[place] % 32 or words[start] not in (0, n) or start + words[start] >= len(words):
        raise DecodeError(f"{event} of {log.address}: an array of {n} values is expected")
    return words[start + 1 : start + 1 + words[start]]


def coin_index(value: int, n: int, log: Log) -> int:
    """A coin's place in the pool."""
    if value >= n:
        raise DecodeError(f"log of {log.address} names coin {value} of a pool of {n}")
    return value


def exchange(log: Log, n: int, timestamp: int) -> ExchangeDelta:
    """``TokenExchange(address indexed, int128 sold_id, uint256, int128 bought_id, uint256)``."""
    i, sold, j, bought = data_words(log, 4, "TokenExchange")
    return ExchangeDelta(coin_index(i, n, log), sold, coin_index(j, n, log), bought, timestamp)


def token_swap(log: Log, n: int, timestamp: int) -> ExchangeDelta:
    """Saddle's ``TokenSwap(address indexed, uint256 sold, uint256 bought, uint128 sold_id, uint128 bought_id)``."""
    sold, bought, i, j = data_words(log, 4, "TokenSwap")
    return ExchangeDelta(coin_index(i, n, log), sold, coin_index(j, n, log), bought, timestamp)


def _fixed(sign: int, name: str, tail: int) -> Reader:
    """Amounts, fees and ``tail`` words, the last of which is the supply."""

    def read(log: Log, n: int, timestamp: int) -> LiquidityDelta:
        words = data_words(log, 2 * n + tail, name)
        return LiquidityDelta(sign, words[:n], words[n : 2 * n], words[-1])

    return read


def _dynamic(sign: int, name: str, head: int, fees: bool = True) -> Reader:
    """The same with dynamic arrays; ``head`` words before the arrays' contents, the last of which is the supply."""

    def read(log: Log, n: int, timestamp: int) -> LiquidityDelta:
        words = dynamic_words(log, name)
        amounts = _array(words, 0, n, log, name)
        charged = _array(words, 1, n, log, name) if fees else ()
        if len(amounts) != n:
            raise DecodeError(f"{name} of {log.address}: {n} amounts expected")
        return LiquidityDelta(sign, amounts, charged or (0,) * n, words[head - 1])

    return read


def _one_coin(count: int, place: int | None, amount: int) -> Reader:
    """Words ``burnt`` first (or after the coin); ``place`` is the coin's word, ``amount`` the amount's."""

    def read(log: Log, n: int, timestamp: int) -> OneCoinDelta:
        words = data_words(log, count, "RemoveLiquidityOne")
        burnt = words[1] if place == 0 else words[0]
        coin = None if place is None else coin_index(words[place], n, log)
        return OneCoinDelta(burnt, words[amount], coin, timestamp)

    return read


def _ramp(log: Log, n: int, timestamp: int) -> RampDelta:
    return RampDelta(*data_words(log, 4, "RampA"))


def _stop(log: Log, n: int, timestamp: int) -> RampDelta:
    value, at = data_words(log, 2, "StopRampA")
    return RampDelta(value, value, at, at)


def _fee(*names: str) -> Reader:
    def read(log: Log, n: int, timestamp: int) -> FeeDelta:
        words = data_words(log, len(names), "new fee")
        return FeeDelta(**dict(zip(names, words, strict=True)))

    return read


_COMMON: Mapping[str, Reader] = {
    topic("TokenExchange(address,int128,uint256,int128,uint256)"): exchange,
    topic("RampA(uint256,uint256,uint256,uint256)"): _ramp,
    topic("StopRampA(uint256,uint256)"): _stop,
}


def _fixed_topics(n: int) -> Mapping[str, Reader]:
    return {
        topic(f"AddLiquidity(address,uint256[{n}],uint256[{n}],uint256,uint256)"): _fixed(1, "AddLiquidity", 2),
        topic(f"RemoveLiquidity(address,uint256[{n}],uint256[{n}],uint256)"): _fixed(-1, "RemoveLiquidity", 1),
        topic(f"RemoveLiquidityImbalance(address,uint256[{n}],uint256[{n}],uint256,uint256)"): _fixed(
            -1, "RemoveLiquidityImbalance", 2
        ),
    }


PLAIN: Mapping[str, Reader] = {
    **_COMMON,
    **{key: reader for n in range(2, MAX_COINS + 1) for key, reader in _fixed_topics(n).items()},
    topic("RemoveLiquidityOne(address,uint256,uint256)"): _one_coin(2, None, 1),
    topic("RemoveLiquidityOne(address,uint256,uint256,uint256)"): _one_coin(3, None, 1),
    topic("NewFee(uint256,uint256)"): _fee("fee", "admin_fee"),
}
"""Old pools and those of the old factory."""

_DYNAMIC = "(address,uint256[],uint256[],uint256,uint256)"
NG: Mapping[str, Reader] = {
    **_COMMON,
    topic(f"AddLiquidity{_DYNAMIC}"): _dynamic(1, "AddLiquidity", 4),
    topic("RemoveLiquidity(address,uint256[],uint256[],uint256)"): _dynamic(-1, "RemoveLiquidity", 3),
    topic(f"RemoveLiquidityImbalance{_DYNAMIC}"): _dynamic(-1, "RemoveLiquidityImbalance", 4),
    topic("RemoveLiquidityOne(address,int128,uint256,uint256,uint256)"): _one_coin(4, 0, 2),
    topic("ApplyNewFee(uint256,uint256)"): _fee("fee", "off_peg"),
}
"""StableSwap NG."""

SADDLE: Mapping[str, Reader] = {
    topic("TokenSwap(address,uint256,uint256,uint128,uint128)"): token_swap,
    topic(f"AddLiquidity{_DYNAMIC}"): _dynamic(1, "AddLiquidity", 4),
    topic("RemoveLiquidity(address,uint256[],uint256)"): _dynamic(-1, "RemoveLiquidity", 2, fees=False),
    topic(f"RemoveLiquidityImbalance{_DYNAMIC}"): _dynamic(-1, "RemoveLiquidityImbalance", 4),
    topic("RemoveLiquidityOne(address,uint256,uint256,uint256,uint256)"): _one_coin(4, 2, 3),
    topic("RampA(uint256,uint256,uint256,uint256)"): _ramp,
    topic("StopRampA(uint256,uint256)"): _stop,
    topic("NewSwapFee(uint256)"): _fee("fee"),
    topic("NewAdminFee(uint256)"): _fee("admin_fee"),
}
"""The Solidity port (Saddle and its descendants)."""


def read(readers: Mapping[str, Reader], log: Log, n: int, timestamp: int) -> StableDelta | None:
    """The delta of ``log``; None for an event that ``readers`` don't have."""
    reader = readers.get(log.topics[0]) if log.topics else None
    if reader is None:
        return None
    if reader in (exchange, token_swap):
        topic_words(log, 1, "an exchange")
    return reader(log, n, timestamp)
