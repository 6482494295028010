"""The model's world on the real bytecode, in pyrevm."""

from model import ACTS, START, Case, Outcome
from packages import own_code
from world import SPECS, TRANSIENT, EvmBackend, address_of, calldata, encode

from ouro.execution.builds import builds
from ouro.execution.contract import set_operator
from ouro.execution.program import NATIVE, Kind, Op, Program, encode_program
from ouro.testnet.artifacts import artifact
from ouro.types import Address


class Bytecode:
    """Executor, WETH9, a plain token and the actor."""

    def __init__(self, build_name: str = TRANSIENT) -> None:
        backend = EvmBackend(SPECS[build_name])
        self.evm = backend.evm
        self.owner, self.operator, self.treasury = (address_of(n) for n in ("owner", "operator", "treasury"))
        backend.fund(self.owner)
        self.p = backend.deploy(artifact("@uniswap/v2-periphery", "build/WETH9.json").bytecode, self.owner)
        arguments = encode(["string", "string", "uint8", "uint256"], ["X", "X", 18, 100])
        self.x = backend.deploy(own_code("TestToken.sol", "TestToken") + arguments, self.owner)
        build = next(each for each in builds() if each.name == build_name)
        code = build.deployment(self.owner, [self.operator], self.treasury)
        self.executor = backend.deploy(code, self.owner)
        actor = own_code("Actor.sol", "Actor")
        arguments = encode(["address"] * 3, [self.executor, self.p, self.x])
        self.actor = backend.deploy(actor + arguments, self.owner)
        backend.send(self.p, calldata("deposit()"), self.owner, 100)
        holders = {"E": self.executor, "K": self.actor, "T": self.treasury}
        for (token, who), amount in START.items():
            if token == "N":
                self.evm.set_balance(holders[who], amount)
            else:
                data = calldata("transfer(address,uint256)", holders[who], amount)
                backend.send(self.p if token == "P" else self.x, data, self.owner)
        self.holders = {**holders, "0": NATIVE}
        self.backend = backend

    def outcome(self, case: Case) -> Outcome:
        """What the model's ``outcome`` says, from the chain."""
        checkpoint = self.evm.snapshot()
        try:
            return self._outcome(case)
        finally:
            self.evm.revert(checkpoint)
            self.evm.reset_transient_storage()

    def _outcome(self, case: Case) -> Outcome:
        own = encode_program(Program(None, 0, self.p, (Op(Kind.TRANSFER, amount_wei=1, to=self.actor),)))
        acts = ACTS.index(case.first), ACTS.index(case.later)
        self._call(self.owner, self.actor, calldata("configure(uint8,uint8,bytes)", *acts, own))
        if case.actor_is_operator:
            self._call(self.owner, self.executor, set_operator(self.actor, True))
        try:
            data = self.program(case)
            self._call(self.operator, self.executor, data)
        except RuntimeError:
            return False, dict(START)
        return True, {place: amount for place, amount in self.balances().items() if amount}

    def _call(self, sender: Address, to: Address, data: bytes) -> bytes:
        return bytes(self.evm.message_call(sender, to, data, gas=5_000_000))

    def balances(self) -> dict[tuple[str, str], int]:
        found = {}
        for who, address in self.holders.items():
            for name, token in (("P", self.p), ("X", self.x)):
                data = calldata("balanceOf(address)", address)
                found[name, who] = int.from_bytes(self._call(self.owner, token, data), "big")
            found["N", who] = self.evm.get_balance(address)
        return found

    def program(self, case: Case) -> bytes:
        """The case's program as bytes; by hand where the encoder would refuse it."""
        tokens = tuple({"X": self.x, "N": NATIVE}[name] for name in case.listed)
        header = Program(None, 0, self.p, (Op(Kind.SETTLED),), tokens=tokens)
        out = bytearray(encode_program(header)[:-15])
        for name in case.ops:
            out += self._op(name)
        return bytes(out)

    def _op(self, name: str) -> bytes:
        def op(kind: Kind, amount: int, rest: bytes = b"", to: Address | None = None, way: int = 0) -> bytes:
            head = bytes([kind << 3 | (6 if to else 0) | way]) + amount.to_bytes(14, "big")
            return head + rest + (bytes.fromhex(to[2:]) if to else b"")

        actor = bytes.fromhex(self.actor[2:])
        x = b"\x01"
        return {
            "transfer": lambda: op(Kind.TRANSFER, 1, to=self.actor),
            "send": lambda: op(Kind.SEND, 1, x, self.actor),
            "send_register": lambda: op(Kind.SEND, 0, x, self.actor),
            "v2_swap": lambda: op(Kind.V2_SWAP, 1, actor),
            "v2_flash": lambda: op(Kind.V2_FLASH, 1, actor),
            "v3_swap": lambda: op(Kind.V3_SWAP, 1, actor),
            "aave": lambda: op(Kind.LOAN_AAVE, 1, actor + x + bytes(14)),
            "morpho": lambda: op(Kind.LOAN_MORPHO, 1, actor + x),
            "balancer": lambda: op(Kind.LOAN_BALANCER, 1, actor + x),
            "unlock": lambda: op(Kind.UNLOCK, 0, actor),
            "settle": lambda: op(Kind.SETTLE, 1, x),
            "settle_native": lambda: op(Kind.SETTLE, 1, b"\x02"),
            "take": lambda: op(Kind.TAKE, 1, bytes.fromhex(self.x[2:])),
            "wrap": lambda: op(Kind.WRAP, 1, b"\x00\x02"),
            "unwrap": lambda: op(Kind.UNWRAP, 1, b"\x00"),
            "loan_v3": lambda: op(Kind.LOAN_V3, 1, actor),
            "v4_swap": lambda: op(Kind.V4_SWAP, 1, bytes(20) + actor + bytes(2) + b"\x01" + bytes(2) + b"\x01"),
            "sync": lambda: op(Kind.SYNC, 0, bytes.fromhex(self.x[2:])),
            "settled": lambda: op(Kind.SETTLED, 0),
            "received": lambda: op(Kind.RECEIVED, 0, x),
            "exchange": lambda: op(Kind.EXCHANGE, 1, actor + x + b"\0\1"),
            "vault": lambda: op(Kind.VAULT, 1, actor + bytes(31) + b"\1" + x + actor),
            "deposit": lambda: op(Kind.ERC4626, 1, actor + x),
            "wrap_shares": lambda: op(Kind.SHARES, 1, actor + x),
            "bins": lambda: op(Kind.BINS, 0, actor),
            "unlock_vault": lambda: op(Kind.UNLOCK, 0, actor, way=1),
            "vault_swap": lambda: op(Kind.VAULT_SWAP, 1, actor * 3),
            "take_vault": lambda: op(Kind.TAKE, 1, bytes.fromhex(self.x[2:]), way=1),
            "settle_vault": lambda: op(Kind.SETTLE, 1, x, way=1),
        }[name]()
