"""The signing process as the engine meets it: over its socket, with signals, kills and hostile bytes."""

import asyncio
import json
import signal
import socket
import stat
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from ouro.config.gate import GateConfig
from ouro.signer import messages
from ouro.signer.client import SignerClient, SignerNotReached, SignerRefused, SignerUnavailable
from ouro.signer.main import request_log_path
from ouro.signer.messages import SignRequest
from ouro.signer.unixsocket import SocketError, listen, reachable

from .conftest import PASSWORD, SECRETS, SignerProcess


def log_lines(signer: SignerProcess) -> list[dict[str, Any]]:
    """What is asked and answered; leases are not."""
    lines = [json.loads(line) for line in request_log_path(signer.config).read_text().splitlines()]
    return [line for line in lines if line["decision"] != "leased"]


async def refusal(client: SignerClient, request: SignRequest) -> str:
    with pytest.raises(SignerRefused) as caught:
        await client.sign(request)
    assert caught.value.detail
    return caught.value.reason


async def test_signs_what_eth_account_recovers(signer: SignerProcess) -> None:
    client = await signer.client()
    assert await client.addresses() == tuple(sorted(signer.operators))
    for request in (signer.request(), signer.cancel(nonce=1), signer.request(nonce=2, legacy=True, access_list=())):
        signed = await client.sign(request)
        assert Account.recover_transaction(signed.raw).lower() == signer.operators[0]
    assert [line["decision"] for line in log_lines(signer)] == ["signed"] * 3


async def test_refusals_name_the_limit_and_are_logged(signer: SignerProcess) -> None:
    client = await signer.client()
    refused = {
        "chain_id": signer.request(chain_id=1),
        "unknown_chain": signer.request(chain="nowhere"),
        "destination": signer.request(to="0x" + "99" * 20),
        "value": signer.request(value_wei=1),
        "gas_limit": signer.request(gas_limit=10**8),
        "fee_cap": signer.request(max_fee_per_gas_wei=10**15),
        "cancel_not_empty": signer.cancel(data=b"\x01"),
        "unknown_operator": signer.request(chain="fantom", chain_id=9_300_250),
        "malformed": signer.request(nonce=-1),
    }
    for reason, request in refused.items():
        assert await refusal(client, request) == reason
    assert [line["reason"] for line in log_lines(signer)] == list(refused)
    await client.sign(signer.request())


async def test_number_beyond_64_bits_is_refused_before_it_is_sent(signer: SignerProcess) -> None:
    assert await refusal(await signer.client(), signer.request(value_wei=2**70)) == "malformed"


async def test_halt_file_stops_everything_until_removed(signer: SignerProcess) -> None:
    client = await signer.client()
    await client.sign(signer.request())
    signer.config.signer.halt_file.touch()
    assert (await client.ping()).halted
    for request in (signer.request(), signer.request(nonce=1), signer.cancel(max_fee_per_gas_wei=10**11)):
        assert await refusal(client, request) == "halted"
    signer.config.signer.halt_file.unlink()
    assert not (await client.ping()).halted
    await client.sign(signer.request(nonce=1))


async def test_rate_cap(make_signer: Callable[..., SignerProcess]) -> None:
    signer = make_signer(max_transactions_per_minute=3).start()
    client = await signer.client()
    for nonce in range(3):
        await client.sign(signer.request(nonce=nonce))
    assert await refusal(client, signer.request(nonce=3)) == "rate"
    await client.sign(signer.request(nonce=2))  # a repetition is not a new signature
    signer.end(signal.SIGKILL)
    signer.start()
    await client.wait_ready()
    assert await refusal(client, signer.request(nonce=3)) == "rate"


async def test_one_payload_per_nonce_even_after_a_kill(signer: SignerProcess) -> None:
    client = await signer.client()
    first = await client.sign(signer.request())
    assert await client.sign(signer.request()) == first
    assert await refusal(client, signer.request(data=b"\x99")) == "nonce_used"
    signer.end(signal.SIGKILL)
    with pytest.raises(SignerUnavailable):
        await client.sign(signer.request())
    assert signer.config.signer.socket.exists()
    with request_log_path(signer.config).open("ab") as stream:
        stream.write(b'{"at_ns":17,"decisio')  # what a kill in the middle of a write leaves
    signer.start()
    await client.wait_ready()
    assert await refusal(client, signer.request(data=b"\x99")) == "nonce_used"
    assert await client.sign(signer.request()) == first
    assert await refusal(client, signer.cancel(max_fee_per_gas_wei=40 * 10**9)) == "cancel_fee_too_low"
    await client.sign(signer.cancel(max_fee_per_gas_wei=44 * 10**9))
    assert await refusal(client, signer.request(max_fee_per_gas_wei=50 * 10**9)) == "nonce_used"
    await client.sign(signer.request(operator=signer.operators[1]))


async def test_kill_under_load_loses_no_nonce(make_signer: Callable[..., SignerProcess]) -> None:
    signer = make_signer(gate=GateConfig(max_open_attempts=10**6)).start()
    client = await signer.client()
    signed: dict[int, str] = {}
    enough = asyncio.Event()

    async def load() -> None:
        for nonce in range(100_000):
            signed[nonce] = (await client.sign(signer.request(nonce=nonce))).tx_hash
            if nonce == 200:
                enough.set()

    task = asyncio.create_task(load())
    await asyncio.wait_for(enough.wait(), 60)
    signer.end(signal.SIGKILL)
    with pytest.raises(SignerUnavailable):
        await task
    signer.start()
    await client.wait_ready()
    for nonce in list(signed)[-20:]:
        assert await refusal(client, signer.request(nonce=nonce, data=b"\x01")) == "nonce_used"
        assert (await client.sign(signer.request(nonce=nonce))).tx_hash == signed[nonce]


