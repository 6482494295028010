"""Pre-flight in the shadow EVM, and signing over the socket: ``python -m benchmarks.execution [runs]``.

The pools, the executor and the node are those of the tests (`tests/contracts/world.py`); the signer is a process of
its own with an encrypted keystore. One table on stdout, microseconds of wall time.
"""

import asyncio
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "execution"), str(ROOT / "tests" / "contracts")]

from shadowing import Follower  # noqa: E402  # pyright: ignore[reportMissingImports]
from world import NodeBackend, World  # noqa: E402  # pyright: ignore[reportMissingImports]

from ouro.config.load import config_to_toml  # noqa: E402
from ouro.config.model import OuroConfig  # noqa: E402
from ouro.execution.encode import encode_plan  # noqa: E402
from ouro.execution.preflight import Preflight  # noqa: E402
from ouro.execution.shadow import ShadowEvm  # noqa: E402
from ouro.signer.client import SignerClient  # noqa: E402
from ouro.signer.keys import write_keystore  # noqa: E402
from ouro.signer.messages import SignRequest  # noqa: E402
from ouro.types import AttemptKind, BlockContext  # noqa: E402

SHAPES = [("v2", "v2"), ("v3", "v2"), ("v3", "v3"), ("v2", "v2", "v2"), ("v2", "v3", "v3", "v2")]
CHAIN_ID = 9_300_001
EXECUTOR = "0x" + "ee" * 20


def show(name: str, times_ns: list[int]) -> None:
    """One line: median, 99th percentile, worst."""
    ordered = sorted(number / 1_000 for number in times_ns)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    print(f"{name:<34} p50 {statistics.median(ordered):8.1f}  p99 {p99:8.1f}  max {ordered[-1]:8.1f} µs")


async def preflight(world: World, runs: int) -> None:
    """Plans of each shape on a shadow that was loaded from the node; each must succeed."""
    follower = Follower(world)
    shadow = ShadowEvm("bench", CHAIN_ID)
    reader = await follower.reader()
    try:
        await shadow.load(
            reader,
            follower.states.values(),
            executor=world.executor,
            operators=[world.operator],
            block_number=follower.number,
        )
    finally:
        await reader.close()
    timestamp = int(world.backend.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16) + 12
    context = BlockContext(follower.number + 1, timestamp, 0)
    check = Preflight(shadow)
    for shape in SHAPES:
        hops = world.hops(shape, 10**14)
        calldata = encode_plan(hops, world.tokens["W"], 1, 10**6)
        times = []
        for _ in range(runs + 20):
            began = time.perf_counter_ns()
            result = check.run(calldata, world.operator, context, hops)
            times.append(time.perf_counter_ns() - began)
            assert result.ok, result
        show(f"pre-flight {'-'.join(shape)}", times[20:])


async def signing(folder: Path, runs: int) -> None:
    """Trades of ascending nonces: checked, signed, logged, and back over the socket."""
    password = secrets.token_urlsafe(24)
    operators = write_keystore(folder / "keys.json", [secrets.token_bytes(32)], password)
    chain = {
        "chain_id": CHAIN_ID,
        "endpoints": ["ws://127.0.0.1:1"],
        "block_time_ms": 1000,
        "wrapped_native": "0x" + "aa" * 20,
        "multicall": "0x" + "bb" * 20,
        "executor": EXECUTOR,
        "owner": "0x" + "cc" * 20,
        "operators": list(operators),
        "dexes": [{"name": "v3", "family": "uniswap_v3", "factory": "0x" + "dd" * 20}],
    }
    signer = {"socket": folder / "s.sock", "keystore": folder / "keys.json", "halt_file": folder / "halt"}
    config = OuroConfig.model_validate(
        {
            "mode": "live",
            "data_dir": folder / "data",
            "signer": {**signer, "max_transactions_per_minute": 10**6},
            "chains": {"bench": chain},
        }
    )
    file = folder / "ouro.toml"
    file.write_text(config_to_toml(config))
    environment = {**os.environ, config.signer.password_env: password}
    process = subprocess.Popen([sys.executable, "-m", "ouro.signer", str(file)], env=environment)  # noqa: ASYNC220
    client = SignerClient(config.signer.socket, timeout_ms=30_000)
    try:
        await client.wait_ready()
        times = []
        for nonce in range(runs + 20):
            request = SignRequest(
                chain="bench",
                chain_id=CHAIN_ID,
                operator=operators[0],
                kind=AttemptKind.TRADE,
                nonce=nonce,
                to=EXECUTOR,
                gas_limit=500_000,
                max_fee_per_gas_wei=40 * 10**9,
                max_priority_fee_per_gas_wei=2 * 10**9,
                data=b"\x12\x34" * 300,
                access_list=((EXECUTOR, ("0x" + "00" * 31 + "01",)),),
            )
            began = time.perf_counter_ns()
            await client.sign(request)
            times.append(time.perf_counter_ns() - began)
        show("sign over the socket", times[20:])
    finally:
        await client.close()
        process.terminate()
        process.wait()


def main(runs: int) -> None:
    """Both tables."""
    backend = NodeBackend()
    try:
        asyncio.run(preflight(World(backend).build(3), runs))
    finally:
        backend.close()
    with tempfile.TemporaryDirectory(prefix="ouro-bench-") as folder:
        asyncio.run(signing(Path(folder), runs))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
