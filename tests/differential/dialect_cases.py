"""PancakeSwap V3 and Slipstream: the same random actions and swaps as for Uniswap V3, on their real contracts."""

import random

import msgspec
from eth_abi.abi import encode
from tests.differential import sources
from tests.differential.chain import OWNER, SUPPLY, Chain
from tests.differential.mirror import Mirror
from tests.differential.v3_cases import Play, Tally, V3World

from ouro.protocols.pancakeswap_v3 import PancakeV3, PancakeV3State
from ouro.protocols.slipstream import Slipstream, SlipstreamState
from ouro.testnet.abi import call_bytes

_PANCAKE_TIERS = {100: 1, 500: 10, 2500: 50, 10_000: 200}
_SLIPSTREAM_SPACINGS = {1: 100, 50: 500, 100: 500, 200: 3000, 2000: 10_000}


def family_driver(chain: Chain) -> None:
    """Give the chain the driver that answers every family's callbacks, with all tokens."""
    code = sources.own("FamilyDriver").bytecode + encode(["address", "address"], chain.tokens)
    old, chain.driver = chain.driver, chain.deploy(code)
    for token in chain.tokens:
        data = call_bytes("transfer(address,uint256)", chain.driver, SUPPLY)
        chain.call(old, call_bytes("run(address,bytes)", token, data))


class PancakePlay(Play):
    """The factory sets protocol fees, and in 1/10,000."""

    def _protocol(self) -> None:
        most = (1 << 128) - 1
        factory = "0x" + self.chain.call(self.pool, call_bytes("factory()"))[-20:].hex()
        if self.rng.random() < 0.3:
            signature = "collectProtocol(address,address,uint128,uint128)"
            data = call_bytes(signature, self.pool, OWNER, most, most)
        else:
            fees = self.rng.choices([0, 1000, 3300, 4000], k=2)
            data = call_bytes("setFeeProtocol(address,uint32,uint32)", self.pool, *fees)
        self._do(factory, data, owner=True)


class PancakeV3World(V3World):
    """The real factory and pool code, created through a deployer of ours that the package lacks."""

    def __init__(self) -> None:
        self.chain = chain = Chain()
        family_driver(chain)
        pool = sources.package_artifact(
            "@pancakeswap/v3-core", "artifacts/contracts/PancakeV3Pool.sol/PancakeV3Pool.json"
        )
        # its runtime is the pool's creation code: PUSH3 size, DUP1, PUSH1 11, PUSH0, CODECOPY, PUSH0, RETURN
        header = bytes.fromhex("62" + len(pool.bytecode).to_bytes(3).hex() + "80600b5f395ff3")
        data = chain.deploy(header + pool.bytecode)
        deployer = chain.deploy(sources.own("PancakeDeployer").bytecode + encode(["address"], [data]))
        factory = sources.package_artifact(
            "@pancakeswap/v3-core", "artifacts/contracts/PancakeV3Factory.sol/PancakeV3Factory.json"
        )
        self.factory = chain.deploy(factory.bytecode + encode(["address"], [deployer]))
        self.tally = Tally()

    def open_pool(self, rng: random.Random) -> Play:
        fee = rng.choice(list(_PANCAKE_TIERS))
        data = call_bytes("createPool(address,address,uint24)", *self.chain.tokens, fee)
        pool = "0x" + self.chain.call(self.factory, data)[-20:].hex()
        state = PancakeV3State(pool, self.chain.tokens, fee, _PANCAKE_TIERS[fee])
        play = PancakePlay(self.chain, Mirror(self.chain, PancakeV3(), state), rng, self.tally)
        play._do(pool, call_bytes("initialize(uint160)", play.first_price()), owner=True)
        if rng.random() < 0.5:  # pools are born with a protocol fee
            play._protocol()
        for _ in range(rng.randint(1, 5)):
            play._mint()
        return play


class SlipstreamPlay(Play):
    """No protocol fee of the pool; instead the factory's fee for the spacing changes."""

    factory: str

    def _protocol(self) -> None:
        """Slipstream has no such action; the fee is the factory's."""


class SlipstreamWorld(V3World):
    """Factory and pools compiled from their sources; voter, registries and gauges are a stub."""

    def __init__(self) -> None:
        self.chain = chain = Chain()
        family_driver(chain)
        code = sources.slipstream()
        stub = chain.deploy(sources.own("SlipstreamStub").bytecode)
        implementation = chain.deploy(code["CLPool"].bytecode)
        arguments = encode(["address"] * 3, [stub, stub, implementation])
        self.factory = chain.deploy(code["CLFactory"].bytecode + arguments)
        for spacing, fee in ((7, 45), (16_383, 90_000)):
            chain.call(self.factory, call_bytes("enableTickSpacing(int24,uint24)", spacing, fee))
        self.tally = Tally()

    def open_pool(self, rng: random.Random) -> Play:
        spacings = {**_SLIPSTREAM_SPACINGS, 7: 45, 16_383: 90_000}
        spacing = rng.choice(list(spacings))
        seed = Mirror(self.chain, Slipstream(), SlipstreamState("", self.chain.tokens, spacings[spacing], spacing))
        price = SlipstreamPlay(self.chain, seed, rng, self.tally).first_price()
        signature = "createPool(address,address,int24,uint160)"
        data = call_bytes(signature, *self.chain.tokens, spacing, price)
        pool = "0x" + self.chain.call(self.factory, data)[-20:].hex()
        mirror = Mirror(self.chain, Slipstream(), msgspec.structs.replace(seed.state, address=pool))
        play = SlipstreamPlay(self.chain, mirror, rng, self.tally)
        mirror.follow()
        for _ in range(rng.randint(1, 5)):
            play._mint()
        return play
