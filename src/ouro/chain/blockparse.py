"""A block's logs at once, for the answer that nodes give nearly always: whole, in order, nothing odd in it.

Anything else (and every mistake) is None here and looked at field by field by ``logs.check_logs``, which says what
is wrong. What is the same for all logs of a block is compared as text, what repeats is checked once, and the data
of all is checked as one string.
"""

from typing import Any

from ouro.chain.headers import Header
from ouro.chain.quantity import parse_address, parse_hash, parse_quantity
from ouro.types import Log

_MAX_TOPICS = 4


def parse_block_logs(answer: Any, header: Header, watched: frozenset[str]) -> tuple[Log, ...] | None:
    """The logs of ``header``'s block, or None where they have to be checked one by one."""
    if type(answer) is not list:
        return None
    try:
        return _parsed(answer, header, watched)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _parsed(answer: list[Any], header: Header, watched: frozenset[str]) -> tuple[Log, ...] | None:
    block_hash, number = header.hash, header.number
    number_text = hex(number)
    addresses: dict[str, str] = {}
    first_topics: dict[tuple[str, ...], tuple[str, ...]] = {}
    logs: list[Log] = []
    datas: list[str] = []
    last_index, last_tx = -1, -1
    tx_text = tx_hash = tx_index_text = ""
    tx_index = 0
    for value in answer:
        if value["blockHash"] != block_hash or value["blockNumber"] != number_text or value.get("removed"):
            return None
        text = value["address"]
        address = addresses.get(text)
        if address is None:
            address = addresses[text] = parse_address(text)
        raw_topics = tuple(value["topics"])
        topics = first_topics.get(raw_topics)
        if topics is None:
            if not raw_topics or len(raw_topics) > _MAX_TOPICS:
                return None
            topics = first_topics[raw_topics] = tuple([parse_hash(each) for each in raw_topics])
            if watched and topics[0] not in watched:
                return None
        if value["transactionHash"] != tx_text or value["transactionIndex"] != tx_index_text:
            tx_text, tx_index_text = value["transactionHash"], value["transactionIndex"]
            tx_hash, tx_index = parse_hash(tx_text), parse_quantity(tx_index_text)
            if tx_index < last_tx:
                return None
            last_tx = tx_index
        index_text = value["logIndex"]
        log_index = parse_quantity(index_text)
        if log_index <= last_index:
            return None
        last_index = log_index
        data = value["data"]
        if len(data) % 2 or not data.startswith("0x"):
            return None
        datas.append(data[2:])
        logs.append(Log(address, topics, data, number, block_hash, tx_hash, tx_index, log_index))
    # all bytes at once; capital letters, blanks and whatever is no hex are for the slow way
    joined = "".join(datas)
    if len(bytes.fromhex(joined)) * 2 != len(joined) or joined != joined.lower():
        return None
    return tuple(logs)
