"""What all pools of Balancer's second Vault share: balances held by the Vault, its logs and its storage words.

A pool is named by its contract's address, which is the head of its 32-byte id; the Vault (``manager``) emits its
swaps, joins and exits with that id as first topic, the pool's own contract fee, pause, amplification and rates.
A balance is cash in the Vault plus what an asset manager has taken out: curves see the sum, swaps pay from cash.
"""

from itertools import pairwise
from typing import Any, TypeAlias

import msgspec

from ouro.hashing import keccak, topic
from ouro.protocols import jsonform
from ouro.protocols.balancer_math import ONE
from ouro.protocols.base import DecodeError, Limits, QuoteError, StorageWrite
from ouro.protocols.eventdata import data_words, in_range, sint, topic_words, uint
from ouro.types import Address, BlockContext, Log

GENERAL, MINIMAL, TWO_TOKEN = 0, 1, 2
MAX_BALANCE = (1 << 112) - 1
MAX_FEE = ONE // 10
_U32 = (1 << 32) - 1
_U256 = (1 << 256) - 1

SWAP_TOPIC = topic("Swap(bytes32,address,address,uint256,uint256)")
BALANCE_CHANGED_TOPIC = topic("PoolBalanceChanged(bytes32,address,address[],int256[],uint256[])")
BALANCE_MANAGED_TOPIC = topic("PoolBalanceManaged(bytes32,address,address,int256,int256)")
FEE_TOPIC = topic("SwapFeePercentageChanged(uint256)")
PAUSE_TOPIC = topic("PausedStateChanged(bool)")
VAULT_TOPICS = (SWAP_TOPIC, BALANCE_CHANGED_TOPIC, BALANCE_MANAGED_TOPIC)


class BalanceDelta(msgspec.Struct, frozen=True):
    """Changes of cash and managed balances by position; the positions ``stamped`` carry ``block`` from now on."""

    cash: tuple[int, ...]
    managed: tuple[int, ...]
    stamped: tuple[int, ...]
    block: int


class FeeDelta(msgspec.Struct, frozen=True):
    """A new swap fee, 18 decimals."""

    swap_fee: int


class PauseDelta(msgspec.Struct, frozen=True):
    """Pause on or off."""

    paused: bool


VaultDelta: TypeAlias = BalanceDelta | FeeDelta | PauseDelta


def pool_of(log: Log) -> str:
    """The pool that a log of the Vault concerns: the head of the id."""
    return log.topics[1][:42] if len(log.topics) > 1 else ""


def specialization(pool_id: str) -> int:
    """How the Vault keeps the balances: bytes 20 and 21 of the id."""
    return int(pool_id[42:46], 16)


def decode(state: Any, log: Log) -> VaultDelta | None:
    """The delta of a log of the Vault or of the pool's contract; None where it changes nothing of these."""
    kind = log.topics[0] if log.topics else ""
    emitter = log.address.lower()
    if emitter == state.manager:
        if len(log.topics) < 2 or log.topics[1] != state.pool_id:
            return None
        if kind == SWAP_TOPIC:
            return _swap(state, log)
        if kind == BALANCE_CHANGED_TOPIC:
            return _balance_changed(state, log)
        return _balance_managed(state, log) if kind == BALANCE_MANAGED_TOPIC else None
    if emitter != state.address:
        raise DecodeError(f"log of {log.address} was given to the pool {state.address} of {state.manager}")
    if kind == FEE_TOPIC:
        (fee,) = data_words(log, 1, "SwapFeePercentageChanged")
        return FeeDelta(in_range(fee, 0, MAX_FEE, "swapFeePercentage"))
    if kind == PAUSE_TOPIC:
        (paused,) = data_words(log, 1, "PausedStateChanged")
        return PauseDelta(bool(in_range(paused, 0, 1, "paused")))
    return None


def _position(state: Any, word: int, event: str) -> int:
    token = f"0x{uint(word, 160, 'token'):040x}"
    if token not in state.tokens:
        raise DecodeError(f"{event} of {state.address}: {token} is none of its tokens")
    return state.tokens.index(token)


