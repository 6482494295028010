"""Code of the hostile pool and token."""

from packages import own_code


def hostile_code() -> bytes:
    """Creation code of contracts/src/Hostile.sol; test contracts have no committed artifact."""
    return own_code("Hostile.sol", "Hostile")
