"""Programs of the executor contract: operations, header, bytes and back. docs/executor.md has the encoding.

An operation with a callback hands the rest of the program to its pool, which hands it back inside the callback. So
the list reads linearly and runs nested.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

from ouro.types import Address

MAX_AMOUNT_WEI = (1 << 112) - 1
"""Amounts take 14 bytes: what a V2 reserve can hold, so nothing tradable is above it."""
MAX_BLOCK_NUMBER = (1 << 32) - 1
MAX_DEADLINE = (1 << 40) - 1
MAX_LISTED_TOKENS = 15
"""Besides the profit token."""
MAX_SHARE_PPM = 1_000_000
NATIVE: Address = "0x" + "00" * 20
"""The native coin, where a token is asked for."""
PARENT_BYTES = 8

_HEADER_BYTES = 39
_VERSION_BITS = 0xE0
_DEADLINE, _PARENT, _BRIBE, _TOKENS, _HELD = 1, 2, 4, 8, 16
_TO_EXECUTOR, _TO_NEXT_POOL, _TO_CALLER, _TO_EXPLICIT = range(4)


class EncodeError(ValueError):
    """A plan that the executor can't run; ``field`` names the offending part of it."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field


class Kind(IntEnum):
    """Operations of the executor; the numbers are its byte code. 27 to 31 are free."""

    TRANSFER = 0
    V2_SWAP = 1
    V2_FLASH = 2
    V3_SWAP = 3
    SEND = 4
    V2_IN = 5
    RECEIVED = 6
    GUARD_V2 = 7
    UNLOCK = 8
    V4_SWAP = 9
    TAKE = 10
    SETTLE = 11
    SYNC = 12
    SETTLED = 13
    LOAN_BALANCER = 14
    LOAN_V3 = 15
    LOAN_AAVE = 16
    LOAN_MORPHO = 17
    WRAP = 18
    UNWRAP = 19
    GUARD_V3 = 20
    EXCHANGE = 21
    VAULT = 22
    BINS = 23
    ERC4626 = 24
    SHARES = 25
    VAULT_SWAP = 26

    @property
    def calls_back(self) -> bool:
        """Whether the rest of the program runs inside this operation's callback."""
        return self in _CALLING_BACK


class Dialect(IntEnum):
    """What an exchange is called; the numbers are the executor's. ``i`` and ``j`` are the coins' places."""

    INT128 = 0
    """``exchange(int128 i, int128 j, dx, min_dy)``: Curve's stable pools"""
    UINT256 = 1
    """``exchange(uint256 i, uint256 j, dx, min_dy)``: Curve's crypto pools"""
    UNDERLYING = 2
    """``exchange_underlying(int128 i, int128 j, dx, min_dy)`` of meta-pools"""
    UINT8 = 3
    """``swap(uint8 i, uint8 j, dx, minDy, deadline)``: the Solidity port of StableSwap"""
    INT128_TO = 4
    """``exchange(int128 i, int128 j, dx, min_dy, receiver)``: pools of the newer factories"""
    UINT256_TO = 5
    INT128_RECEIVED = 6
    """``exchange_received(int128 i, int128 j, dx, min_dy, receiver)``: the pool already holds its input"""
    UINT256_RECEIVED = 7

    @property
    def names_receiver(self) -> bool:
        """Whether the pool pays whom it is told to; the others pay whoever calls."""
        return self >= Dialect.INT128_TO

    @property
    def is_prepaid(self) -> bool:
        """Whether the pool holds its input before."""
        return self >= Dialect.INT128_RECEIVED