def _swap(state: Any, log: Log) -> BalanceDelta:
    _, word_in, word_out = topic_words(log, 3, "Swap")
    amount_in, amount_out = data_words(log, 2, "Swap")
    i, j = _position(state, word_in, "Swap"), _position(state, word_out, "Swap")
    cash = [0] * len(state.tokens)
    cash[i] += uint(amount_in, 112, "amountIn")
    cash[j] -= uint(amount_out, 112, "amountOut")
    return BalanceDelta(tuple(cash), (0,) * len(cash), _stamped(state, i, j), log.block_number)


def _balance_changed(state: Any, log: Log) -> BalanceDelta:
    """A join or exit: three arrays, one entry per token; protocol fees leave the pool besides."""
    n = len(state.tokens)
    words = data_words(log, 6 + 3 * n, "PoolBalanceChanged")
    lists = words[3:]
    if words[:3] != (96, 96 + 32 * (n + 1), 96 + 64 * (n + 1)) or any(lists[k * (n + 1)] != n for k in range(3)):
        raise DecodeError(f"PoolBalanceChanged of {state.address}: three lists of {n} entries are expected")
    if tuple(f"0x{word:040x}" for word in lists[1 : n + 1]) != state.tokens:
        raise DecodeError(f"PoolBalanceChanged of {state.address} names other tokens than the pool's")
    deltas, fees = lists[n + 2 : 2 * n + 2], lists[2 * n + 3 :]
    cash = tuple(
        sint(delta, 113, "delta") - uint(fee, 112, "protocolFeeAmount")
        for delta, fee in zip(deltas, fees, strict=True)
    )
    return BalanceDelta(cash, (0,) * n, tuple(range(n)), log.block_number)


def _balance_managed(state: Any, log: Log) -> BalanceDelta:
    _, _, word = topic_words(log, 3, "PoolBalanceManaged")
    cash_word, managed_word = data_words(log, 2, "PoolBalanceManaged")
    i = _position(state, word, "PoolBalanceManaged")
    cash, managed = [0] * len(state.tokens), [0] * len(state.tokens)
    cash[i] = sint(cash_word, 113, "cashDelta")
    managed[i] = sint(managed_word, 113, "managedDelta")
    # moving between cash and managed leaves the block alone, an update sets it
    stamped = () if cash[i] else _stamped(state, i)
    return BalanceDelta(tuple(cash), tuple(managed), stamped, log.block_number)


def _stamped(state: Any, *positions: int) -> tuple[int, ...]:
    """The balances whose block a change of ``positions`` sets: a pair shares one."""
    return (0, 1) if specialization(state.pool_id) == TWO_TOKEN else positions


def apply(state: Any, delta: VaultDelta) -> Any:
    """The state after ``delta``. Raises ``DecodeError`` where a balance would leave its range."""
    if isinstance(delta, FeeDelta):
        return msgspec.structs.replace(state, swap_fee=delta.swap_fee)
    if isinstance(delta, PauseDelta):
        return msgspec.structs.replace(state, paused=delta.paused)
    cash = tuple(held + change for held, change in zip(state.cash, delta.cash, strict=True))
    managed = tuple(away + change for away, change in zip(state.managed, delta.managed, strict=True))
    for token, held, away in zip(state.tokens, cash, managed, strict=True):
        if held < 0 or away < 0 or held + away > MAX_BALANCE:
            raise DecodeError(f"{state.address} would hold {held} and manage {away} of {token}")
    stamps = list(state.changed_at)
    for k in delta.stamped:
        stamps[k] = delta.block & _U32
    return msgspec.structs.replace(state, cash=cash, managed=managed, changed_at=tuple(stamps))


def swapped(state: Any, i: int, j: int, amount_in: int, amount_out: int, context: BlockContext) -> Any:
    """The state after a swap, as the Vault books it. Raises ``QuoteError`` where it can't."""
    if state.cash[j] < amount_out:
        raise QuoteError("the Vault's cash does not suffice: an asset manager has the rest")
    if state.cash[i] + state.managed[i] + amount_in > MAX_BALANCE:
        raise QuoteError("the Vault's balance would overflow")
    cash, stamps = list(state.cash), list(state.changed_at)
    cash[i] += amount_in
    cash[j] -= amount_out
    for k in _stamped(state, i, j):
        stamps[k] = context.number & _U32
    return msgspec.structs.replace(state, cash=tuple(cash), changed_at=tuple(stamps))


