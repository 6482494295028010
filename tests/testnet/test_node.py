import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ouro.testnet.client import TRANSPORT_ERRORS, Client
from ouro.testnet.node import AnvilNode, NodeConfig, NodeStartError, anvil_path
from ouro.testnet.process import spawn

pytestmark = pytest.mark.node


def wait_until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail("did not happen in time")
        time.sleep(0.05)


def send_one_wei(client: Client) -> str:
    accounts = client.call("eth_accounts")
    tx_hash = client.call("eth_sendTransaction", {"from": accounts[0], "to": "0x" + "ab" * 20, "value": "0x1"})
    client.receipt(tx_hash)
    return tx_hash


def test_node_answers_with_its_chain_id_over_http_and_has_an_ipc_socket(work_dir: Path) -> None:
    with AnvilNode(NodeConfig(chain_id=9_300_999), work_dir) as node, node.client() as client:
        assert int(client.call("eth_chainId"), 16) == 9_300_999
        assert node.ipc_path.is_socket()
        assert len(str(node.ipc_path)) < 100
    assert not node.ipc_path.exists()
    assert not node.running


def test_a_long_work_dir_is_no_problem_for_the_socket(tmp_path: Path) -> None:
    with AnvilNode(NodeConfig(chain_id=9_300_999), tmp_path / ("long " * 30)) as node:
        assert node.ipc_path.is_socket()


def test_several_nodes_at_once_get_ports_of_their_own(work_dir: Path) -> None:
    nodes = [AnvilNode(NodeConfig(chain_id=9_300_100 + k), work_dir, f"n{k}") for k in range(4)]
    try:
        for node in nodes:
            node.start()
        assert len({node.port for node in nodes}) == 4
        ids = [int(node.client().call("eth_chainId"), 16) for node in nodes]
        assert ids == [9_300_100 + k for k in range(4)]
    finally:
        for node in nodes:
            node.close()


def test_block_time_may_be_a_fraction_of_a_second(work_dir: Path) -> None:
    with AnvilNode(NodeConfig(chain_id=1_234, block_time_s=0.2), work_dir) as node, node.client() as client:

        def two_in_one_second() -> bool:
            numbers = range(1, client.block_number() + 1)
            blocks = client.batch([("eth_getBlockByNumber", [hex(k), False]) for k in numbers])
            times = [int(block["timestamp"], 16) for block in blocks]
            return len(set(times)) < len(times)

        wait_until(two_in_one_second)  # never with whole seconds between them


def test_a_restart_keeps_port_blocks_receipts_and_balances(work_dir: Path) -> None:
    with AnvilNode(NodeConfig(chain_id=9_300_999), work_dir) as node, node.client() as client:
        tx_hash = send_one_wei(client)
        port, head = node.port, client.call("eth_getBlockByNumber", "latest", False)["hash"]
        node.restart()
        assert node.port == port
        assert client.call("eth_getBlockByNumber", "latest", False)["hash"] == head
        assert client.receipt(tx_hash)["status"] == "0x1"
        assert client.balance("0x" + "ab" * 20) == 1


def test_old_states_survive_a_restart_when_asked_for(work_dir: Path) -> None:
    config = NodeConfig(chain_id=9_300_999, historical_states=True)
    with AnvilNode(config, work_dir) as node, node.client() as client:
        send_one_wei(client)
        send_one_wei(client)
        node.restart()
        assert int(client.call("eth_getBalance", "0x" + "ab" * 20, "0x1"), 16) == 1


def test_a_killed_node_comes_back_with_its_last_written_state(work_dir: Path) -> None:
    config = NodeConfig(chain_id=9_300_999, block_time_s=0.2, state_interval_s=1)
    with AnvilNode(config, work_dir) as node, node.client() as client:
        send_one_wei(client)
        sent_at = client.block_number()
        wait_until(lambda: node.state_path.exists() and node.state_path.stat().st_mtime > 0)
        wait_until(lambda: client.block_number() > sent_at + 12)
        node.kill()
        assert not node.running
        node.start()
        assert client.balance("0x" + "ab" * 20) == 1
        number = client.block_number()
        wait_until(lambda: client.block_number() > number)


def test_a_truncated_state_file_is_replaced_by_the_last_whole_one(work_dir: Path) -> None:
    config = NodeConfig(chain_id=9_300_999, block_time_s=0.2, state_interval_s=1)
    with AnvilNode(config, work_dir) as node, node.client() as client:
        send_one_wei(client)
        number = client.block_number()
        wait_until(lambda: node.state_path.exists() and client.block_number() > number + 12)
        node.kill()
        node.state_path.write_bytes(node.state_path.read_bytes()[:-100])
        node.start()
        assert client.balance("0x" + "ab" * 20) == 1


def test_a_damaged_state_without_a_copy_is_named(work_dir: Path) -> None:
    (work_dir / "node-state.json").write_text('{"half":')
    node = AnvilNode(NodeConfig(chain_id=9_300_999), work_dir)
    with pytest.raises(NodeStartError, match=r"node-state\.json is damaged"):
        node.start()
    node.close()


def test_missing_binary_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OURO_ANVIL", str(tmp_path / "nothing"))
    with pytest.raises(NodeStartError, match="OURO_ANVIL"):
        anvil_path()


def test_a_node_that_dies_at_once_shows_its_log(work_dir: Path) -> None:
    node = AnvilNode(NodeConfig(chain_id=9_300_999, hardfork="no-such-fork"), work_dir)
    with pytest.raises(NodeStartError, match="no-such-fork"):
        node.start()
    node.close()


def test_a_frozen_node_goes_on_after_thawing(work_dir: Path) -> None:
    with AnvilNode(NodeConfig(chain_id=9_300_999), work_dir) as node:
        node.freeze()
        with Client(node.http_url, timeout_s=0.3) as hasty, pytest.raises(TRANSPORT_ERRORS, match="timed out"):
            hasty.block_number()
        node.thaw()
        assert node.client().block_number() == 0


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


def test_no_child_outlives_a_killed_parent(work_dir: Path) -> None:
    """The node is started from a short-lived thread, which must not count as the parent's death."""
    program = (
        "import sys, threading, time\n"
        "from pathlib import Path\n"
        "from ouro.testnet.node import AnvilNode, NodeConfig\n"
        "node = AnvilNode(NodeConfig(chain_id=5), Path(sys.argv[1]))\n"
        "thread = threading.Thread(target=node.start); thread.start(); thread.join()\n"
        "time.sleep(0.3)\n"
        "print(node.process.pid, node.client().block_number(), flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, work_dir], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline().split()[0])
    assert _alive(pid)
    parent.kill()
    parent.wait()
    wait_until(lambda: not _alive(pid))


def test_spawned_children_get_the_chosen_signal_at_the_parents_death(work_dir: Path) -> None:
    child = (
        "import signal, sys, time\n"
        "def bye(*_): open('said-goodbye', 'w').close(); sys.exit()\n"
        "signal.signal(signal.SIGTERM, bye); open('ready', 'w').close(); time.sleep(600)\n"
    )
    parent_code = (
        "import signal, sys, time\n"
        "from pathlib import Path\n"
        "from ouro.testnet.process import spawn\n"
        f"spawn([sys.executable, '-c', {child!r}], log=Path('log'), death_signal=signal.SIGTERM)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", parent_code], cwd=work_dir)
    wait_until((work_dir / "ready").exists)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    wait_until((work_dir / "said-goodbye").exists)


def test_spawn_reports_a_missing_program(work_dir: Path) -> None:
    with pytest.raises(FileNotFoundError):
        spawn(["/no/such/program"], log=work_dir / "log")