_CALLING_BACK = frozenset(
    (
        Kind.V2_FLASH,
        Kind.V3_SWAP,
        Kind.UNLOCK,
        Kind.LOAN_BALANCER,
        Kind.LOAN_V3,
        Kind.LOAN_AAVE,
        Kind.LOAN_MORPHO,
    )
)
# What follows op and amount, in order. "index" is the token's place in the program's list, "token" its address.
_LAYOUT: dict[Kind, tuple[str, ...]] = {
    Kind.TRANSFER: (),
    Kind.V2_SWAP: ("pool",),
    Kind.V2_FLASH: ("pool",),
    Kind.V3_SWAP: ("pool",),
    Kind.SEND: ("index",),
    Kind.V2_IN: ("pool", "fee3"),
    Kind.RECEIVED: ("index",),
    Kind.GUARD_V2: ("pool",),
    Kind.UNLOCK: ("pool",),
    Kind.V4_SWAP: ("key",),
    Kind.TAKE: ("token",),
    Kind.SETTLE: ("index",),
    Kind.SYNC: ("token",),
    Kind.SETTLED: (),
    Kind.LOAN_BALANCER: ("pool", "index"),
    Kind.LOAN_V3: ("pool",),
    Kind.LOAN_AAVE: ("pool", "index", "fee14"),
    Kind.LOAN_MORPHO: ("pool", "index"),
    Kind.WRAP: ("index", "native"),
    Kind.UNWRAP: ("index",),
    Kind.GUARD_V3: ("pool",),
    Kind.EXCHANGE: ("pool", "index", "dialect", "coins"),
    Kind.VAULT: ("pool", "pool_id", "index", "token_out"),
    Kind.BINS: ("pool",),
    Kind.ERC4626: ("pool", "index"),
    Kind.SHARES: ("pool", "index"),
    Kind.VAULT_SWAP: ("pool", "token", "token_out"),
}
_SIZES = {"fee3": 3, "fee14": 14}
_WITH_RECIPIENT = frozenset(
    (
        Kind.TRANSFER,
        Kind.V2_SWAP,
        Kind.V3_SWAP,
        Kind.SEND,
        Kind.V2_IN,
        Kind.TAKE,
        Kind.EXCHANGE,
        Kind.VAULT,
        Kind.BINS,
        Kind.ERC4626,
    )
)
_WITH_DIRECTION = frozenset(
    (
        Kind.V2_SWAP,
        Kind.V2_FLASH,
        Kind.V3_SWAP,
        Kind.V2_IN,
        Kind.V4_SWAP,
        Kind.GUARD_V2,
        Kind.GUARD_V3,
        Kind.LOAN_V3,
        Kind.UNLOCK,
        Kind.TAKE,
        Kind.SETTLE,
        Kind.BINS,
        Kind.ERC4626,
        Kind.SHARES,
    )
)
_WITHOUT_AMOUNT = frozenset((Kind.UNLOCK, Kind.SYNC, Kind.SETTLED, Kind.BINS))
_ZERO_IS_ZERO = frozenset((Kind.RECEIVED, Kind.GUARD_V2, Kind.GUARD_V3))
_FILLS_REGISTER = frozenset((Kind.RECEIVED, Kind.V2_IN, Kind.V4_SWAP, Kind.VAULT_SWAP))
_BURNING = frozenset((Kind.ERC4626, Kind.SHARES))
_FIXED_AMOUNT = frozenset(
    (Kind.V2_SWAP, Kind.V2_FLASH, Kind.LOAN_BALANCER, Kind.LOAN_V3, Kind.LOAN_AAVE, Kind.LOAN_MORPHO)
)


@dataclass(frozen=True, slots=True)
class PoolKey:
    """What names a Uniswap V4 pool inside its manager."""

    currency0: Address
    currency1: Address
    fee_ppm: int
    tick_spacing: int
    hooks: Address = NATIVE


