"""Gas of whole transactions on a node with the real protocols, beside receipts of the best mainnet winners.

    python tests/contracts/gas_table.py            print, compare with contracts/gas.json, exit 1 on growth
    python tests/contracts/gas_table.py --update   write contracts/gas.json

Steady state: every word was written before; each transaction in a block of its own, with cold words and the access
list that ``ouro.execution`` sends. Standard tokens: WETH9 and a plain ERC-20.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "execution")]
sys.path.append(str(Path(__file__).parents[2]))

from bigworld import BigWorld  # noqa: E402
from familyworld import FAMILIES, FamilyWorld  # noqa: E402
from packages import fetch_all, own_code  # noqa: E402
from shadowing import Follower  # noqa: E402  # pyright: ignore[reportMissingImports]
from venueworld import VenueWorld  # noqa: E402
from world import ROOT, STORAGE, NodeBackend, World  # noqa: E402

from ouro.execution.access_list import AccessList  # noqa: E402
from ouro.execution.encode import encode_plan  # noqa: E402
from ouro.execution.encode_dag import encode_dag  # noqa: E402
from ouro.execution.preflight import Preflight  # noqa: E402
from ouro.execution.program import Dialect, Program, encode_program  # noqa: E402
from ouro.execution.shadow import ShadowEvm  # noqa: E402
from ouro.types import BlockContext, Hop  # noqa: E402

SNAPSHOT = ROOT / "contracts" / "gas.json"
GROWTH_PPM = 5_000
AMOUNT = 12_345_678_901_234
"""Small against the pools, so that prices stay inside their ticks; no round number, so that calldata is dense."""
WINNERS = {"V2-V2": 143_081, "V3-V2": 143_920, "3xV2": 196_787, "3xV3": 229_268, "5 mixed": 398_754}
CYCLES = {
    "V2-V2": ("v2", "v2"),
    "V2-V3": ("v2", "v3"),
    "V3-V2": ("v3", "v2"),
    "V3-V3": ("v3", "v3"),
    "3xV2": ("v2", "v2", "v2"),
    "3xV3": ("v3", "v3", "v3"),
    "5 mixed": ("v3", "v2", "v3", "v2", "v2"),
    "6xV3": ("v3",) * 6,
}


def next_block(world: World) -> BlockContext:
    head = world.backend.rpc("eth_getBlockByNumber", "latest", False)
    timestamp = int(head["timestamp"], 16) + 12
    world.backend.rpc("evm_setNextBlockTimestamp", timestamp)
    return BlockContext(int(head["number"], 16) + 1, timestamp, 0)


async def cycles(world: World, names: Iterable[str] = tuple(CYCLES)) -> dict[str, tuple[int, int, int]]:
    """Gas with the access list, without it, and bytes of calldata, by name."""
    follower = Follower(world)
    shadow = ShadowEvm("gas", 9_300_001)
    reader = await follower.reader()
    await shadow.load(
        reader, follower.states.values(), executor=world.executor, operators=[world.operator],
        block_number=follower.number,
    )  # fmt: skip
    await reader.close()
    preflight = Preflight(shadow)
    measured = {}
    for name in names:
        shape = CYCLES[name]
        figures = []
        for listed in (False, False, True):  # the first trade writes words that were never written
            hops = world.hops(shape, AMOUNT)
            data = encode_plan(hops, world.tokens["W"], 1, 10**6)
            context = next_block(world)
            access_list: AccessList = ()
            if listed:
                access_list, _ = preflight.run_listed(data, world.operator, context, hops, follower.states)
            figures.append(world.backend.send(world.executor, data, world.operator, access_list=access_list))
            while follower.number < follower.head():
                shadow.apply(follower.number + 1, follower.advance())
        measured[name] = (figures[2], figures[1], len(data))
    return measured


def plans(world: BigWorld) -> dict[str, tuple[int, int, int]]:
    """The same for plans with V4 and for a split; the node makes their access lists."""

    def split() -> tuple[Hop, ...]:
        a, b = world.hop("W", "T1", "v2", AMOUNT), world.hop("W", "T1", "v3", 2 * AMOUNT)
        return a, b, world.hop("T1", "W", "v2", a.amount_out_wei + b.amount_out_wei)

    makers = {
        "V4-V4": lambda: world.path(AMOUNT, ("W", "T1", "v4"), ("T1", "W", "v4")),
        "V4-V4 native": lambda: world.path(AMOUNT, ("ETH", "T1", "v4"), ("T1", "ETH", "v4")),
        "V4-V3": lambda: world.path(AMOUNT, ("W", "T1", "v4"), ("T1", "W", "v3")),
        "V3-V4": lambda: world.path(AMOUNT, ("W", "T1", "v3"), ("T1", "W", "v4")),
        "split V2+V3, V2": split,
    }
    measured = {}
    for name, make in makers.items():
        figures = []
        for listed in (False, False, True):
            data = encode_dag(make(), world.tokens["W"], 1, places=world.places)
            next_block(world)
            access_list = world.backend.access_list(world.executor, data, world.operator) if listed else ()
            figures.append(world.backend.send(world.executor, data, world.operator, access_list=access_list))
        measured[name] = (min(figures[1:]), figures[1], len(data))
    return measured


STORAGE_CYCLES = ("V2-V2", "V3-V2", "3xV2", "3xV3")


async def storage() -> dict[str, tuple[int, int, int]]:
    """The build without transient storage, by London's rules."""
    backend = NodeBackend("london")
    try:
        token = own_code("TestToken.sol", "TestToken")
        measured = await cycles(World(backend, STORAGE, token).build(3), STORAGE_CYCLES)
    finally:
        backend.close()
    return {f"{name}, storage": figures for name, figures in measured.items()}


