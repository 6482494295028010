import gzip
from dataclasses import replace
from pathlib import Path

import pytest

from ouro.config.model import ChainConfig, DexConfig
from ouro.market.errors import SnapshotError
from ouro.market.journal import Head
from ouro.market.snapshot import Snapshot, load_snapshot, write_snapshot
from ouro.market.tokens import TokenInfo
from ouro.protocols.registry import FAMILIES
from ouro.protocols.uniswap_v3 import UniswapV3State
from ouro.protocols.v3_math import sqrt_ratio_at_tick
from ouro.protocols.v3_ticks import TickTable

from .streams import address, v2_state

ADDRESS = "0x" + "01" * 20


def chain_config(**changes: object) -> ChainConfig:
    dex = DexConfig(name="dex", family="uniswap_v2", factory=ADDRESS, fee_ppm=3000)
    values = {
        "chain_id": 9_300_001,
        "profile": "p",
        "endpoints": ("ws://127.0.0.1:1",),
        "block_time_ms": 1000,
        "wrapped_native": ADDRESS,
        "multicall": ADDRESS,
        "dexes": (dex,),
    }
    return ChainConfig.model_validate(values | changes)


@pytest.fixture
def snapshot() -> Snapshot:
    ticks = TickTable({-600: (2**100, 2**100), 600: (2**100, -(2**100))})
    pool = UniswapV3State(
        address(9), (address(0, "token"), address(1, "token")), 3000, 60, sqrt_ratio_at_tick(7), 7, 2**100, ticks
    )
    states = {state.address: state for state in (v2_state(0, 2**111, 3), v2_state(1), pool)}
    tokens = {address(0, "token"): TokenInfo(address(0, "token"), "T0", 18)}
    return Snapshot(Head(77, "0x" + "77" * 32, 1_700_000_000, 2**80), states, tokens)


@pytest.fixture
def path(tmp_path: Path, snapshot: Snapshot) -> Path:
    where = tmp_path / "with blanks" / "snapshot.gz"
    write_snapshot(where, "ethereum", chain_config(), snapshot, FAMILIES)
    return where


def test_what_was_written_is_read_back(path: Path, snapshot: Snapshot) -> None:
    found = load_snapshot(path, "ethereum", chain_config(), FAMILIES)
    assert found.head == snapshot.head
    assert dict(found.states) == dict(snapshot.states)
    assert dict(found.tokens) == dict(snapshot.tokens)
    assert [p.name for p in path.parent.iterdir()] == ["snapshot.gz"]


def test_every_truncation_is_refused(path: Path) -> None:
    whole = path.read_bytes()
    for size in (*range(0, len(whole), 37), *range(len(whole) - 12, len(whole))):
        path.write_bytes(whole[:size])
        with pytest.raises(SnapshotError, match="truncated"):
            load_snapshot(path, "ethereum", chain_config(), FAMILIES)


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        (b'"reserve0":"1000', b'"reserve0":"2000', "checksum in line 5"),
        (b'"number":77', b'"number":78', "checksum"),
        (b'"end":3', b'"end":4', "closing line says 4"),
        (b'"version":1', b'"version":2', "version 2"),
        (b'"kind":"ouro-market-snapshot"', b'"kind":"something"', "line 1 is not the header"),
    ],
)
def test_an_edited_file_is_refused(path: Path, old: bytes, new: bytes, match: str) -> None:
    plain = gzip.decompress(path.read_bytes())
    assert old in plain
    path.write_bytes(gzip.compress(plain.replace(old, new)))
    with pytest.raises(SnapshotError, match=match) as caught:
        load_snapshot(path, "ethereum", chain_config(), FAMILIES)
    assert str(path) in str(caught.value)


def test_lines_removed_or_doubled_are_refused(path: Path) -> None:
    lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    for changed in (lines[:1] + lines[2:], lines[:2] + lines[1:], lines[:-1], lines[:1]):
        path.write_bytes(gzip.compress(b"".join(changed)))
        with pytest.raises(SnapshotError):
            load_snapshot(path, "ethereum", chain_config(), FAMILIES)


def test_another_chain_or_other_factories_are_refused(path: Path) -> None:
    with pytest.raises(SnapshotError, match=r"of chain id 9300001; ethereum is configured as 5"):
        load_snapshot(path, "ethereum", chain_config(chain_id=5), FAMILIES)
    dex = DexConfig(name="dex", family="uniswap_v2", factory=ADDRESS, fee_ppm=2500)
    with pytest.raises(SnapshotError, match="other factories or fees"):
        load_snapshot(path, "ethereum", chain_config(dexes=(dex,)), FAMILIES)


def test_a_state_that_contradicts_itself_is_named_by_its_line(tmp_path: Path, snapshot: Snapshot) -> None:
    broken = replace(snapshot, states=dict(snapshot.states))
    pool = snapshot.states[address(9)]
    states = dict(snapshot.states)
    states[address(9)] = UniswapV3State(
        pool.address, pool.tokens, 3000, 60, pool.sqrt_price_x96, pool.tick, pool.liquidity + 1, pool.ticks
    )
    path = tmp_path / "s.gz"
    write_snapshot(path, "ethereum", chain_config(), replace(broken, states=states), FAMILIES)
    with pytest.raises(SnapshotError, match="line 4: liquidity"):
        load_snapshot(path, "ethereum", chain_config(), FAMILIES)


def test_a_failed_write_leaves_the_old_file(path: Path, snapshot: Snapshot) -> None:
    before = path.read_bytes()
    families = {"uniswap_v2": FAMILIES["uniswap_v2"]}
    with pytest.raises(KeyError):
        write_snapshot(path, "ethereum", chain_config(), snapshot, families)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["snapshot.gz"]