@dataclass(frozen=True, slots=True)
class Op:
    """One operation.

    ``amount_wei`` goes in for swaps by input, comes out for ``V2_SWAP`` and ``V2_FLASH``, moves for payments, is
    lent for loans, is left out of account for ``RECEIVED``, is compared for guards. 0 stands for the register where
    an operation before, in the same callback, filled it. ``to`` is None where the executor receives. ``token`` has
    to be the profit token or on the list, except for ``TAKE``, ``SYNC`` and ``VAULT_SWAP``; it is what goes
    in. ``fee`` is the pair's in ppm for ``V2_IN``, the lender's in wei for ``LOAN_AAVE``. ``zero_for_one`` selects
    reserve 1 for ``GUARD_V2``, token 1 for ``LOAN_V3``, Balancer V3 for ``UNLOCK``, ``TAKE`` and ``SETTLE``,
    redeeming for ``ERC4626`` and unwrapping for ``SHARES`` (their pool is then the token itself), and is
    ``swapForY`` for ``BINS``.

    ``dialect`` and ``coins`` (places in, out) belong to ``EXCHANGE``, ``pool_id`` (32 bytes of hex) to ``VAULT``
    (whose pool is the vault), ``token_out`` to both kinds of vault.
    """

    kind: Kind
    pool: Address | None = None
    zero_for_one: bool = False
    amount_wei: int = 0
    to: Address | None = None
    token: Address | None = None
    fee: int = 0
    key: PoolKey | None = None
    dialect: Dialect | None = None
    coins: tuple[int, int] | None = None
    pool_id: str | None = None
    token_out: Address | None = None

    @property
    def pays_here_only(self) -> bool:
        """An exchange that names no receiver pays whoever calls."""
        return self.kind is Kind.EXCHANGE and self.dialect is not None and not self.dialect.names_receiver

    @property
    def needs_token(self) -> bool:
        """Whether the operation names a token that goes in; a pool that has it already is not told."""
        if self.kind is Kind.EXCHANGE and self.dialect is not None and self.dialect.is_prepaid:
            return False
        return any(part in _LAYOUT[self.kind] for part in ("token", "index"))


@dataclass(frozen=True, slots=True)
class Bribe:
    """A share of the realised profit for whoever includes the transaction, at most the owner's cap.

    ``recipient`` None is the block's fee recipient; others must be on the owner's list. ``in_tokens`` pays the
    profit token itself instead of unwrapping it.
    """

    share_ppm: int
    recipient: Address | None = None
    in_tokens: bool = False


@dataclass(frozen=True, slots=True)
class Program:
    """What one execution does.

    None leaves a guard out. ``parent_hash`` are the first 8 bytes of the hash of the block before. ``tokens`` may
    be moved and are checked besides the profit token; ``held`` makes ``RECEIVED`` leave out what was there before.
    """

    max_block_number: int | None
    min_profit_wei: int
    profit_token: Address
    ops: tuple[Op, ...]
    deadline: int | None = None
    parent_hash: bytes | None = None
    bribe: Bribe | None = None
    tokens: tuple[Address, ...] = ()
    held: bool = False


def parent_guard_at(calldata: bytes) -> int | None:
    """Where a program names the block before its own; None where it doesn't, or is not a program."""
    if len(calldata) < _HEADER_BYTES or calldata[0] & _VERSION_BITS or not calldata[0] & _PARENT:
        return None
    return _HEADER_BYTES + 5 * bool(calldata[0] & _DEADLINE)


def bribe_share_ppm(calldata: bytes) -> int:
    """The share that a program pays away, read from its header alone; 0 where it is none or not a program."""
    if len(calldata) < _HEADER_BYTES or calldata[0] & _VERSION_BITS or not calldata[0] & _BRIBE:
        return 0
    at = _HEADER_BYTES + 5 * bool(calldata[0] & _DEADLINE) + PARENT_BYTES * bool(calldata[0] & _PARENT)
    return int.from_bytes(calldata[at : at + 3].ljust(3, b"\0"), "big")


# --------------------------------------------------------------------------------------------------------- encoding


def encode_program(program: Program) -> bytes:
    """Bytes of ``program``, each recipient in its shortest form. Raises EncodeError."""
    if not program.ops:
        raise EncodeError("ops", "a program needs at least one operation")
    out = bytearray(_encode_header(program))
    listed = _listed(program)
    caller: Address | None = None
    register = False
    for k, op in enumerate(program.ops):
        where = f"ops[{k}]"
        _check_op(where, op, register)
        out += _encode_op(where, op, _next_pool(program.ops, k), caller, listed)
        register = register or op.kind in _FILLS_REGISTER
        if op.kind.calls_back:
            caller, register = op.pool, False
    return bytes(out)


