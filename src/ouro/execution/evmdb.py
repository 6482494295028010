"""pyrevm as a database with an exact gas meter, its sharp edges kept inside.

Two of them decide how this is written. ``insert_account_storage`` puts a word into the database *and*, once its
account is in the journal, marks it there as warm and already changed: gas and refunds are wrong. And what a call
touches stays warm until it is reverted. So every write and every call happens between a snapshot and its revert:
the database keeps the word, the journal forgets it, and gas is that of a cold transaction, as on receipts, to the
unit.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyrevm

from ouro.types import Address, BlockContext, Log

BLOCK_GAS_LIMIT = 30_000_000
_REVERT_OUTPUT = re.compile(r"output: 0x([0-9a-fA-F]*)")
_NOBODY = "0x" + "00" * 19 + "01"


@dataclass(frozen=True, slots=True)
class CallResult:
    """One call. ``gas_used`` is what a receipt would say, ``gas_peak`` the same before refunds.

    ``output`` is the revert payload when not ``ok``; ``halt`` then says why there is none.
    """

    ok: bool
    output: bytes
    gas_used: int
    gas_peak: int
    logs: tuple[Log, ...] = ()
    halt: str = ""


_MOST_CODE_BYTES = 24_576
_CODES_KEPT = 4_096
_DEPLOYER = "0x" + "00" * 18 + "de01"
_analysed: dict[bytes, Any] = {}


def _account(code: bytes, balance_wei: int) -> Any:
    """An account with this code, the code's jump targets found beforehand.

    Code that is put as bytes is analysed anew in every frame that runs it (20 µs for a large contract, and a plan
    has some twenty frames). Code that was created inside an EVM is kept analysed and is shared by all accounts that
    have it: so each code is created once, beside, and its account copied.
    """
    plain = pyrevm.AccountInfo(nonce=1, code=code or None, balance=balance_wei)  # pyright: ignore[reportCallIssue]
    if not code or len(code) > _MOST_CODE_BYTES or code[0] == 0xEF:
        return plain
    known = _analysed.get(code) if not balance_wei else None
    if known is not None:
        return known
    evm = pyrevm.EVM(spec_id="Cancun")
    rich = pyrevm.AccountInfo(balance=balance_wei)  # pyright: ignore[reportCallIssue]
    evm.insert_account_info(_DEPLOYER, rich)
    # PUSH2 length, DUP1, PUSH1 12, PUSH1 0, CODECOPY, PUSH1 0, RETURN
    creation = b"\x61" + len(code).to_bytes(2, "big") + bytes.fromhex("80600c6000396000f3") + code
    try:
        made = evm.basic(evm.deploy(_DEPLOYER, creation, value=balance_wei))
    except (RuntimeError, OverflowError):
        return plain
    if bytes(made.code or b"")[: len(code)] != code or made.nonce != 1 or made.balance != balance_wei:
        return plain
    if not balance_wei:
        if len(_analysed) >= _CODES_KEPT:
            _analysed.clear()
        _analysed[code] = made
    return made


class EvmDatabase:
    """Accounts and words in a pyrevm instance; the same words in ``words`` by (address, slot).

    ``codes`` and ``balances`` (native wei) are what the accounts were put with.
    """

    def __init__(self, spec_id: str = "Cancun", chain_id: int = 1) -> None:
        if spec_id not in ("Cancun", "Prague", "Osaka", "LATEST"):
            # Unknown names silently mean the latest rules, and the executor needs transient storage.
            raise ValueError(f"spec_id {spec_id!r} is not one the executor runs on: Cancun, Prague, Osaka, LATEST")
        self._evm = pyrevm.EVM(env=pyrevm.Env(cfg=pyrevm.CfgEnv(chain_id=chain_id)), spec_id=spec_id)
        self.words: dict[tuple[Address, int], int] = {}
        self.codes: dict[Address, bytes] = {}
        self.balances: dict[Address, int] = {}

    def set_account(self, address: Address, code: bytes = b"", balance_wei: int = 0) -> None:
        """Put an account; its words stay."""
        self._evm.insert_account_info(address, _account(code, balance_wei))
        self.codes[address], self.balances[address] = code, balance_wei

    def write(self, address: Address, slot: int, value: int) -> None:
        """Put a word."""
        checkpoint = self._evm.snapshot()
        self._evm.insert_account_storage(address, slot, value)
        self._evm.revert(checkpoint)
        self.words[address, slot] = value

    def write_all(self, changes: Mapping[tuple[Address, int], int]) -> None:
        """Put many words."""
        snapshot, insert, revert = self._evm.snapshot, self._evm.insert_account_storage, self._evm.revert
        for (address, slot), value in changes.items():
            # one snapshot each: of several words of an account between two, only the first would stay
            checkpoint = snapshot()
            insert(address, slot, value)
            revert(checkpoint)
        self.words.update(changes)

    def call(
        self, caller: Address, to: Address, calldata: bytes, context: BlockContext | None, gas: int
    ) -> CallResult:
        """Run a transaction's call and forget its effects."""
        with self.session(context) as session:
            return session.run(caller, to, calldata, gas)

    def session(self, context: BlockContext | None) -> "Session":
        """Several calls on each other's effects; all forgotten at the end."""
        if context is not None:
            block = pyrevm.BlockEnv(
                number=context.number,
                timestamp=context.timestamp,
                basefee=context.base_fee_wei,
                gas_limit=BLOCK_GAS_LIMIT,
            )
            self._evm.set_block_env(block)
        return Session(self._evm)


