"""A chain's status on its way from its own process to the one that shows them all.

One datagram a status over a local socket pair, whole or not at all: a parent that does not read costs the child
nothing but the picture. Of the latencies only what is new is sent.
"""

import socket
from collections import Counter, deque
from dataclasses import fields
from typing import Any

import msgspec

from ouro.engine.status import RECENT_TRADES, ChainStatus, LatencyWindow, TradeLine
from ouro.types import OutcomeKind

_PLAIN = tuple(
    f.name for f in fields(ChainStatus) if f.name not in ("outcomes", "refused", "trades", "decided", "sent")
)
_SUMS = ("blocks", "blocks_decided", "superseded", "opportunities", "net_wei")
_MOST_BYTES = 1 << 20
_MOST_SAMPLES = 500


def status_pair() -> tuple[socket.socket, socket.socket]:
    """(parent's end, child's end); the child's is inherited by its number."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    theirs.setblocking(False)
    theirs.set_inheritable(True)
    return ours, theirs


class StatusSender:
    """The child's end: ``send`` never waits."""

    def __init__(self, descriptor: int) -> None:
        """Raises ``OSError`` when ``descriptor`` is no socket."""
        self._socket = socket.socket(fileno=descriptor)
        self._socket.setblocking(False)
        self._socket.set_inheritable(False)
        self._encoder = msgspec.msgpack.Encoder()
        self._told: dict[tuple[str, str], int] = {}

    def send(self, status: ChainStatus) -> bool:
        """Hand ``status`` over; False when the parent is behind or gone (the next one has it all)."""
        windows = {
            name: self._new_samples(status.chain, name, getattr(status, name)) for name in ("decided", "sent")
        }
        message = {name: getattr(status, name) for name in _PLAIN}
        message["net_wei"] = str(status.net_wei)
        message |= {"outcomes": dict(status.outcomes), "refused": dict(status.refused)}
        message["trades"] = [
            (line.block_number, line.kind.value, line.route, str(line.net_wei)) for line in status.trades
        ]
        message["windows"] = windows
        try:
            self._socket.send(self._encoder.encode(message))
        except OSError:
            return False
        for name in windows:
            self._told[status.chain, name] = getattr(status, name).total
        return True

    def _new_samples(self, chain: str, name: str, window: LatencyWindow) -> list[float]:
        fresh = min(window.total - self._told.get((chain, name), 0), len(window.samples_ms), _MOST_SAMPLES)
        return list(window.samples_ms)[-fresh:] if fresh else []


class StatusReceiver:
    """The parent's end: one chain's status over all lives of its process."""

    def __init__(self, chain: str) -> None:
        self.status = ChainStatus(chain)
        self._before = ChainStatus(chain)

    def receive(self, source: socket.socket) -> int:
        """Take what has come; how many datagrams. A closed or empty socket is 0."""
        count = 0
        while True:
            try:
                content = source.recv(_MOST_BYTES)
            except OSError:
                return count
            if not content:
                return count
            self._take(msgspec.msgpack.decode(content))
            count += 1

    def next_life(self) -> None:
        """The process is started again: its counters begin at zero, those of its chain do not."""
        before, now = self._before, self.status
        for name in _SUMS:
            setattr(before, name, getattr(now, name))
        before.outcomes, before.refused = Counter(now.outcomes), Counter(now.refused)
        before.trades = deque(now.trades, maxlen=RECENT_TRADES)

    def _take(self, message: dict[str, Any]) -> None:
        status, before = self.status, self._before
        message["net_wei"] = int(message["net_wei"])
        for name in _PLAIN:
            value = message[name]
            setattr(status, name, value + getattr(before, name) if name in _SUMS else value)
        status.outcomes = before.outcomes + Counter(message["outcomes"])
        status.refused = before.refused + Counter(message["refused"])
        lines = [
            TradeLine(number, OutcomeKind(kind), route, int(net)) for number, kind, route, net in message["trades"]
        ]
        status.trades = deque([*before.trades, *lines], maxlen=RECENT_TRADES)
        for name, samples in message["windows"].items():
            for value in samples:
                getattr(status, name).add(value)
