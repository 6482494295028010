"""What the system asks of any family of pools in Balancer's second Vault: finding, storage, execution."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from eth_abi.abi import encode

from ouro.hashing import selector, topic
from ouro.protocols import balancer_v2_vault as vault
from ouro.protocols.base import Family
from ouro.protocols.creation import Announcement, CreationReader, NewPool, address_of
from ouro.protocols.steps import Shape, VaultSwap
from ouro.protocols.storage import Place, ViewCall
from ouro.protocols.swapevents import event_words, plausible
from ouro.types import Address, Hop, Log

POOL_CREATED_TOPIC = topic("PoolCreated(address)")
_QUERY = "queryBatchSwap(uint8,(bytes32,uint256,uint256,uint256,bytes)[],address[],(address,bool,address,bool))"
_QUERY_TYPES = (
    "uint8",
    "(bytes32,uint256,uint256,uint256,bytes)[]",
    "address[]",
    "(address,bool,address,bool)",
)
_QUERY_SELECTOR = selector(_QUERY)
_NOBODY = "0x" + "00" * 20
_TRIED_SHARE = 1000
VERSION = 2


def _announced(event: Announcement) -> NewPool:
    """The factory names the contract alone; the pool tells its tokens."""
    return event.pool(address_of(event.topics[1], "pool"), ())


class VaultFamily(Family):
    """Pools whose factory announces a contract, whose tokens and logs of trades are the Vault's."""

    shape: ClassVar[Shape] = Shape.VAULT
    creations: ClassVar[Mapping[str, CreationReader]] = {POOL_CREATED_TOPIC: _announced}
    managed: ClassVar[bool] = True
    own_token: ClassVar[bool] = True
    balances_told: ClassVar[bool] = False
    drifts: ClassVar[bool] = True
    views_move: ClassVar[bool] = True

    def home(self, pool: NewPool) -> Address:
        """The pool's own contract has the curve; the Vault is the same for all."""
        return pool.address

    def pool_named(self, log: Log) -> str | None:
        """The head of the id in the Vault's logs."""
        known = log.topics and log.topics[0] in vault.VAULT_TOPICS
        return vault.pool_of(log) or None if known else None

    def places(self, state: Any) -> Iterable[Place]:
        """The Vault's words of the pool's balances; what else a swap touches ``view_calls`` finds."""
        return [(state.manager, slot) for slot in vault.balance_words(state)]

    def places_from_logs(self, state: Any) -> Iterable[Place]:
        """The same: every change of a balance emits a log."""
        return self.places(state)

    def known_words(self, state: Any) -> Mapping[Place, int]:
        """The balances as the Vault packs them."""
        return {(state.manager, slot): word for slot, word in vault.balance_words(state).items()}

    def view_calls(self, state: Any, words: Mapping[Place, int]) -> Sequence[ViewCall]:
        """A query of a small swap from each token to the next: it runs the pool's code and asks its providers."""
        curve = [k for k in range(len(state.tokens)) if k != getattr(state, "own_token", -1)]
        pairs = zip(curve, curve[1:] + curve[:1], strict=True)
        return [ViewCall(state.manager, _query(state, i, j)) for i, j in pairs]

    def encode_swap(self, state: Any, i: int, j: int) -> VaultSwap:
        """By the pool's id, through its Vault."""
        vault.check_direction(state, i, j)
        return VaultSwap(state.manager, state.pool_id, VERSION, state.tokens[i], state.tokens[j])

    def swapped(self, hop: Hop, log: Log) -> tuple[int, int] | None:
        """From the Vault's Swap event of this pool and these tokens."""
        if len(log.topics) != 4 or log.topics[0] != vault.SWAP_TOPIC or vault.pool_of(log) != hop.pool:
            return None
        tokens = tuple("0x" + word[-40:].lower() for word in log.topics[2:])
        words = event_words(log)
        return plausible(*words) if tokens == (hop.token_in, hop.token_out) and len(words) == 2 else None


def _query(state: Any, i: int, j: int) -> bytes:
    amount = max(state.cash[i] // _TRIED_SHARE, 1)
    step = (bytes.fromhex(state.pool_id[2:]), 0, 1, amount, b"")
    funds = (_NOBODY, False, _NOBODY, False)
    return _QUERY_SELECTOR + encode(_QUERY_TYPES, (0, [step], [state.tokens[i], state.tokens[j]], funds))
