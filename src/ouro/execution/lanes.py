"""How a chain takes a transaction. One interface; accepted, included, reverted and dropped are different facts."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Protocol

from ouro.chain.errors import ChainError


class Handover(StrEnum):
    """What the lane said when it was handed the bytes."""

    ACCEPTED = "accepted"
    KNOWN = "known"
    NONCE_USED = "nonce_used"
    UNDERPRICED = "underpriced"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    """No answer: the bytes may or may not have arrived. Only the chain can tell."""

    WITHHELD = "withheld"
    """Never handed over: by the time that the bytes were durable, their block had passed."""


@dataclass(frozen=True, slots=True)
class SendResult:
    """The lane's answer, with its own words in ``detail``."""

    handover: Handover
    detail: str = ""

    @property
    def may_be_pending(self) -> bool:
        """Whether the transaction can still be included."""
        return self.handover in (Handover.ACCEPTED, Handover.KNOWN, Handover.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a lane can do; the engine chooses lanes by this table, never by name."""

    private: bool
    bundles: bool
    target_block: bool
    revert_protection: bool
    cancel_by_replacement: bool


class Lane(Protocol):
    """A way into blocks."""

    name: ClassVar[str]
    capabilities: ClassVar[Capabilities]

    async def send(self, raw_tx: bytes) -> SendResult:
        """Hand over signed bytes. Never raises for what the other side says; see ``Handover``."""
        ...


class Caller(Protocol):
    """The part of a node connection that sending needs."""

    async def call(self, method: str, params: list[Any], timeout_ms: int | None = None) -> Any: ...


_ERROR_WORDS = (
    (("alreadyknown", "knowntransaction", "alreadyimported", "alreadyexists"), Handover.KNOWN),
    (("noncetoolow", "nonceistoolow", "oldnonce", "alreadybeenused"), Handover.NONCE_USED),
    (("underpriced", "feetoolow", "lessthanblockbasefee", "gaspricetoolow"), Handover.UNDERPRICED),
)


def classify_error(message: str) -> Handover:
    """Nodes agree on these facts only in prose; unknown prose is a rejection."""
    # Some nodes answer in sentences, some in CamelCase or with underscores.
    squeezed = message.lower().replace(" ", "").replace("_", "")
    for words, handover in _ERROR_WORDS:
        if any(word in squeezed for word in words):
            return handover
    return Handover.REJECTED


class PublicLane:
    """The node's own mempool, by ``eth_sendRawTransaction``."""

    name: ClassVar[str] = "public"
    capabilities: ClassVar[Capabilities] = Capabilities(
        private=False, bundles=False, target_block=False, revert_protection=False, cancel_by_replacement=True
    )

    def __init__(self, node: Caller, node_error: type[Exception], timeout_ms: int = 3_000) -> None:
        """``node_error`` is what ``node.call`` raises when the node itself refuses (its text is the reason)."""
        self._node = node
        self._node_error = node_error
        self._timeout_ms = timeout_ms

    async def send(self, raw_tx: bytes) -> SendResult:
        """See ``Lane.send``."""
        try:
            await self._node.call("eth_sendRawTransaction", ["0x" + raw_tx.hex()], self._timeout_ms)
        except self._node_error as error:
            return SendResult(classify_error(str(error)), str(error))
        except (ChainError, OSError, TimeoutError) as error:
            return SendResult(Handover.UNKNOWN, f"no answer from the node: {error}")
        return SendResult(Handover.ACCEPTED)