def _encode_header(program: Program) -> bytes:
    block, deadline, parent, bribe = (
        program.max_block_number,
        program.deadline,
        program.parent_hash,
        program.bribe,
    )
    _in_range("max_block_number", 1 if block is None else block, 1, MAX_BLOCK_NUMBER)
    _in_range("min_profit_wei", program.min_profit_wei, 0, MAX_AMOUNT_WEI)
    flags = (
        _DEADLINE * (deadline is not None)
        | _PARENT * (parent is not None)
        | _BRIBE * (bribe is not None)
        | _TOKENS * bool(program.tokens)
        | _HELD * program.held
    )
    out = bytearray([flags]) + (block or 0).to_bytes(4, "big") + program.min_profit_wei.to_bytes(14, "big")
    out += address_bytes("profit_token", program.profit_token)
    if deadline is not None:
        _in_range("deadline", deadline, 1, MAX_DEADLINE)
        out += deadline.to_bytes(5, "big")
    if parent is not None:
        if len(parent) != PARENT_BYTES:
            raise EncodeError(
                "parent_hash", f"{len(parent)} bytes; the first {PARENT_BYTES} of the hash are needed"
            )
        out += parent
    if bribe is not None:
        out += _encode_bribe(bribe)
    if program.tokens:
        out += _encode_tokens(program)
    return bytes(out)


def _encode_bribe(bribe: Bribe) -> bytes:
    _in_range("bribe.share_ppm", bribe.share_ppm, 0, MAX_SHARE_PPM)
    kind = (bribe.recipient is not None) | bribe.in_tokens << 1
    recipient = bytes(20) if bribe.recipient is None else address_bytes("bribe.recipient", bribe.recipient)
    return bribe.share_ppm.to_bytes(3, "big") + bytes([kind]) + recipient


def _encode_tokens(program: Program) -> bytes:
    if len(program.tokens) > MAX_LISTED_TOKENS:
        raise EncodeError("tokens", f"{len(program.tokens)} are more than {MAX_LISTED_TOKENS}")
    out = bytearray([len(program.tokens)])
    for k, token in enumerate(program.tokens):
        if token in (program.profit_token, *program.tokens[:k]):
            raise EncodeError(f"tokens[{k}]", f"{token} is there already")
        out += bytes(20) if token == NATIVE else address_bytes(f"tokens[{k}]", token)
    return bytes(out)


def _check_op(where: str, op: Op, register: bool) -> None:
    layout = _LAYOUT[op.kind]
    _in_range(f"{where}.amount_wei", op.amount_wei, 0, MAX_AMOUNT_WEI)
    if op.amount_wei and op.kind in _WITHOUT_AMOUNT:
        raise EncodeError(f"{where}.amount_wei", f"{op.kind.name} has no amount")
    if not op.amount_wei and op.kind not in _WITHOUT_AMOUNT | _ZERO_IS_ZERO:
        if op.kind in _FIXED_AMOUNT:
            raise EncodeError(f"{where}.amount_wei", f"0 is not in 1 … 2^112-1, and {op.kind.name} needs it fixed")
        if not register:
            raise EncodeError(f"{where}.amount_wei", "0 means the register, which nothing before has filled here")
    if (op.pool is not None) != ("pool" in layout):
        raise EncodeError(f"{where}.pool", f"{op.kind.name} {'needs a' if 'pool' in layout else 'names no'} pool")
    for part in ("dialect", "coins", "pool_id", "token_out"):
        if (getattr(op, part) is not None) != (part in layout):
            raise EncodeError(
                f"{where}.{part}", f"is {'needed' if part in layout else 'not taken'} by {op.kind.name}"
            )
    if (op.token is not None) != op.needs_token:
        raise EncodeError(f"{where}.token", f"{op.kind.name} {'needs a' if op.needs_token else 'names no'} token")
    if op.kind in _BURNING and op.zero_for_one and op.pool != op.token:
        raise EncodeError(f"{where}.pool", "shares are burnt by their own contract: pool and token are the same")
    if (op.key is not None) != ("key" in layout):
        raise EncodeError(f"{where}.key", f"{op.kind.name} {'needs a' if 'key' in layout else 'has no'} pool key")
    if op.to is not None and op.pays_here_only:
        raise EncodeError(f"{where}.to", "this exchange names no receiver: it pays the executor")
    if op.to is not None and op.kind not in _WITH_RECIPIENT:
        problem = (
            "a pair calls back whoever receives, so a flash swap pays the executor"
            if op.kind is Kind.V2_FLASH
            else f"{op.kind.name} has no recipient"
        )
        raise EncodeError(f"{where}.to", problem)
    if op.zero_for_one and op.kind not in _WITH_DIRECTION:
        raise EncodeError(f"{where}.zero_for_one", f"{op.kind.name} has no direction")
    if op.fee and not {"fee3", "fee14"} & set(layout):
        raise EncodeError(f"{where}.fee", f"{op.kind.name} has no fee")


