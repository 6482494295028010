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
    A cancel goes from the operator to itself with nothing in it. ``strategy`` is what halts call the trade.
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


Request: TypeAlias = SignRequest | PingRequest | AddressesRequest
Answer: TypeAlias = SignedTransaction | Pong | Addresses | Refusal


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