def families() -> dict[str, tuple[int, int, int]]:
    """A pair and a pool of each further family; the node makes the lists."""
    measured = {}
    backend = NodeBackend()
    try:
        world = FamilyWorld(backend).build(1)
        for family in FAMILIES:
            figures = []
            for listed in (False, False, True):
                data = encode_plan(world.cycle(("v2", family), AMOUNT), world.tokens["W"], 1, 10**6)
                next_block(world)
                access_list = backend.access_list(world.executor, data, world.operator) if listed else ()
                figures.append(backend.send(world.executor, data, world.operator, access_list=access_list))
            measured[f"V2-{family}"] = (min(figures[1:]), figures[1], len(data))
    finally:
        backend.close()
    return measured


VENUES = {
    "V3-exchange": ("exchange", Dialect.INT128),
    "V3-exchange received": ("exchange", Dialect.INT128_RECEIVED),
    "V3-Balancer V2": ("weighted", Dialect.INT128),
    "V3-bins": ("bins", Dialect.INT128),
}


def venues() -> dict[str, tuple[int, int, int]]:
    """A V3 pool on credit, then a venue that pulls its input or has it before; Balancer V3's books."""
    backend = NodeBackend()
    try:
        world = VenueWorld(backend).build()
        programs: dict[str, Callable[[], Program]] = {
            name: partial(world.on_credit, ("W", "T1", "W"), kinds, AMOUNT) for name, kinds in VENUES.items()
        }
        port, shares = ("saddle", Dialect.INT128), ("shares", Dialect.INT128)
        pair, wrapped = ("v2", Dialect.INT128), ("wrapped", Dialect.INT128)
        programs["V3-StableSwap-V2"] = partial(world.on_credit, ("W", "T1", "T2", "W"), port, AMOUNT, pair)
        programs["V3-ERC-4626-V2"] = partial(world.on_credit, ("W", "T1", "S", "W"), shares, AMOUNT, pair)
        programs["V3-wrapped-V2"] = partial(world.on_credit, ("W", "T1", "X", "W"), wrapped, AMOUNT, pair)
        programs["books-books"] = partial(world.in_books, AMOUNT)
        measured = {}
        for name, make in programs.items():
            figures = []
            for listed in (False, False, True):
                data = encode_program(make())
                next_block(world)
                access_list = backend.access_list(world.executor, data, world.operator) if listed else ()
                figures.append(backend.send(world.executor, data, world.operator, access_list=access_list))
            measured[name] = (min(figures[1:]), figures[1], len(data))
        return measured
    finally:
        backend.close()


def measure() -> dict[str, tuple[int, int, int]]:
    """All figures, each world on a node of its own."""
    measured = {}
    backend = NodeBackend()
    try:
        measured |= asyncio.run(cycles(World(backend).build(5)))
    finally:
        backend.close()
    backend = NodeBackend()
    try:
        measured |= plans(BigWorld(backend).build(5))
    finally:
        backend.close()
    return measured | families() | venues() | asyncio.run(storage())


def main() -> int:
    """Entry point; 1 when a figure grew, or is not below the winner's."""
    parser = argparse.ArgumentParser(description="Gas of the executor's transactions")
    parser.add_argument("--update", action="store_true", help="write the snapshot")
    update = parser.parse_args().update
    fetch_all()
    measured = measure()
    kept = json.loads(SNAPSHOT.read_text()) if SNAPSHOT.exists() else {}
    failed = []
    print(f"{'plan':<22}{'gas':>9}{'no list':>9}{'bytes':>7}{'winner':>9}{'snapshot':>10}")
    for name, (gas, plain, size) in measured.items():
        winner, before = WINNERS.get(name), kept.get(name)
        print(f"{name:<22}{gas:>9}{plain:>9}{size:>7}{winner or '-':>9}{before or '-':>10}")
        if winner is not None and gas >= winner:
            failed.append(f"{name}: {gas} is not below the winner's {winner}")
        if not update and (before is None or gas * 1_000_000 > before * (1_000_000 + GROWTH_PPM)):
            failed.append(f"{name}: {gas} against {before} of the snapshot; after a wanted change: --update")
    if update:
        SNAPSHOT.write_text(json.dumps({name: gas for name, (gas, _, _) in measured.items()}, indent=1) + "\n")
    for line in failed:
        print(f"gas: {line}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
