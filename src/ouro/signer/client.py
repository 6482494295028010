"""The engine's side of the signer: one persistent connection, typed errors, safe repetition."""

import asyncio
import os
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from ouro.hashing import keccak
from ouro.signer.messages import (
    MAX_FRAME_BYTES,
    Addresses,
    AddressesRequest,
    Answer,
    BudgetLeft,
    FrameError,
    HeartbeatRequest,
    LeaseGranted,
    LeaseRequest,
    Outstanding,
    OutstandingRequest,
    PingRequest,
    Pong,
    Refusal,
    Request,
    SettledRequest,
    SignedTransaction,
    SignRequest,
    decode_answer,
    encode_frame,
    read_frame,
)
from ouro.signer.unixsocket import peer_uid, reachable
from ouro.types import Address

_A = TypeVar("_A", SignedTransaction, Pong, Addresses, LeaseGranted, BudgetLeft, Outstanding)


class SignerError(Exception):
    """Nothing was signed, as far as the caller may rely on it."""


class SignerRefused(SignerError):  # noqa: N818 - named for what happened, as the types of a plan are
    """The signer said no. ``reason`` is a stable code, ``detail`` is for people."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason, self.detail = reason, detail
        super().__init__(f"signer refused ({reason}): {detail}")


class SignerUnavailable(SignerError):  # noqa: N818
    """No answer: not running, hung up, too slow. Repeating the same request is safe."""


class SignerNotReached(SignerUnavailable):
    """The request was never handed over, so nothing can have been signed: the nonce is still free."""


@dataclass(slots=True)
class _Frame:
    """A request on its way; once any byte of it may have left, the signer may have obeyed it."""

    content: bytes
    handed_over: bool = False


class SignerClient:
    """Use from one event loop. Connects on the first request, again when the signer was restarted."""

    def __init__(self, socket: Path, *, timeout_ms: int = 2_000) -> None:
        self._socket = socket
        self._timeout_s = timeout_ms / 1000
        self._lock = asyncio.Lock()
        self.holder = f"{os.getpid()}-{secrets.token_hex(6)}"
        self._epochs: dict[str, int] = {}
        self._prices: dict[str, int] = {}
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def sign(self, request: SignRequest) -> SignedTransaction:
        """The signed transaction. Raises SignerRefused or SignerUnavailable.

        The first request of a chain acquires its lease. Once it is lost ("fenced") it stays lost: another process
        has the chain, and this one must end.
        """
        epoch = self._epochs.get(request.chain) or await self.acquire(request.chain)
        price = self._prices.get(request.chain, request.native_usd_micro)
        request = msgspec.structs.replace(request, epoch=epoch, native_usd_micro=price)
        signed = await self._ask(request, SignedTransaction)
        if "0x" + keccak(signed.raw).hex() != signed.tx_hash:
            raise SignerUnavailable(f"{self._socket}: answered with a hash that is not that of its transaction")
        return signed

    def set_price(self, chain: str, native_usd: float) -> None:
        """What a coin of ``chain`` is worth, for the limits in USD over all chains."""
        self._prices[chain] = round(native_usd * 1_000_000) if 0 < native_usd < 1e9 else 0

    async def acquire(self, chain: str, patience_ms: int = 0) -> int:
        """Become the holder of ``chain``; the epoch. Again the same if this client has it.

        A holder that is just going is waited for. Raises SignerRefused ("lease_held") or SignerUnavailable.
        """
        deadline = time.monotonic() + patience_ms / 1000
        while True:
            try:
                granted = await self._ask(LeaseRequest(chain, self.holder), LeaseGranted)
            except SignerRefused as refusal:
                if refusal.reason != "lease_held" or time.monotonic() >= deadline:
                    raise
                await asyncio.sleep(0.1)
                continue
            self._epochs[chain] = granted.epoch
            return granted.epoch

    def epoch(self, chain: str) -> int:
        """The epoch that was acquired, 0 without."""
        return self._epochs.get(chain, 0)

    async def heartbeat(self, chain: str) -> BudgetLeft:
        """Keep the lease; what is left of the limits over all chains. Raises SignerRefused ("fenced")."""
        return await self._ask(HeartbeatRequest(chain, self.epoch(chain)), BudgetLeft)

    async def settled(
        self, chain: str, settled: Sequence[tuple[str, int]], reopened: Sequence[str] = ()
    ) -> BudgetLeft:
        """Report outcomes (transaction hash, net gwei) and withdrawn ones: their share is free, or taken, again."""
        request = SettledRequest(chain, self.epoch(chain), tuple(settled), tuple(reopened))
        return await self._ask(request, BudgetLeft)

    async def outstanding(self, chain: str, min_age_ms: int = 0) -> tuple[str, ...]:
        """Trades of ``chain`` that were signed and have no outcome for the signer."""
        return (await self._ask(OutstandingRequest(chain, self.epoch(chain), min_age_ms), Outstanding)).tx_hashes

    async def addresses(self) -> tuple[Address, ...]:
        """Accounts whose keys the signer holds."""
        return (await self._ask(AddressesRequest(), Addresses)).addresses

    async def ping(self) -> Pong:
        """Proof of life, with the state of the halt file."""
        return await self._ask(PingRequest(), Pong)

    async def wait_ready(self, timeout_ms: int = 120_000) -> Pong:
        """Ping until the signer answers. Raises SignerUnavailable after ``timeout_ms``."""
        deadline = time.monotonic() + timeout_ms / 1000
        while True:
            try:
                return await self.ping()
            except SignerUnavailable:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.02)

    async def close(self) -> None:
        """Drop the connection."""
        async with self._lock:
            self._drop()

    async def _ask(self, request: Request, expected: type[_A]) -> _A:
        try:
            frame = encode_frame(request)
        except FrameError as error:
            raise SignerRefused("malformed", str(error)) from error
        answer = await self._exchange(_Frame(frame))
        if isinstance(answer, Refusal):
            raise SignerRefused(answer.reason, answer.detail)
        if not isinstance(answer, expected):
            raise SignerUnavailable(f"{self._socket}: answered with {type(answer).__name__}")
        return answer

    async def _exchange(self, frame: _Frame) -> Answer:
        try:
            # Waiting for one's turn counts: behind a signer that hangs, all give up after the same time.
            async with asyncio.timeout(self._timeout_s), self._lock:
                return await self._exchange_in_turn(frame)
        except TimeoutError as error:
            raise self._unanswered(frame, f"no answer within {self._timeout_s:g} s") from error

    def _unanswered(self, frame: _Frame, why: str) -> SignerUnavailable:
        kind = SignerUnavailable if frame.handed_over else SignerNotReached
        return kind(f"{self._socket}: {why}")

    async def _exchange_in_turn(self, frame: _Frame) -> Answer:
        try:
            if self._streams is not None:
                try:
                    return await self._exchange_once(*self._streams, frame)
                except (OSError, FrameError):
                    self._drop()  # a restarted signer leaves a dead connection; one payload has one signature
            return await self._exchange_once(*await self._connect(), frame)
        except (OSError, FrameError) as error:
            self._drop()
            raise self._unanswered(frame, f"{error}; is `ouro signer` running?") from error
        except asyncio.CancelledError:
            self._drop()  # a late answer must not be taken for that of the next request
            raise

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        with reachable(self._socket) as name:
            streams = await asyncio.open_unix_connection(name, limit=MAX_FRAME_BYTES)
        self._streams = streams
        if peer_uid(streams[1].get_extra_info("socket")) != os.geteuid():
            raise PermissionError("another user listens there")
        return streams

    @staticmethod
    async def _exchange_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, frame: _Frame) -> Answer:
        frame.handed_over = True
        writer.write(frame.content)
        await writer.drain()
        body = await read_frame(reader)
        if body is None:
            raise ConnectionResetError("hung up without an answer")
        return decode_answer(body)

    def _drop(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None
