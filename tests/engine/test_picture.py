"""What the engine leaves for people's pages: whole files, an end that is told, and no harm when it can't."""

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ouro.dashboard.files import EngineFiles, now_ms
from ouro.engine.picture import PictureWriter, pools_picture
from ouro.engine.status import ChainStatus


def _market(pools: int) -> Any:
    """Pools of one hub token, as `Market` holds them."""
    states = {
        f"0x{number:040x}": SimpleNamespace(family="uniswap_v2", tokens=("0xhub", f"0x{number}"), fee_ppm=3_000)
        for number in range(pools)
    }
    tokens = {"0xhub": SimpleNamespace(symbol="HUB", decimals=18)}
    return SimpleNamespace(states=states, tokens=tokens, arrays=SimpleNamespace(n_pools=pools))


async def _one_round(writer: PictureWriter, seen: Path) -> None:
    task = asyncio.create_task(writer.run())
    while not await asyncio.to_thread(seen.exists):
        await asyncio.sleep(0.01)
        assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_the_page_reads_what_the_engine_wrote(tmp_path: Path) -> None:
    status = ChainStatus("fantom", state="running", freshness="ready", block_number=7, best="+0.1 a → b")
    status.best_pools = ("0x1", "0x2")
    market = _market(3)
    writer = PictureWriter(tmp_path / "status", status, "live", lambda: market)
    await _one_round(writer, tmp_path / "status" / "fantom.pools.json")
    files = EngineFiles(tmp_path)
    assert files.refresh()
    now = files.chains["fantom"]
    assert (now.values["block_number"], now.values["best_pools"]) == (7, ["0x1", "0x2"])
    assert now.values["process"] == "ended"
    assert not now.alive(now_ms()), "it said that it ended"
    assert len(files.pools["fantom"]) == 3
    assert files.symbols["fantom"] == {"0xhub": "HUB"}
    assert not files.refresh(), "nothing new is read twice"


async def test_a_folder_that_cannot_be_written_costs_only_the_picture(tmp_path: Path) -> None:
    (tmp_path / "status").write_text("in the way")
    writer = PictureWriter(tmp_path / "status", ChainStatus("fantom"), "live", lambda: None)
    task = asyncio.create_task(writer.run())
    await asyncio.sleep(0)
    task.cancel()
    (result,) = await asyncio.gather(task, return_exceptions=True)
    assert isinstance(result, asyncio.CancelledError)


def test_of_very_many_pools_those_between_much_traded_tokens_are_shown() -> None:
    picture = pools_picture(_market(1_000), limit=50)
    assert len(picture["pools"]) == 50
    assert picture["of"] == 1_000
    json.dumps(picture)


def test_half_a_file_is_no_news(tmp_path: Path) -> None:
    folder = tmp_path / "status"
    folder.mkdir()
    (folder / "fantom.json").write_text('{"chain": "fantom"')
    (folder / "ethereum.json").write_text("[1]")
    (folder / "base.json").write_text('{"chain": "base"}')
    files = EngineFiles(tmp_path)
    files.refresh()
    assert files.chains == {}
