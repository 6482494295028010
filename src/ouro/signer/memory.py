"""What was signed for which nonce; the log (``requestlog``) makes it survive a kill.

Two different transactions with one nonce mean that Ouro no longer knows what it sent: either may land. So a nonce
is signed for one payload, and afterwards only for cancels that pay more. Repeating a payload is harmless (the
signature is the same) and is how a lost answer is recovered.
"""

from dataclasses import dataclass, field
from typing import Any

from ouro.signer.messages import Refusal, SignRequest
from ouro.types import AttemptKind

NONCE_WINDOW = 10_000
CARRIED_NONCES = 256
"""So many of an account's newest nonces are known after the log began a new file."""


@dataclass(slots=True)
class _Signed:
    digests: set[str] = field(default_factory=set)
    highest_fee_wei: int = 0


class NonceMemory:
    """What has been signed for each (chain id, operator, nonce), within a window below the highest nonce.

    ``floor``: below it nothing is signed at all, because what was is not known any more.
    """

    def __init__(self) -> None:
        self._floor: dict[tuple[int, str], int] = {}
        self._accounts: dict[tuple[int, str], dict[int, _Signed]] = {}
        self._highest: dict[tuple[int, str], int] = {}

    def is_repeat(self, request: SignRequest, digest: str) -> bool:
        """This very payload has been signed before."""
        known = self._accounts.get((request.chain_id, request.operator), {}).get(request.nonce)
        return known is not None and digest in known.digests

    def check(self, request: SignRequest) -> Refusal | None:
        """None when a new payload may be signed for the nonce of ``request``."""
        account = (request.chain_id, request.operator)
        where = f"nonce {request.nonce} of {request.operator} on {request.chain}"
        lowest = max(self._highest.get(account, -1) - NONCE_WINDOW + 1, self._floor.get(account, 0))
        if request.nonce < lowest:
            return Refusal("nonce_too_old", f"{where} is below {lowest}, the lowest that is remembered")
        known = self._accounts.get(account, {}).get(request.nonce)
        if known is None:
            return None
        if request.kind is not AttemptKind.CANCEL:
            return Refusal(
                "nonce_used", f"{where} is signed for another transaction; rebroadcast or cancel that one"
            )
        if request.max_fee_per_gas_wei <= known.highest_fee_wei:
            needed = f"a cancel has to offer more than {known.highest_fee_wei} wei per gas"
            return Refusal("cancel_fee_too_low", f"{where}: {needed}, not {request.max_fee_per_gas_wei}")
        return None

    def record(self, account: tuple[int, str], nonce: int, digest: str, fee_wei: int) -> None:
        """Remember a signature."""
        nonces = self._accounts.setdefault(account, {})
        known = nonces.setdefault(nonce, _Signed())
        known.digests.add(digest)
        known.highest_fee_wei = max(known.highest_fee_wei, fee_wei)
        self._highest[account] = max(nonce, self._highest.get(account, -1))
        if len(nonces) > 2 * NONCE_WINDOW:
            lowest = self._highest[account] - NONCE_WINDOW
            self._accounts[account] = {n: signed for n, signed in nonces.items() if n > lowest}

    def dump(self) -> list[list[object]]:
        """The newest nonces of each account, as [chain id, operator, floor, [[nonce, fee, digests], …]]."""
        kept: list[list[object]] = []
        for account, nonces in self._accounts.items():
            floor = max(self._floor.get(account, 0), self._highest[account] - CARRIED_NONCES + 1)
            entries = [
                [nonce, signed.highest_fee_wei, sorted(signed.digests)]
                for nonce, signed in nonces.items()
                if nonce >= floor
            ]
            kept.append([*account, floor, entries])
        return kept

    def load(self, state: list[list[Any]]) -> None:
        """What ``dump`` gave."""
        for chain_id, operator, floor, entries in state:
            account = (chain_id, operator)
            self._floor[account] = floor
            self._highest.setdefault(account, floor - 1)
            for nonce, fee_wei, digests in entries:
                for digest in digests:
                    self.record(account, nonce, digest, fee_wei)