def stopped(state: Any, timestamp: int) -> bool:
    """Whether the pool is paused at that time; a pause ends by itself with the buffer period."""
    return state.paused and timestamp <= state.pause_ends


def check_swap(state: Any, i: int, j: int, amount: int, context: BlockContext) -> None:
    """Raise ``QuoteError`` for what no pool does."""
    check_direction(state, i, j)
    if amount <= 0:
        raise QuoteError(f"the amount must be positive, got {amount}")
    if stopped(state, context.timestamp):
        raise QuoteError("the pool is paused")


def check_direction(state: Any, i: int, j: int) -> None:
    """Raise ``QuoteError`` unless ``i`` and ``j`` are two tokens of the pool."""
    n = len(state.tokens)
    if not (0 <= i < n and 0 <= j < n and i != j):
        raise QuoteError(f"the pool has tokens 0 to {n - 1}, not {i} and {j}")


def net_of_fee(amount: int, fee: int) -> int:
    """What a fee (18 decimals, rounded up) leaves."""
    return amount - -(-amount * fee // ONE)


def with_fee(net: int, fee: int) -> int:
    """``_addSwapFeeAmount``."""
    return -(-net * ONE // (ONE - fee))


def most_with_net(net: int, fee: int) -> int:
    """The largest amount of which at most ``net`` is left."""
    amount = net * ONE // (ONE - fee)
    while net_of_fee(amount, fee) > net:
        amount -= 1
    while net_of_fee(amount + 1, fee) <= net:
        amount += 1
    return amount


def limits_below(family: Any, state: Any, i: int, j: int, most_in: int, context: BlockContext) -> Limits:
    """The largest input up to ``most_in`` that the pool takes: all of it, or what the Vault's cash can pay for."""

    def tried(amount: int) -> int | None:
        try:
            return family.quote_in(state, i, j, amount, context).amount_out_wei
        except QuoteError:
            return None

    if (out := tried(most_in)) is not None:
        return Limits(most_in, out)
    low, high, best = 0, most_in, 0
    while high - low > 1:
        middle = (low + high) // 2
        if (out := tried(middle)) is None:
            high = middle
        else:
            low, best = middle, out
    return Limits(low, best)


# Storage: where the Vault keeps balances.

POOL_TOKENS_SLOTS = {GENERAL: 1, MINIMAL: 7, TWO_TOKEN: 9}


def _mapped(key: int, slot: int) -> int:
    return int.from_bytes(keccak(key.to_bytes(32) + slot.to_bytes(32)))


def balance_word(cash: int, managed: int, block: int) -> int:
    """A token's balance as the Vault packs it."""
    return cash | managed << 112 | block << 224


def _pair_word(amounts: tuple[int, ...], block: int) -> int:
    return balance_word(amounts[0], amounts[1], block)


def balance_words(state: Any) -> dict[int, int]:
    """The Vault's words of the pool's balances, by slot."""
    kind, pool_id = specialization(state.pool_id), int(state.pool_id, 16)
    base = _mapped(pool_id, POOL_TOKENS_SLOTS[kind])
    per_token: list[Any] = list(zip(state.tokens, state.cash, state.managed, state.changed_at, strict=True))
    if kind == MINIMAL:
        return {_mapped(int(token, 16), base): balance_word(a, b, c) for token, a, b, c in per_token}
    if kind == GENERAL:  # an enumerable map: length, entries (token, balance), indices
        return {_mapped(k, base + 1) + 1: balance_word(a, b, c) for k, (_, a, b, c) in enumerate(per_token)}
    pair = b"".join(int(token, 16).to_bytes(20) for token in state.tokens)
    here = _mapped(int.from_bytes(keccak(pair)), base + 2)
    block = max(state.changed_at)
    return {here: _pair_word(state.cash, block), here + 1: _pair_word(state.managed, 0)}


def balance_writes(state: Any, after: Any) -> tuple[StorageWrite, ...]:
    """The Vault's words that differ between two states."""
    old, new = balance_words(state), balance_words(after)
    return tuple(StorageWrite(state.manager, slot, word) for slot, word in new.items() if old[slot] != word)


# JSON


def numbers_to_json(values: tuple[int, ...]) -> list[str]:
    """Decimal strings."""
    return [str(value) for value in values]


def numbers(value: Any, field: str, n: int, low: int, high: int) -> tuple[int, ...]:
    """``n`` integers within ``[low, high]``. Raises ``ValueError``."""
    if not isinstance(value, list | tuple) or len(value) != n:
        raise ValueError(f"{field}: a list of {n} integers is expected, got {value!r:.80}")
    return tuple(jsonform.integer(entry, f"{field}[{k}]", low, high) for k, entry in enumerate(value))


def token_list(value: Any, low: int, high: int) -> tuple[Address, ...]:
    """``low`` to ``high`` token addresses in ascending order. Raises ``ValueError``."""
    if not isinstance(value, list | tuple) or not low <= len(value) <= high:
        raise ValueError(f"tokens: a list of {low} to {high} addresses is expected, got {value!r:.80}")
    tokens = tuple(jsonform.address(token, f"tokens[{k}]") for k, token in enumerate(value))
    if any(one >= other for one, other in pairwise(tokens)):
        raise ValueError("tokens: ascending order is expected")
    return tokens


SHARED_FIELDS = ("cash", "managed", "changed_at", "scaling")


def shared_to_json(state: Any) -> dict[str, Any]:
    """The fields that every pool of the Vault has."""
    return {
        "family": state.family,
        "address": state.address,
        "manager": state.manager,
        "pool_id": state.pool_id,
        "tokens": list(state.tokens),
        "swap_fee": str(state.swap_fee),
        "paused": state.paused,
        "pause_ends": state.pause_ends,
        **{name: numbers_to_json(getattr(state, name)) for name in SHARED_FIELDS},
    }


def shared_from_json(found: dict[str, Any], most_tokens: int, kinds: tuple[int, ...]) -> dict[str, Any]:
    """The inverse, as keyword arguments. Raises ``ValueError`` naming the field."""
    address = jsonform.address(found["address"], "address")
    pool_id = jsonform.word(found["pool_id"], "pool_id")
    if pool_id[:42] != address:
        raise ValueError(f"pool_id: {pool_id} does not start with the pool's address {address}")
    tokens = token_list(found["tokens"], 2, most_tokens)
    kind, n = specialization(pool_id), len(tokens)
    if kind not in kinds or (kind == TWO_TOKEN and n != 2):
        raise ValueError(f"pool_id: {pool_id} says specialization {kind} of {n} tokens")
    cash = numbers(found["cash"], "cash", n, 0, MAX_BALANCE)
    managed = numbers(found["managed"], "managed", n, 0, MAX_BALANCE)
    for k in range(n):
        if cash[k] + managed[k] > MAX_BALANCE:
            raise ValueError(f"managed[{k}]: {managed[k]} and the cash exceed 112 bits")
    scaling = numbers(found["scaling"], "scaling", n, 1, ONE)
    if any(10 ** (len(str(factor)) - 1) != factor for factor in scaling):
        raise ValueError("scaling: powers of ten are expected")
    return {
        "address": address,
        "manager": jsonform.address(found["manager"], "manager"),
        "pool_id": pool_id,
        "tokens": tokens,
        "scaling": scaling,
        "cash": cash,
        "managed": managed,
        "changed_at": numbers(found["changed_at"], "changed_at", n, 0, _U32),
        "swap_fee": jsonform.integer(found["swap_fee"], "swap_fee", 0, MAX_FEE),
        "paused": jsonform.boolean(found["paused"], "paused"),
        "pause_ends": jsonform.integer(found["pause_ends"], "pause_ends", 0, _U256),
    }
