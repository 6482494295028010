"""What a token is put through, in an EVM that reads the chain lazily: fund, wait, buy, transfer, sell, wait.

Runs in a process of its own (``worker``): a token may loop, and pyrevm holds the interpreter while it waits for the
node. Nothing here trusts the token: balances are read before and after each step, and every step may revert.
"""

import json
import re
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import pyrevm

from ouro.hashing import keccak, selector, topic
from ouro.types import Address

GAS = 15_000_000
PPM = 1_000_000
FUND_SHARE = 500  # of the pool's balance: small enough for limits per trade, large enough to see a tax
WAIT_S = 36 * 60 * 60
_MAX_ANSWER = 512
_MIN_PRICE, _MAX_PRICE = 4295128740, 1461446703485210103287273052203988822378723970341
_REVERT = re.compile(r"output: 0x([0-9a-fA-F]*)")
_SYNC = topic("Sync(uint112,uint112)")
_PROXY_SLOTS = tuple(
    int.from_bytes(keccak(f"eip1967.proxy.{name}".encode()), "big") - 1 for name in ("implementation", "beacon")
)
_CLONE = bytes.fromhex("363d3d373d3d3d363d73")

SIGNS: dict[str, tuple[str, ...]] = {
    "pausable": ("pause()", "paused()"),
    "blacklist": (
        "isBlacklisted(address)",
        "isBlackListed(address)",
        "blacklist(address)",
        "addBlackList(address)",
        "blacklisted(address)",
        "freeze(address)",
        "setBlacklist(address,bool)",
    ),
    "rebasing": ("rebase(uint256,int256)", "rebase()", "sharesOf(address)", "scaledBalanceOf(address)"),
    "mintable": ("mint(address,uint256)",),
    "hooks": ("granularity()", "authorizeOperator(address)"),
}
"""Functions that show what a token could do; they are told, not judged."""


@dataclass(frozen=True, slots=True)
class Job:
    """One trial. ``kind``: ``pair`` (x·y=k), ``solidly``, ``ticks`` (callbacks) or ``holder`` (only transfers)."""

    token: Address
    base: Address
    pool: Address
    kind: str
    chain_id: int
    number: int
    timestamp: int
    base_fee_wei: int
    spec_id: str
    salt: str


@dataclass(slots=True)
class Seen:
    """What the trial found. ``refused`` ends it; ``unknown`` says why nothing could be found out."""

    refused: str = ""
    unknown: str = ""
    buy_tax_ppm: int | None = None
    transfer_tax_ppm: int | None = None
    sell_tax_ppm: int | None = None
    flags: set[str] = field(default_factory=set)


class RefusedError(Exception):
    """The token does something that quotes do not know."""


class UnknownError(Exception):
    """The trial can't be made; says nothing of the token."""


def prober_code() -> bytes:
    """Runtime code of ``Prober.sol`` as committed."""
    text = files("ouro.market.probe").joinpath("Prober.json").read_text()
    return bytes.fromhex(json.loads(text)["deployed_bytecode"].removeprefix("0x"))


