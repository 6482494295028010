"""Creation events of the factories: what a new pool is, read from one log by the factory's family."""

from ouro.config.model import DexConfig
from ouro.protocols.base import DecodeError
from ouro.protocols.creation import Announcement, NewPool
from ouro.protocols.registry import FAMILIES
from ouro.types import Log

__all__ = ["NewPool", "creation_topics", "decode_creation", "parse_creation"]


def creation_topics(family: str) -> tuple[str, ...]:
    """First topics of the events by which a factory of ``family`` announces pools."""
    return tuple(FAMILIES[family].creations)


def parse_creation(log: Log, dex: DexConfig) -> NewPool | None:
    """The pool that a factory's log announces, None where it does not name one.

    Raises ``DecodeError`` naming what is wrong.
    """
    try:
        pool = FAMILIES[dex.family].creations[log.topics[0]](Announcement(log, dex))
    except (LookupError, ValueError) as error:
        raise DecodeError(f"dex {dex.name!r}: malformed creation event in tx {log.tx_hash}: {error}") from error
    except DecodeError as error:
        raise DecodeError(f"dex {dex.name!r}: creation event in tx {log.tx_hash}: {error}") from error
    if pool is not None:
        others = pool.tokens if FAMILIES[dex.family].own_token else (pool.address, *pool.tokens)
        if len(set(others)) != len(others):
            raise DecodeError(f"dex {dex.name!r}: pool {pool.address} does not have distinct tokens")
    return pool


def decode_creation(log: Log, dex: DexConfig) -> NewPool | None:
    """As ``parse_creation``; None for another event of the factory or a malformed one as well."""
    if not log.topics or log.topics[0] not in FAMILIES[dex.family].creations:
        return None
    try:
        return parse_creation(log, dex)
    except DecodeError:
        return None