def _encode_op(
    where: str, op: Op, following: Address | None, caller: Address | None, listed: Sequence[Address]
) -> bytes:
    mode, explicit = _TO_EXECUTOR, op.to
    if op.kind in _WITH_RECIPIENT:
        mode = _mode(op.to, following, caller)
    elif op.key is not None and op.key.hooks != NATIVE:
        mode, explicit = _TO_EXPLICIT, op.key.hooks
    out = bytearray([op.kind << 3 | mode << 1 | op.zero_for_one]) + op.amount_wei.to_bytes(14, "big")
    for part in _LAYOUT[op.kind]:
        out += _encode_part(where, op, part, listed)
    if mode == _TO_EXPLICIT:
        out += address_bytes(f"{where}.to", explicit or "")
    return bytes(out)


def _encode_part(where: str, op: Op, part: str, listed: Sequence[Address]) -> bytes:
    if part == "pool":
        return address_bytes(f"{where}.pool", op.pool or "")
    if part == "token":
        return bytes(20) if op.token == NATIVE else address_bytes(f"{where}.token", op.token or "")
    if part == "index" and not op.needs_token:
        return bytes(1)
    if part in ("index", "native"):
        return bytes([_index(where, NATIVE if part == "native" else op.token or "", listed)])
    if part == "token_out":
        return address_bytes(f"{where}.token_out", op.token_out or "")
    if part == "dialect":
        assert op.dialect is not None
        return bytes([op.dialect])
    if part == "coins":
        return bytes([_coins(where, op)])
    if part == "pool_id":
        return _pool_id(where, op.pool_id or "")
    if part == "fee3":
        _in_range(f"{where}.fee", op.fee, 0, 999_999)
        return op.fee.to_bytes(3, "big")
    if part == "fee14":
        _in_range(f"{where}.fee", op.fee, 0, MAX_AMOUNT_WEI)
        return op.fee.to_bytes(14, "big")
    assert op.key is not None
    return _encode_key(f"{where}.key", op.key)


def _encode_key(where: str, key: PoolKey) -> bytes:
    low = bytes(20) if key.currency0 == NATIVE else address_bytes(f"{where}.currency0", key.currency0)
    high = address_bytes(f"{where}.currency1", key.currency1)
    if low >= high:
        raise EncodeError(f"{where}.currency1", "has to be above currency0")
    _in_range(f"{where}.fee_ppm", key.fee_ppm, 0, (1 << 24) - 1)
    _in_range(f"{where}.tick_spacing", key.tick_spacing, 1, 32_767)
    return low + high + key.fee_ppm.to_bytes(3, "big") + key.tick_spacing.to_bytes(3, "big")


def _coins(where: str, op: Op) -> int:
    i, j = op.coins or (0, 0)
    _in_range(f"{where}.coins", i, 0, 15)
    _in_range(f"{where}.coins", j, 0, 15)
    if i == j:
        raise EncodeError(f"{where}.coins", f"{i} goes in and comes out")
    return i << 4 | j


def _pool_id(where: str, value: str) -> bytes:
    try:
        raw = bytes.fromhex(value.removeprefix("0x"))
    except ValueError:
        raw = b""
    if len(raw) != 32 or not any(raw):
        raise EncodeError(f"{where}.pool_id", f"{value!r} is not the id of a pool in its vault: 32 bytes")
    return raw


_NATIVE_ALLOWED = frozenset((Kind.SETTLE, Kind.RECEIVED, Kind.EXCHANGE))