class Trial:
    """A token, the pool it is tried in, and we."""

    def __init__(self, evm: pyrevm.EVM, job: Job) -> None:
        self._evm = evm
        self._job = job
        self.seen = Seen()
        self._us, self._sender, self._other = (
            "0x" + keccak(f"{job.salt}{job.token}{who}".encode())[12:].hex() for who in ("us", "sender", "other")
        )

    def run(self) -> Seen:
        """The whole trial; never raises for what a token does."""
        try:
            self._signs()
            self._fund()
            self._check_reading()
            self._wait()  # first of all: where balances grow, what a purchase brings depends on the token's age
            bought = self._buy()
            rest = self._transfer(bought)
            self._sell(rest)
            self._wait()  # and again: some grow only after their first trade
        except RefusedError as error:
            self.seen.refused = self._why_paused() or str(error)
        except UnknownError as error:
            self.seen.unknown = str(error)
        return self.seen

    # ------------------------------------------------------------------------------------------------------ steps

    def _signs(self) -> None:
        code = self._evm.get_code(self._job.token) or b""
        if not code:
            raise RefusedError("it has no code")
        targets = [self._address(self._evm.storage(self._job.token, slot)) for slot in _PROXY_SLOTS]
        if _CLONE in code[:32]:
            targets.append("0x" + code[code.index(_CLONE) + 10 :][:20].hex())
        behind = [self._evm.get_code(target) or b"" for target in targets if int(target, 16)]
        if behind:
            self.seen.flags.add("proxy")
        for flag, signatures in SIGNS.items():
            heads = [b"\x63" + selector(signature) for signature in signatures]
            if any(head in one for one in (code, *behind) for head in heads):
                self.seen.flags.add(flag)

    def _fund(self) -> None:
        """Base tokens for us, out of the pool: for one transaction it has no code, and so can send."""
        job, evm = self._job, self._evm
        evm.insert_account_info(self._us, _account(prober_code()))
        held = self._balance(job.base, job.pool) if job.kind != "holder" else 0
        if job.kind != "holder":
            if held < FUND_SHARE:
                raise UnknownError(f"pool {job.pool} has too little of {job.base} to try a trade")
            self._send_as_pool(job.base, held // FUND_SHARE)
            got = self._balance(job.base, self._us)
            if not got:
                raise UnknownError(f"base token {job.base} can't be moved out of {job.pool}")
        first, second = sorted((job.token, job.base))
        self._must("setup", self._us, _call("setup(address,address,address)", first, second, job.pool))
        if job.kind in ("pair", "solidly"):
            self._must("sync", job.pool, _call("sync()"))

    def _send_as_pool(self, token: Address, amount: int) -> bytes | None:
        """``transfer`` to us from the pool; None where it reverts."""
        evm, pool = self._evm, self._job.pool
        info = evm.basic(pool)
        code = evm.get_code(pool) or b""
        nonce, balance = info.nonce, info.balance
        evm.snapshot()
        evm.commit()  # nothing of the pool may stay in the journal, which would keep its code
        evm.insert_account_info(pool, _account(b"", nonce, balance))
        evm.snapshot()
        answer: bytes | None
        try:
            data = _call("transfer(address,uint256)", self._us, amount)
            answer = bytes(evm.message_call(pool, token, calldata=data, gas=GAS))
        except RuntimeError:
            answer = None
        evm.commit()
        evm.insert_account_info(pool, _account(code, nonce, balance))
        return answer

    def _check_reading(self) -> None:
        job = self._job
        if self._balance(job.token, self._us):
            raise RefusedError("it says that an account that never held it has a balance")
        if not self._balance(job.token, job.pool):
            raise UnknownError(f"pool {job.pool} has none of it")

    def _buy(self) -> int:
        job = self._job
        before = self._balance(job.token, job.pool)
        if job.kind == "holder":
            told = max(before // FUND_SHARE, 1)
            answer = self._send_as_pool(job.token, told)
            if answer is None:
                raise RefusedError(f"its holder {job.pool} can't transfer it")
            self._note_answer(answer)
            self.seen.flags.add("transfers_only")
        else:
            told = self._swap(job.base, job.token, self._balance(job.base, self._us), "buying it")
        got = self._balance(job.token, self._us)
        left = before - self._balance(job.token, job.pool)
        self.seen.buy_tax_ppm = self._tax("a purchase", told, got)
        if left != told:
            raise RefusedError(f"a purchase of {told} takes {left} from the pool")
        return got

    def _transfer(self, amount: int) -> int:
        """Half of it to another account and back, there by ``transferFrom``."""
        token, half = self._job.token, max(amount // 2, 1)
        done, answer = self._act(token, _call("transfer(address,uint256)", self._other, half))
        if not done:
            raise RefusedError(f"we can't transfer it: {_reason(answer)}")
        self._note_answer(answer)
        self._no_pool_logs("a transfer")
        got = self._balance(token, self._other)
        self.seen.transfer_tax_ppm = self._tax("a transfer", half, got)
        left = amount - self._balance(token, self._us)
        if left != half:
            raise RefusedError(f"a transfer of {half} takes {left} from its sender")
        done, answer = self._raw(self._other, token, _call("approve(address,uint256)", self._us, half))
        if done:
            back = _call("transferFrom(address,address,uint256)", self._other, self._us, half)
            done, answer = self._act(token, back)
        if not done:
            self.seen.flags.add("no_transfer_from")
            done, answer = self._raw(self._other, token, _call("transfer(address,uint256)", self._us, half))
            if not done:
                raise RefusedError(f"who got it can't transfer it: {_reason(answer)}")
        rest = self._balance(token, self._us)
        if rest != amount:
            raise RefusedError(f"{half} sent there and back became {half + rest - amount}")
        return rest

    def _sell(self, amount: int) -> None:
        job = self._job
        if job.kind == "holder":
            self._arrive(amount, "it can't be sent back")
        else:
            rest = amount // 2 if job.kind == "ticks" else 0
            amount -= rest
            before, paid = self._balance(job.token, job.pool), self._balance(job.base, self._us)
            self._swap(job.token, job.base, amount, "selling it")
            if self._balance(job.base, self._us) <= paid:
                raise RefusedError("a sale pays nothing")
            if job.kind == "pair":
                self.seen.sell_tax_ppm = self._tax("a sale", amount, self._balance(job.token, job.pool) - before)
            elif rest:  # such a pool may pass its fee on, so that a swap does not tell what arrived
                self._arrive(rest, "it can't be sent")
        count, intruder = _words(self._view(self._us, _call("seen()")), 2)
        if count:
            self.seen.flags.add("calls_back")
            if self._address(intruder) == job.token:
                raise RefusedError("it calls the accounts that it is moved between: they could be re-entered")

    def _arrive(self, amount: int, complaint: str) -> None:
        """Send ``amount`` to the pool and see that all of it is there."""
        job = self._job
        before = self._balance(job.token, job.pool)
        done, answer = self._act(job.token, _call("transfer(address,uint256)", job.pool, amount))
        if not done:
            raise RefusedError(f"{complaint} to {job.pool}: {_reason(answer)}")
        self.seen.sell_tax_ppm = self._tax("a sale", amount, self._balance(job.token, job.pool) - before)

    def _wait(self) -> None:
        """Balances must not change by themselves."""
        job = self._job
        before = self._balance(job.token, job.pool)
        self._evm.set_block_env(_block(job, job.number + 1000, job.timestamp + WAIT_S))
        later = self._balance(job.token, job.pool)
        self._evm.set_block_env(_block(job, job.number + 1, job.timestamp))
        if later != before:
            self.seen.flags.add("rebasing")
            raise RefusedError("balances change with time")

    # ------------------------------------------------------------------------------------------------------- swaps

    def _swap(self, give: Address, take: Address, amount: int, what: str) -> int:
        """Trade all of ``amount``; what the pool says it gave."""
        if self._job.kind == "ticks":
            return self._swap_ticks(give < take, amount, what)
        return self._swap_pair(give, take, amount, what)

    def _swap_ticks(self, zero_for_one: bool, amount: int, what: str) -> int:
        limit = _MIN_PRICE if zero_for_one else _MAX_PRICE
        data = _call("swap(address,bool,int256,uint160,bytes)", self._us, zero_for_one, amount, limit, b"")
        done, answer = self._act(self._job.pool, data)
        if not done:
            raise RefusedError(f"{what} through {self._job.pool} reverts: {_reason(answer)}")
        swaps = {log.topics[0] for log in self._pool_logs() if log.topics}
        if sum(log.topics[0] in swaps for log in self._pool_logs()) > len(swaps):
            raise RefusedError(f"{what} moves the pool twice")
        amounts = _words(answer, 2)
        out = amounts[1 if zero_for_one else 0]
        return (1 << 256) - out if out >> 255 else 0

    def _swap_pair(self, give: Address, take: Address, amount: int, what: str) -> int:
        pool = self._job.pool
        reserves = _words(self._view(pool, _call("getReserves()")), 2)
        reserve_in, reserve_out = reserves if give < take else reserves[::-1]
        before = self._balance(give, pool)
        done, answer = self._act(give, _call("transfer(address,uint256)", pool, amount))
        if not done:
            raise RefusedError(f"{what}: {give} can't be sent to {pool}: {_reason(answer)}")
        if give == self._job.token:
            self._note_answer(answer)
            self._no_pool_logs("a transfer to the pool")
        arrived = self._balance(give, pool) - before
        if arrived <= 0:
            raise RefusedError(f"{what}: nothing of {amount} arrives at {pool}")
        if give == self._job.token:
            self.seen.sell_tax_ppm = self._tax("a sale", amount, arrived)
        if self._job.kind == "solidly":
            out = _words(self._view(pool, _call("getAmountOut(uint256,address)", arrived, give)), 1)[0]
        else:  # room for any fee of a pair: nine tenths of the fair amount
            out = reserve_out * arrived * 9 // ((reserve_in + arrived) * 10)
        if not out:
            raise UnknownError(f"pool {pool} gives nothing for {arrived} of {give}")
        outs = (0, out) if give < take else (out, 0)
        done, answer = self._act(pool, _call("swap(uint256,uint256,address,bytes)", *outs, self._us, b""))
        if not done:
            raise RefusedError(f"{what} through {pool} reverts: {_reason(answer)}")
        syncs = sum(bool(log.topics) and log.topics[0] == _SYNC for log in self._pool_logs())
        if syncs > 1:
            raise RefusedError(f"{what} moves the pool more than once")
        return out

    # ----------------------------------------------------------------------------------------------------- helpers

    def _tax(self, what: str, told: int, got: int) -> int:
        """In ppm, rounded up; any is refused."""
        if got > told:
            raise RefusedError(f"{what} of {told} brings {got}: more than was sent")
        tax = -(-(told - got) * PPM // told) if told else 0
        if tax:
            name = {"a purchase": "buy", "a transfer": "transfer", "a sale": "sell"}[what]
            setattr(self.seen, f"{name}_tax_ppm", tax)
            self.seen.flags.add("fee_on_transfer")
            raise RefusedError(f"it takes {tax} ppm of {what}")
        return 0

    def _note_answer(self, answer: bytes) -> None:
        if not answer:
            self.seen.flags.add("no_return_value")
        elif int.from_bytes(answer[:32], "big") != 1 or len(answer) < 32:
            raise RefusedError(f"its transfer returns {answer[:32].hex() or 'nothing'} instead of true")

    def _no_pool_logs(self, what: str) -> None:
        if self._pool_logs():
            raise RefusedError(f"{what} moves the pool: it is re-entered from within the token")

    def _pool_logs(self) -> list[Any]:
        result = self._evm.result
        return [log for log in (result.logs if result else ()) if str(log.address).lower() == self._job.pool]

    def _why_paused(self) -> str:
        done, answer = self._raw(self._sender, self._job.token, _call("paused()"))
        paused = done and len(answer) >= 32 and int.from_bytes(answer[:32], "big") == 1
        return "it is paused" if paused else ""

    def _balance(self, token: Address, holder: Address) -> int:
        done, answer = self._raw(self._sender, token, _call("balanceOf(address)", holder))
        if not done or len(answer) < 32:
            kind = RefusedError if token == self._job.token else UnknownError
            raise kind(f"balanceOf of {token} fails: {_reason(answer)}")
        return int.from_bytes(answer[:32], "big")

    def _view(self, to: Address, data: bytes) -> bytes:
        done, answer = self._raw(self._sender, to, data)
        if not done:
            raise UnknownError(f"{to} does not answer {data[:4].hex()}: {_reason(answer)}")
        return answer

    def _must(self, what: str, to: Address, data: bytes) -> None:
        done, answer = self._raw(self._sender, to, data)
        if not done:
            raise UnknownError(f"{what} of {to} reverts: {_reason(answer)}")

    def _act(self, target: Address, data: bytes) -> tuple[bool, bytes]:
        """We call ``target``."""
        done, answer = self._raw(self._sender, self._us, _call("run(address,bytes)", target, data))
        if not done:
            return False, answer
        inner, _, size = _words(answer, 3)
        return bool(inner), answer[96 : 96 + size]

    def _raw(self, caller: Address, to: Address, data: bytes) -> tuple[bool, bytes]:
        try:
            return True, bytes(self._evm.message_call(caller, to, calldata=data, gas=GAS))
        except RuntimeError as error:
            found = _REVERT.search(str(error))
            return False, bytes.fromhex(found.group(1)) if found else str(error)[:80].encode()

    @staticmethod
    def _address(word: int) -> Address:
        return "0x" + (word & (1 << 160) - 1).to_bytes(20).hex()


def open_evm(job: Job, url: str) -> pyrevm.EVM:
    """An EVM that reads what it lacks from ``url``."""
    env = pyrevm.Env(cfg=pyrevm.CfgEnv(chain_id=job.chain_id), block=_block(job, job.number + 1, job.timestamp))
    return pyrevm.EVM(env=env, fork_url=url, fork_block=str(job.number), spec_id=job.spec_id)


def _block(job: Job, number: int, timestamp: int) -> pyrevm.BlockEnv:
    return pyrevm.BlockEnv(number=number, timestamp=timestamp, basefee=0, gas_limit=4 * GAS)


def _account(code: bytes, nonce: int = 1, balance: int = 0) -> pyrevm.AccountInfo:
    return pyrevm.AccountInfo(nonce=nonce, code=code or None, balance=balance)  # pyright: ignore[reportCallIssue]


def _call(signature: str, *arguments: Address | int | bytes) -> bytes:
    """Calldata. The only dynamic argument is ``bytes``, and it is the last (an ABI library loads for long)."""
    words, tail = [], b""
    for argument in arguments:
        if isinstance(argument, bytes):
            words.append(32 * len(arguments))
            tail = len(argument).to_bytes(32) + argument + bytes(-len(argument) % 32)
        else:
            words.append(int(argument, 16) if isinstance(argument, str) else int(argument))
    return selector(signature) + b"".join(word.to_bytes(32) for word in words) + tail


def _words(answer: bytes, count: int) -> tuple[int, ...]:
    if len(answer) < 32 * count:
        raise UnknownError(f"{count} words are expected, got {len(answer)} bytes")
    return tuple(int.from_bytes(answer[32 * k : 32 * k + 32], "big") for k in range(count))


def _reason(answer: bytes) -> str:
    """A revert's text, made printable; a hostile token chooses it."""
    if answer[:4] == selector("Error(string)"):
        text = answer[68 : 68 + min(int.from_bytes(answer[36:68]), _MAX_ANSWER)].decode("utf-8", "ignore")
        return "".join(c for c in text if c.isprintable() and c.isascii())[:80] or "no reason"
    if answer[:1].isalpha() and answer.isascii():  # what the EVM says where it halts
        return answer.decode().split("{")[0].strip()[:80]
    return answer[:36].hex() or "no reason"
