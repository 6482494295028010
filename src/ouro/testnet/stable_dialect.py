"""The Solidity port of StableSwap: pools that nobody lists, each a contract of its own; our purse uses them."""

from collections.abc import Sequence

from ouro.hashing import topic
from ouro.testnet.abi import call_bytes, call_data
from ouro.testnet.artifacts import Artifact
from ouro.testnet.client import Client
from ouro.testnet.deployment import Pool, Venue
from ouro.testnet.dialects import DEADLINE, Call, Dialect, Located, Seen, Tokens
from ouro.testnet.family_contracts import family_artifact
from ouro.testnet.profiles import RecordedPool
from ouro.testnet.sender import Sender
from ouro.types import Address

AMPLIFICATION = 200
_ADMIN_FEE = 5 * 10**9
_INITIALIZE = "initialize(address[],uint8[],string,string,uint256,uint256,uint256,address)"
_INITIALIZED = topic(
    "SwapInitialized((uint256,uint256,uint256,uint256,uint256,uint256,address,address[],uint256[],uint256[],uint256[]),address)"
)
_ADD = "addLiquidity(uint256[],uint256,uint256)"
_SWAP = "swap(uint8,uint8,uint256,uint256,uint256)"
_APPROVE = "approve(address,uint256)"


def linked(artifact: Artifact, library: Address) -> bytes:
    """Creation code with the address of the one library that it uses."""
    code = bytearray(artifact.bytecode)
    for places in artifact.link_references.values():
        for positions in places.values():
            for position in positions:
                code[position["start"] : position["start"] + 20] = bytes.fromhex(library[2:])
    return bytes(code)


class Saddle(Dialect):
    """Two tokens at par. The venue's ``pool_factory`` is the share token that every pool clones."""

    swap_gas = 400_000

    def create(self, sender: Sender, venue: Venue, recorded: RecordedPool, tokens: Tokens) -> None:
        assert venue.pool_factory is not None
        code = linked(family_artifact("StableSwap"), venue.factory)
        pool = sender.deploy("0x" + code.hex(), recorded.label, gas=12_000_000)
        fee = recorded.fee_ppm * 10**4
        arguments = (
            tokens, recorded.decimals, recorded.label, "LP", AMPLIFICATION, fee, _ADMIN_FEE, venue.pool_factory,
        )  # fmt: skip
        sender.send(pool, call_data(_INITIALIZE, *arguments), gas=2_000_000, what=f"initialize {recorded.label}")

    def locate(self, client: Client, venue: Venue, asked: Sequence[tuple[RecordedPool, Tokens]]) -> list[Located]:
        """Each says once that it is initialised."""
        request = {"topics": [_INITIALIZED], "fromBlock": hex(venue.start_block)}
        found = [Located(log["address"].lower()) for log in client.call("eth_getLogs", request)]
        assert len(found) == len(asked)
        return found

    def fill(self, sender: Sender, venue: Venue, pool: Pool, recorded: RecordedPool) -> None:
        for token in pool.tokens:
            data = call_data("run(address,bytes)", token, call_bytes(_APPROVE, pool.address, 2**256 - 1))
            sender.send(venue.router, data, gas=120_000, what=f"approval for {recorded.label}")
        add = call_bytes(_ADD, recorded.reserves, 0, DEADLINE)
        data = call_data("run(address,bytes)", pool.address, add)
        sender.send(venue.router, data, gas=2_000_000, what=f"liquidity of {recorded.label}")

    def reads(self, pool: Pool) -> tuple[Call, ...]:
        return tuple((pool.address, call_data("getTokenBalance(uint8)", k)) for k in (0, 1))

    def seen(self, answers: Sequence[str]) -> Seen:
        return Seen(reserves=(int(answers[0], 16), int(answers[1], 16)))

    def swap(self, venue: Venue, pool: Pool, zero_for_one: bool, amount_in: int, trader: Address) -> Call:
        i, j = (0, 1) if zero_for_one else (1, 0)
        call = call_bytes(_SWAP, i, j, amount_in, 0, DEADLINE)
        return venue.router, call_data("run(address,bytes)", pool.address, call)
