"""Limits and nonce memory without a process."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ouro.config.model import OuroConfig, SignerConfig
from ouro.execution.program import Bribe, Kind, Op, Program, encode_program
from ouro.signer.caps import Caps
from ouro.signer.memory import NONCE_WINDOW, NonceMemory
from ouro.signer.messages import SignRequest
from ouro.signer.requestlog import LogEntry, LogError, RequestLog
from ouro.signer.spending import Spending
from ouro.types import AttemptKind

OPERATOR = "0x" + "01" * 20
OTHER = "0x" + "02" * 20
EXECUTOR = "0x" + "ee" * 20


def make_config(mode: str = "live", executor: str | None = EXECUTOR) -> OuroConfig:
    chain = {
        "chain_id": 77,
        "profile": "x",
        "endpoints": ["ws://127.0.0.1:1"],
        "block_time_ms": 1000,
        "wrapped_native": "0x" + "aa" * 20,
        "multicall": "0x" + "bb" * 20,
        "executor": executor,
        "owner": "0x" + "cc" * 20,
        "operators": [OPERATOR],
        "dexes": [{"name": "v3", "family": "uniswap_v3", "factory": "0x" + "dd" * 20}],
    }
    return OuroConfig.model_validate({"mode": mode, "chains": {"x": chain}})


def trade(**changes: Any) -> SignRequest:
    values: dict[str, Any] = {
        "chain": "x",
        "chain_id": 77,
        "operator": OPERATOR,
        "kind": AttemptKind.TRADE,
        "nonce": 5,
        "to": EXECUTOR,
        "gas_limit": 100_000,
        "max_fee_per_gas_wei": 100,
        "max_priority_fee_per_gas_wei": 1,
        "data": b"\x01",
    }
    return SignRequest(**(values | changes))


def cancel(**changes: Any) -> SignRequest:
    return trade(**({"kind": AttemptKind.CANCEL, "to": OPERATOR, "data": b""} | changes))


REFUSED: list[tuple[str, Callable[..., SignRequest], dict[str, Any]]] = [
    ("unknown_chain", trade, {"chain": "y"}),
    ("chain_id", trade, {"chain_id": 1}),
    ("unknown_operator", trade, {"operator": OTHER}),
    ("value", trade, {"value_wei": 1}),
    ("destination", trade, {"to": OTHER}),
    ("destination", trade, {"to": OPERATOR}),
    ("destination", cancel, {"to": EXECUTOR}),
    ("cancel_not_empty", cancel, {"data": b"\x00"}),
    ("cancel_not_empty", cancel, {"access_list": ((OPERATOR, ()),)}),
    ("value", cancel, {"value_wei": 1}),
    ("gas_limit", trade, {"gas_limit": 3_000_001}),
    ("fee_cap", trade, {"max_fee_per_gas_wei": 2_000_000_000_001}),
    ("fee_cap", trade, {"max_priority_fee_per_gas_wei": 101}),
]


@pytest.mark.parametrize(("reason", "make", "changes"), REFUSED)
def test_each_limit(reason: str, make: Callable[..., SignRequest], changes: dict[str, Any]) -> None:
    refusal = Caps(make_config()).check(make(**changes))
    assert refusal is not None
    assert refusal.reason == reason


def test_what_is_within_the_limits() -> None:
    caps = Caps(make_config())
    assert caps.check(trade(gas_limit=3_000_000, max_fee_per_gas_wei=2_000_000_000_000)) is None
    assert caps.check(cancel()) is None


@pytest.mark.parametrize("mode", ["observe", "paper"])
def test_only_live_signs(mode: str) -> None:
    refusal = Caps(make_config(mode)).check(trade())
    assert refusal is not None
    assert refusal.reason == "mode"


def test_rate_is_a_sliding_minute() -> None:
    second = 10**9
    spending = Spending(SignerConfig(max_transactions_per_minute=2))
    for now in (0, 30 * second):
        assert spending.check(trade(), now) is None
        spending.record("ethereum", now, 1)
    refusal = spending.check(trade(), 59 * second)
    assert refusal is not None
    assert refusal.reason == "rate"
    assert spending.check(trade(), 60 * second) is None
    spending.record("ethereum", 60 * second, 1)
    assert spending.check(trade(), 61 * second) is not None


def reason(memory: NonceMemory, request: SignRequest) -> str | None:
    refusal = memory.check(request)
    return refusal and refusal.reason


def test_one_payload_per_nonce_then_only_dearer_cancels() -> None:
    memory = NonceMemory()
    account = (77, OPERATOR)
    assert reason(memory, trade()) is None
    memory.record(account, 5, "first", 100)
    assert memory.is_repeat(trade(), "first")
    assert not memory.is_repeat(trade(nonce=6), "first")
    assert not memory.is_repeat(trade(chain_id=78), "first")
    assert reason(memory, trade(max_fee_per_gas_wei=1_000)) == "nonce_used"
    assert reason(memory, cancel(max_fee_per_gas_wei=100)) == "cancel_fee_too_low"
    assert reason(memory, cancel(max_fee_per_gas_wei=101)) is None
    memory.record(account, 5, "cancel", 101)
    assert reason(memory, cancel(max_fee_per_gas_wei=101)) == "cancel_fee_too_low"
    assert reason(memory, trade(max_fee_per_gas_wei=1_000)) == "nonce_used"
    assert memory.is_repeat(trade(), "first")
    assert reason(memory, trade(nonce=6)) is None
    assert reason(memory, trade(chain_id=78)) is None


def test_memory_is_bounded_and_forgets_nothing_that_may_be_signed() -> None:
    memory = NonceMemory()
    for nonce in range(2 * NONCE_WINDOW + 50):
        memory.record((77, OPERATOR), nonce, f"{nonce}", 100)
    highest = 2 * NONCE_WINDOW + 49
    for nonce in (0, highest - NONCE_WINDOW - 1, highest - NONCE_WINDOW):
        assert reason(memory, trade(nonce=nonce)) == "nonce_too_old"
    for nonce in (highest - NONCE_WINDOW + 1, highest):
        assert reason(memory, trade(nonce=nonce)) == "nonce_used"
    assert sum(len(nonces) for nonces in memory._accounts.values()) <= 2 * NONCE_WINDOW


@pytest.mark.parametrize("tail", [b"{", b'{"at_ns":12', b"x" * 200_000])
def test_log_cuts_an_unfinished_line_only(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "log"
    log = RequestLog(path)
    log.append(LogEntry(1, "signed", nonce=4))
    log.close()
    with path.open("ab") as stream:
        stream.write(tail)
    log = RequestLog(path)
    assert [entry.nonce for entry in log.replay()] == [4]
    log.append(LogEntry(2, "signed", nonce=5))
    assert [entry.nonce for entry in log.replay()] == [4, 5]
    log.close()


def test_log_of_one_unfinished_line_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b'{"at_ns":1')
    assert list(RequestLog(path).replay()) == []
    assert path.read_bytes() == b""


def test_damaged_log_is_not_ignored(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b'{"at_ns":1,"decision":"signed"}\nrubbish\n{"at_ns":2,"decision":"signed"}\n')
    with pytest.raises(LogError, match="line 2 is damaged"):
        list(RequestLog(path).replay())


def test_log_has_one_owner(tmp_path: Path) -> None:
    log = RequestLog(tmp_path / "log")
    with pytest.raises(LogError, match="another signer"):
        RequestLog(tmp_path / "log")
    log.close()
    RequestLog(tmp_path / "log").close()


@pytest.mark.parametrize("share", [0, 1, 250_000, 250_001, 1_000_000])
def test_a_bribe_above_the_signers_own_cap_is_refused(share: int) -> None:
    """Whatever the engine asks for, and wherever the header's other guards put it."""
    config = make_config()
    limited = config.model_copy(update={"signer": config.signer.model_copy(update={"max_bribe_ppm": 250_000})})
    payment = Op(Kind.TRANSFER, amount_wei=1, to=OTHER)
    for deadline, parent in ((None, None), (1, None), (None, b"parents!"), (1, b"parents!")):
        program = Program(5, 1, OTHER, (payment,), deadline=deadline, parent_hash=parent, bribe=Bribe(share))
        request = trade(data=encode_program(program))
        refusal = Caps(limited).check(request)
        assert (refusal is None) == (share <= 250_000)
        assert refusal is None or refusal.reason == "bribe"
        unasked = Caps(config).check(request)  # by default nothing is given away
        assert (unasked is None) == (share == 0)


def test_a_configuration_that_the_signer_would_refuse_is_refused_first() -> None:
    values = make_config().model_dump()
    values["chains"]["x"]["bribe"] = {"share_ppm": 1}
    with pytest.raises(ValueError, match=r"signer\.max_bribe_ppm 0"):
        OuroConfig.model_validate(values)