def _index(where: str, token: Address, listed: Sequence[Address]) -> int:
    if token not in listed:
        raise EncodeError(f"{where}.token", f"{token} is not on the program's list of tokens")
    return listed.index(token)


def _listed(program: Program) -> tuple[Address, ...]:
    listed = (program.profit_token, *program.tokens)
    for k, op in enumerate(program.ops):
        to_vault = op.kind is Kind.SETTLE and op.zero_for_one
        allowed = op.kind in _NATIVE_ALLOWED and not to_vault
        if op.token == NATIVE and "index" in _LAYOUT[op.kind] and not allowed:
            raise EncodeError(f"ops[{k}].token", f"{op.kind.name} can't move the native coin")
    return listed


def _next_pool(ops: Sequence[Op], k: int) -> Address | None:
    return ops[k + 1].pool if k + 1 < len(ops) else None


def _mode(to: Address | None, following: Address | None, caller: Address | None) -> int:
    if to is None:
        return _TO_EXECUTOR
    if to == following:
        return _TO_NEXT_POOL
    return _TO_CALLER if to == caller else _TO_EXPLICIT


def address_bytes(where: str, value: Address) -> bytes:
    """The 20 bytes of a non-zero address. Raises EncodeError naming ``where``."""
    try:
        raw = bytes.fromhex(value.removeprefix("0x"))
    except ValueError:
        raw = b""
    if len(raw) != 20 or not any(raw):
        raise EncodeError(where, f"{value!r} is not an address")
    return raw


