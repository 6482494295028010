"""What a family raises."""


class QuoteError(Exception):
    """A quote that the pool can't give in full.

    ``partial_in`` and ``partial_out`` are what it could do before it ran out; zero when nothing.
    """

    def __init__(self, reason: str, partial_in: int = 0, partial_out: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.partial_in = partial_in
        self.partial_out = partial_out


class DecodeError(Exception):
    """A log that claims to be of this family but can't be read as one, or that contradicts the state."""


class Garbage(Exception):  # noqa: N818 - it is the contract's, and used as a value too
    """An answer that a contract of this kind does not give."""