async def test_many_callers_share_one_connection(signer: SignerProcess) -> None:
    client = await signer.client()
    requests = [signer.request(nonce=nonce) for nonce in range(40)]
    signed = await asyncio.gather(*(client.sign(request) for request in requests))
    assert len({s.tx_hash for s in signed}) == 40


MALFORMED = (
    b"\x00\x00\x00\x04abcd",
    b"\xff\xff\xff\xff",
    struct.pack(">I", messages.MAX_FRAME_BYTES + 1) + b"x",
    b"\x00\x00\x00\x00",
    b"\x00\x00\x00\x02\x81",
    b"\x00\x00",
    b"GET / HTTP/1.1\r\n\r\n",
)


async def test_malformed_frames_are_answered_logged_and_cut_off(signer: SignerProcess) -> None:
    client = await signer.client()
    for sent in MALFORMED:
        with reachable(signer.config.signer.socket) as name:
            reader, writer = await asyncio.open_unix_connection(name)
        writer.write(sent)
        writer.write_eof()
        answer = messages.decode_answer(await messages.read_frame(reader) or b"")
        assert isinstance(answer, messages.Refusal), sent
        assert answer.reason == "malformed"
        assert await reader.read() == b""
        writer.close()
    assert [line["reason"] for line in log_lines(signer)] == ["malformed"] * len(MALFORMED)
    await client.sign(signer.request())


async def test_unknown_fields_are_not_ignored(signer: SignerProcess) -> None:
    await signer.client()
    frame = messages.encode_frame(signer.request())
    changed = frame.replace(b"value_wei", b"value_xyz")
    with reachable(signer.config.signer.socket) as name:
        reader, writer = await asyncio.open_unix_connection(name)
    writer.write(changed)
    answer = messages.decode_answer(await messages.read_frame(reader) or b"")
    writer.close()
    assert isinstance(answer, messages.Refusal)
    assert "value_xyz" in answer.detail


async def test_only_its_owner_can_reach_it_and_it_tells_no_secret(signer: SignerProcess) -> None:
    client = await signer.client()
    path = signer.config.signer.socket
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(request_log_path(signer.config).stat().st_mode) == 0o600
    signed = await client.sign(signer.request())
    assert signer.process is not None
    arguments = " ".join(map(str, signer.process.args))  # type: ignore[arg-type]
    code, printed = signer.end()
    assert code == 0
    assert not path.exists()
    told = printed + request_log_path(signer.config).read_text() + arguments
    for secret in (*(key.hex() for key in SECRETS), PASSWORD, signed.raw.hex()):
        assert secret not in told


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_stops_cleanly(signer: SignerProcess, number: signal.Signals) -> None:
    await signer.client()
    code, printed = signer.end(number)
    assert code == 0
    assert "Traceback" not in printed


async def test_a_live_signer_is_not_replaced(signer: SignerProcess) -> None:
    client = await signer.client()
    second = SignerProcess(signer.config, signer.file, signer.operators).start()
    code, printed = second.wait()
    assert code == 2
    assert "another signer is running" in printed
    assert len(printed.strip().splitlines()) == 1
    await client.sign(signer.request())
    with pytest.raises(SocketError, match="another signer is listening"):
        listen(signer.config.signer.socket)


def test_start_up_problems_are_one_line(make_signer: Callable[..., SignerProcess]) -> None:
    signer = make_signer()
    code, printed = signer.start(OURO_KEYSTORE_PASSWORD="wrong").wait()
    assert (code, printed.count("\n")) == (2, 1)
    assert "keys.json (entry 1): the password does not open it" in printed
    assert "wrong" not in printed
    only_one = make_signer(keystore=None)
    code, printed = only_one.start(OURO_OPERATOR_KEYS=SECRETS[0].hex()).wait()
    assert code == 2
    assert f"chains.ethereum.operators: no key of {signer.operators[1]}" in printed


def test_socket_refuses_a_shared_folder_and_a_foreign_file(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    with pytest.raises(SocketError, match="chmod 700"):
        listen(shared / "s.sock")
    ordinary = tmp_path / "private" / "s.sock"
    ordinary.parent.mkdir(mode=0o700)
    ordinary.write_text("precious")
    with pytest.raises(SocketError, match="is not a socket"):
        listen(ordinary)
    assert ordinary.read_text() == "precious"


async def test_silent_signer_times_out_and_a_late_answer_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "private" / ("long" * 40) / "s.sock"
    listener = listen(path)
    client = SignerClient(path, timeout_ms=100)
    with pytest.raises(SignerUnavailable, match="no answer within") as caught:
        await client.ping()
    assert not isinstance(caught.value, SignerNotReached)
    assert client._streams is None
    listener.close()
    with pytest.raises(SignerNotReached, match="is `ouro signer` running"):
        await client.ping()
    assert isinstance(listener, socket.socket)


async def test_who_waits_in_vain_for_a_turn_was_not_handed_over(signer: SignerProcess) -> None:
    client = SignerClient(signer.config.signer.socket, timeout_ms=100)
    async with client._lock:  # what another request holds behind a signer that hangs
        with pytest.raises(SignerNotReached):
            await client.ping()


async def test_a_request_that_a_dying_signer_may_have_read_counts_as_handed_over(tmp_path: Path) -> None:
    path = tmp_path / "private" / "s.sock"
    path.parent.mkdir(mode=0o700)

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    server = await asyncio.start_unix_server(hang_up, path)
    with pytest.raises(SignerUnavailable) as caught:
        await SignerClient(path, timeout_ms=5_000).ping()
    assert not isinstance(caught.value, SignerNotReached)
    server.close()
