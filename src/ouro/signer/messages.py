"""What goes over the signer's socket: length-prefixed MessagePack frames, one request and one answer each.

Frame: 4 bytes big-endian length, then the message. Integers are at most 64 bits (18 ETH per gas is enough).
"""

import asyncio
from typing import TypeAlias

import msgspec

from ouro.types import AttemptKind

MAX_FRAME_BYTES = 256 * 1024
_LENGTH_BYTES = 4

AccessList: TypeAlias = tuple[tuple[str, tuple[str, ...]], ...]


class SignRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="sign"):
    """One transaction to sign, in the clear, so that the signer can check every field of it.

    Addresses and storage slots are 0x-hex. On ``legacy`` transactions ``max_fee_per_gas_wei`` is the gas price.
    A cancel goes from the operator to itself with nothing in it. ``strategy`` is what halts call the trade,
    ``epoch`` the sender's lease of the chain; ``notional_gwei`` and ``native_usd_micro`` (price of a whole native
    coin in millionths of a USD) are for the limits over all chains.
    """

    chain: str
    chain_id: int
    operator: str
    kind: AttemptKind
    nonce: int
    to: str
    gas_limit: int
    max_fee_per_gas_wei: int
    max_priority_fee_per_gas_wei: int
    legacy: bool = False
    value_wei: int = 0
    data: bytes = b""
    access_list: AccessList = ()
    strategy: str = ""
    epoch: int = 0
    notional_gwei: int = 0
    native_usd_micro: int = 0

    def __repr__(self) -> str:
        return f"SignRequest({self.kind.value} {self.chain} {self.operator} nonce {self.nonce})"


class SignedTransaction(msgspec.Struct, frozen=True, tag="signed"):
    """The bytes to send and their hash (0x-hex)."""

    raw: bytes
    tx_hash: str

    def __repr__(self) -> str:
        return f"SignedTransaction({self.tx_hash})"


class PingRequest(msgspec.Struct, frozen=True, tag="ping"):
    """Is somebody there?"""


class AddressesRequest(msgspec.Struct, frozen=True, tag="addresses"):
    """Which accounts can sign?"""


class LeaseRequest(msgspec.Struct, frozen=True, tag="lease"):
    """``holder`` (a process's own random name) wants to be the one that trades on ``chain``."""

    chain: str
    holder: str


class HeartbeatRequest(msgspec.Struct, frozen=True, tag="heartbeat"):
    """The holder is alive, and asks what is left of the limits over all chains."""

    chain: str
    epoch: int


class SettledRequest(msgspec.Struct, frozen=True, tag="settled"):
    """Outcomes of trades that were signed: (transaction hash, net result in gwei), and withdrawn ones (reorgs)."""

    chain: str
    epoch: int
    settled: tuple[tuple[str, int], ...] = ()
    reopened: tuple[str, ...] = ()


class OutstandingRequest(msgspec.Struct, frozen=True, tag="outstanding"):
    """Which signed trades of ``chain`` have no outcome yet, and are at least so old?"""

    chain: str
    epoch: int
    min_age_ms: int = 0


class LeaseGranted(msgspec.Struct, frozen=True, tag="lease"):
    """From now on only requests with this epoch are signed for the chain."""

    chain: str
    epoch: int


class BudgetLeft(msgspec.Struct, frozen=True, tag="budget"):
    """What all chains together may still use; USD in millionths, None without a limit."""

    open_attempts: int
    notional_usd_micro: int | None = None
    gas_usd_micro: int | None = None
    loss_usd_micro: int | None = None


class Outstanding(msgspec.Struct, frozen=True, tag="outstanding"):
    """Transaction hashes of trades in flight."""

    tx_hashes: tuple[str, ...]


class Pong(msgspec.Struct, frozen=True, tag="pong"):
    """The signer answers; ``halted`` when its halt file makes it refuse everything."""

    pid: int
    halted: bool


class Addresses(msgspec.Struct, frozen=True, tag="addresses"):
    """Accounts whose keys the signer holds."""

    addresses: tuple[str, ...]


class Refusal(msgspec.Struct, frozen=True, tag="refused"):
    """Why nothing was signed: a stable code and a sentence for people."""

    reason: str
    detail: str


LeaseholderRequest: TypeAlias = HeartbeatRequest | SettledRequest | OutstandingRequest
Request: TypeAlias = SignRequest | PingRequest | AddressesRequest | LeaseRequest | LeaseholderRequest
Answer: TypeAlias = SignedTransaction | Pong | Addresses | Refusal | LeaseGranted | BudgetLeft | Outstanding


class FrameError(Exception):
    """The bytes on the socket are not a message."""


_encoder = msgspec.msgpack.Encoder()
_request_decoder: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_answer_decoder: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)


def encode_frame(message: Request | Answer) -> bytes:
    """``message`` as one frame. Raises FrameError when it is too large or a number has more than 64 bits."""
    try:
        body = _encoder.encode(message)
    except OverflowError as error:
        raise FrameError("a number has more than 64 bits") from error
    if len(body) > MAX_FRAME_BYTES:
        raise FrameError(f"{len(body)} bytes are more than the {MAX_FRAME_BYTES} of a frame")
    return len(body).to_bytes(_LENGTH_BYTES, "big") + body


async def read_frame(reader: asyncio.StreamReader) -> bytes | None:
    """Body of the next frame, None at a clean end. Raises FrameError on an oversize or cut-off one."""
    try:
        prefix = await reader.readexactly(_LENGTH_BYTES)
    except asyncio.IncompleteReadError as error:
        if not error.partial:
            return None
        raise FrameError("cut off within the length") from error
    length = int.from_bytes(prefix, "big")
    if length > MAX_FRAME_BYTES:
        raise FrameError(f"announces {length} bytes, {MAX_FRAME_BYTES} are allowed")
    try:
        return await reader.readexactly(length)
    except asyncio.IncompleteReadError as error:
        raise FrameError(f"cut off after {len(error.partial)} of {length} bytes") from error


def decode_request(body: bytes) -> Request:
    """The request in ``body``. Raises FrameError naming the field that is wrong."""
    try:
        return _request_decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise FrameError(str(error)) from error


def decode_answer(body: bytes) -> Answer:
    """The answer in ``body``. Raises FrameError."""
    try:
        return _answer_decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise FrameError(str(error)) from error