class Session:
    """A run of calls between one snapshot and its revert. Only the first has a cold transaction's gas."""

    def __init__(self, evm: pyrevm.EVM) -> None:
        self._evm = evm

    def __enter__(self) -> "Session":
        self._checkpoint = self._evm.snapshot()
        return self

    def __exit__(self, *_: object) -> None:
        self._evm.revert(self._checkpoint)
        self._evm.reset_transient_storage()

    def parent_hash(self, number: int) -> bytes:
        """What this EVM takes for the hash of the block before ``number``: it knows no real ones."""
        return bytes(self._evm.block_hash(number - 1)) if number > 0 else bytes(32)

    def run(self, caller: Address, to: Address, calldata: bytes, gas: int) -> CallResult:
        """One call, charged as a transaction."""
        try:
            output = bytes(self._evm.message_call(caller, to, calldata, gas=gas))
            result = self._evm.result
            assert result is not None
            logs = tuple(_log(raw, k) for k, raw in enumerate(result.logs))
            return CallResult(True, output, result.gas_used, result.gas_used + result.gas_refunded, logs)
        except RuntimeError as error:
            return _failed(str(error), gas)


def read_word_call(evm: EvmDatabase, to: Address, calldata: bytes) -> int | None:
    """A view that returns one word; None when it fails or returns something shorter."""
    result = evm.call(_NOBODY, to, calldata, None, 1_000_000)
    return int.from_bytes(result.output[:32], "big") if result.ok and len(result.output) >= 32 else None


def _failed(text: str, gas: int) -> CallResult:
    used = re.search(r"gas_used: (\d+)", text)
    spent = int(used.group(1)) if used else gas
    found = _REVERT_OUTPUT.search(text)
    if text.startswith("Revert") and found:
        return CallResult(False, bytes.fromhex(found.group(1)), spent, spent)
    return CallResult(False, b"", spent, spent, halt=text[:200])


def _log(raw: Any, index: int) -> Log:
    return Log(
        address=str(raw.address).lower(),
        topics=tuple(str(t).lower() for t in raw.topics),
        data="0x" + bytes(raw.data[1]).hex(),
        block_number=0,
        block_hash="",
        tx_hash="",
        tx_index=0,
        log_index=index,
    )
