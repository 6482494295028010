"""The one error of this room."""


class LedgerError(Exception):
    """The books can't be opened, written or trusted; the message names which ledger and what to do."""
