"""Logs: one line each, one name from block to receipt, and nothing that must not be read."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from ouro.cli.logs import configure_logs, without_secrets
from ouro.execution.lanes import Handover
from ouro.execution.submit import Submitted
from ouro.monitoring.traces import begin_block, log_outcome, log_sent, trace_of
from ouro.types import OutcomeKind

from .conftest import attempt, outcome, plan

KEY = "ab" * 32
SECRET_URL = f"wss://user:pa55word@node.example:8546/v2/{KEY}?apikey=hush"


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = structlog.get_config()
    handlers = list(logging.getLogger().handlers)
    yield
    structlog.configure(**before)
    structlog.contextvars.clear_contextvars()
    logging.getLogger().handlers[:] = handlers


def lines(file: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.getvalue().splitlines()]


def test_no_secret_gets_through_by_any_way() -> None:
    file = io.StringIO()
    configure_logs(file=file)
    log = structlog.get_logger("test")
    log.warning(f"can't reach {SECRET_URL}", endpoint=SECRET_URL, raw_tx="0x" + "02f8" * 100)
    log.error(
        "nested", params=[{"url": SECRET_URL, "password": "pa55word"}, ("0x" + "ff" * 200,)], key=b"\x01" * 32
    )
    log.info("named", keystore_password="pa55word", API_KEY="hush", bot_token="pa55word")
    try:
        raise ConnectionError(f"refused by {SECRET_URL}")
    except ConnectionError:
        log.exception("failed")
    logging.getLogger("library").warning("retrying %s", SECRET_URL)
    text = file.getvalue()
    for secret in ("pa55word", KEY, "hush", "ff" * 200, "02f8" * 30):
        assert secret not in text
    found = lines(file)
    assert len(found) == 5
    assert found[0]["endpoint"] == "wss://node.example:8546/…"
    assert "node.example" in found[3]["exception"]
    assert found[4]["logger"] == "library"
    assert found[4]["level"] == "warning"


def test_what_people_need_is_left_as_it_is() -> None:
    file = io.StringIO()
    configure_logs(file=file)
    address, tx_hash = "0x" + "ab" * 20, "0x" + "cd" * 32
    structlog.get_logger("test").info("x", token=address, tx=tx_hash, nonce=7, ratio=0.5, none=None, on=True)
    [line] = lines(file)
    assert {key: line[key] for key in ("token", "tx", "nonce", "ratio", "none", "on")} == {
        "token": address,
        "tx": tx_hash,
        "nonce": 7,
        "ratio": 0.5,
        "none": None,
        "on": True,
    }


@given(st.recursive(st.none() | st.integers() | st.text() | st.binary(), lambda inner: st.lists(inner, max_size=3)))
def test_whatever_is_logged_has_a_json_form(value: Any) -> None:
    json.dumps(without_secrets(None, "info", {"event": "x", "value": value}))


def test_one_name_from_block_to_receipt_and_no_transaction_before_it_landed() -> None:
    file = io.StringIO()
    configure_logs(file=file)
    made = plan("base", "0123456789abcdef", block=77)
    tried = attempt(made, 1)
    begin_block("base", 77)
    structlog.get_logger("test").warning("withheld")
    log_sent(Submitted(tried, 5_000, 9_000, Handover.ACCEPTED), whole=False)
    structlog.contextvars.clear_contextvars()  # what follows is another task
    log_outcome(tried, outcome(tried, OutcomeKind.LANDED))
    log_outcome(tried, None)
    found = lines(file)
    assert {line["trace"] for line in found} == {"base-77"} == {trace_of(made.plan_id)}
    sent, landed = found[1], found[2]
    assert tried.tx_hash not in json.dumps(sent)
    assert landed["tx"] == tried.tx_hash
    assert landed["outcome"] == "landed"
    log_sent(Submitted(tried, 5_000, 9_000, Handover.ACCEPTED), whole=True)
    assert lines(file)[-1]["tx"] == tried.tx_hash


def test_lines_for_people() -> None:
    file = io.StringIO()
    configure_logs(file=file, form="console")
    structlog.get_logger("test").info("loading", chain="base", endpoint=SECRET_URL)
    text = file.getvalue()
    assert "loading" in text
    assert "chain=base" in text
    assert "\x1b" not in text
    assert KEY not in text