def _in_range(where: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        power = (high + 1).bit_length() - 1
        top = f"2^{power}-1" if high + 1 == 1 << power and power > 20 else str(high)
        raise EncodeError(where, f"{value} is not in {low} … {top}")


# --------------------------------------------------------------------------------------------------------- decoding


class _Reader:
    """Takes bytes from the front; what is missing is an EncodeError."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.pos = 0

    def take(self, size: int, where: str) -> bytes:
        if self.pos + size > len(self.data):
            raise EncodeError(where, f"needs {size} bytes, {len(self.data) - self.pos} are left")
        self.pos += size
        return self.data[self.pos - size : self.pos]

    def number(self, size: int, where: str) -> int:
        return int.from_bytes(self.take(size, where), "big")

    def address(self, where: str) -> Address:
        return "0x" + self.take(20, where).hex()


def decode_program(calldata: bytes) -> Program:
    """The inverse of ``encode_program``. Raises EncodeError where ``calldata`` is not a program."""
    if len(calldata) < _HEADER_BYTES:
        raise EncodeError("calldata", f"{len(calldata)} bytes are shorter than the header of {_HEADER_BYTES}")
    reader = _Reader(calldata)
    flags = reader.number(1, "flags")
    if flags & _VERSION_BITS:
        raise EncodeError("flags", f"0x{flags:02x} is another version of the encoding")
    block = reader.number(4, "max_block_number")
    min_profit = reader.number(14, "min_profit_wei")
    profit_token = reader.address("profit_token")
    deadline = reader.number(5, "deadline") if flags & _DEADLINE else None
    parent = reader.take(PARENT_BYTES, "parent_hash") if flags & _PARENT else None
    bribe = _decode_bribe(reader) if flags & _BRIBE else None
    tokens: tuple[Address, ...] = ()
    if flags & _TOKENS:
        count = reader.number(1, "tokens")
        if not 0 < count <= MAX_LISTED_TOKENS:
            raise EncodeError("tokens", f"a list of {count}")
        tokens = tuple(reader.address(f"tokens[{k}]") for k in range(count))
    ops = _decode_ops(reader, (profit_token, *tokens))
    return Program(
        block or None, min_profit, profit_token, ops, deadline, parent, bribe, tokens, bool(flags & _HELD)
    )


def _decode_bribe(reader: _Reader) -> Bribe:
    share, kind, recipient = reader.number(3, "bribe"), reader.number(1, "bribe"), reader.address("bribe")
    if kind > 3 or (recipient != NATIVE) != bool(kind & 1):
        raise EncodeError("bribe.recipient", f"kind {kind} with recipient {recipient}")
    return Bribe(share, recipient if kind & 1 else None, bool(kind & 2))


def _decode_ops(reader: _Reader, listed: Sequence[Address]) -> tuple[Op, ...]:
    parts: list[tuple[Kind, int, bool, int, dict[str, Any], Address | None]] = []
    while reader.pos < len(reader.data):
        parts.append(_decode_op(reader, f"ops[{len(parts)}]", listed))
    ops: list[Op] = []
    caller: Address | None = None
    for k, (kind, mode, zero_for_one, amount, fields, explicit) in enumerate(parts):
        pool = fields.get("pool")
        following = parts[k + 1][4].get("pool") if k + 1 < len(parts) else None
        to: Address | None = None
        if kind in _WITH_RECIPIENT:
            to = (None, following, caller, explicit)[mode]
            if mode != _TO_EXECUTOR and to is None:
                raise EncodeError(f"ops[{k}].to", "says the next operation's pool or the caller, but there is none")
        elif kind is Kind.V4_SWAP and mode in (_TO_EXECUTOR, _TO_EXPLICIT):
            low, high, fee_ppm, spacing = fields["key"]
            fields["key"] = PoolKey(low, high, fee_ppm, spacing, explicit or NATIVE)
        elif mode != _TO_EXECUTOR:
            raise EncodeError(f"ops[{k}].to", f"{kind.name} has no recipient")
        op = Op(kind=kind, zero_for_one=zero_for_one, amount_wei=amount, to=to, **fields)
        if op.kind is Kind.EXCHANGE and not op.needs_token:
            op = replace(op, token=None)
        _check_decoded(f"ops[{k}]", op)
        ops.append(op)
        caller = pool if kind.calls_back else caller
    return tuple(ops)


def _decode_op(
    reader: _Reader, where: str, listed: Sequence[Address]
) -> tuple[Kind, int, bool, int, dict[str, Any], Address | None]:
    op = reader.number(1, where)
    try:
        kind = Kind(op >> 3)
    except ValueError:
        raise EncodeError(f"{where}.kind", f"{op >> 3} is no operation") from None
    amount = reader.number(14, where)
    fields: dict[str, Any] = {}
    for part in _LAYOUT[kind]:
        if part in ("pool", "token", "token_out"):
            fields[part] = reader.address(where)
        elif part == "dialect":
            fields[part] = _dialect(where, reader.number(1, where))
        elif part == "coins":
            fields[part] = divmod(reader.number(1, where), 16)
        elif part == "pool_id":
            fields[part] = "0x" + reader.take(32, where).hex()
        elif part in ("fee3", "fee14"):
            fields["fee"] = reader.number(_SIZES[part], where)
        elif part == "key":
            low, high = reader.address(where), reader.address(where)
            fields["key"] = (low, high, reader.number(3, where), reader.number(3, where))
        else:
            token = _token_at(where, reader.number(1, where), listed)
            if part == "index":
                fields["token"] = token
            elif token != NATIVE:
                raise EncodeError(f"{where}.token", f"{token} is not the native coin")
    mode = op >> 1 & 3
    return kind, mode, bool(op & 1), amount, fields, reader.address(where) if mode == _TO_EXPLICIT else None


def _dialect(where: str, number: int) -> Dialect:
    try:
        return Dialect(number)
    except ValueError:
        raise EncodeError(f"{where}.dialect", f"{number} is the name of no exchange") from None


def _check_decoded(where: str, op: Op) -> None:
    """What only hand-made bytes have: the executor would run it in another way than it reads."""
    if op.pays_here_only and op.to is not None:
        raise EncodeError(f"{where}.to", "this exchange names no receiver: it pays the executor")
    if op.kind in _BURNING and op.zero_for_one and op.pool != op.token:
        raise EncodeError(f"{where}.pool", "shares are burnt by their own contract: pool and token are the same")


def _token_at(where: str, index: int, listed: Sequence[Address]) -> Address:
    if index >= len(listed):
        raise EncodeError(f"{where}.token", f"index {index} in a list of {len(listed)}")
    return listed[index]
