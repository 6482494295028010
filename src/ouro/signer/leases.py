"""Who may have a chain's transactions signed: one holder at a time, by an epoch that only grows. Pure."""

from dataclasses import dataclass

from ouro.signer.messages import Refusal

FENCED, HELD = "fenced", "lease_held"


@dataclass(slots=True)
class Lease:
    """The holder of one chain. ``connection`` is None while it is not known to be there (it may come back)."""

    epoch: int
    holder: str
    heard_ns: int
    connection: int | None
    hung_up: bool = False


class Leases:
    """Epochs by chain. A zombie (stopped, hung, cut off) that wakes with an old epoch gets nothing any more."""

    def __init__(self, lease_ms: int) -> None:
        self._lease_ns = lease_ms * 1_000_000
        self._leases: dict[str, Lease] = {}

    def restore(self, chain: str, epoch: int, holder: str, now_ns: int) -> None:
        """From the log; the holder has the usual time to be heard of again."""
        known = self._leases.get(chain)
        # Of two lines with one epoch the first was never answered (the disk failed), and may have stayed.
        if known is None or epoch >= known.epoch:
            self._leases[chain] = Lease(epoch, holder, now_ns, None)

    def current(self, chain: str) -> Lease | None:
        """The lease of ``chain``, if it ever had one."""
        return self._leases.get(chain)

    def all(self) -> dict[str, Lease]:
        """Every lease by chain."""
        return dict(self._leases)

    def acquire(self, chain: str, holder: str, connection: int, now_ns: int) -> Lease | Refusal:
        """The lease of ``holder`` (again the same if it has it), or who has it."""
        known = self._leases.get(chain)
        if known is not None and known.holder == holder:
            known.connection, known.heard_ns, known.hung_up = connection, now_ns, False
            return known
        if known is not None and not known.hung_up and now_ns - known.heard_ns < self._lease_ns:
            silent_ms = (now_ns - known.heard_ns) // 1_000_000
            return Refusal(
                HELD, f"{chain} is held by {known.holder} (epoch {known.epoch}), heard {silent_ms} ms ago"
            )
        lease = Lease(1 if known is None else known.epoch + 1, holder, now_ns, connection)
        self._leases[chain] = lease
        return lease

    def undo(self, chain: str, before: Lease | None) -> None:
        """A lease that could not be written down was never given."""
        if before is None:
            self._leases.pop(chain, None)
        else:
            self._leases[chain] = before

    def check(self, chain: str, epoch: int, connection: int, now_ns: int) -> Refusal | None:
        """None when ``epoch`` is that of the holder, which is noted as alive."""
        known = self._leases.get(chain)
        if known is None or epoch != known.epoch:
            has = "nobody has" if known is None else f"{known.holder} has with epoch {known.epoch}"
            return Refusal(FENCED, f"epoch {epoch} is not the lease of {chain}, which {has}: end this process")
        known.connection, known.heard_ns, known.hung_up = connection, now_ns, False
        return None

    def hung_up(self, connection: int) -> None:
        """A peer is gone: what it held can be taken at once."""
        for lease in self._leases.values():
            if lease.connection == connection:
                lease.connection, lease.hung_up = None, True
