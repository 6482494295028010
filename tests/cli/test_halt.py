"""``ouro halt``, ``resume``, ``halts``: what a person types in a hurry, and what is refused."""

import json
from pathlib import Path

import pytest
from cli_bench import Ouro

from ouro.audit import verify
from ouro.control import ControlStore, control_folder

CHAIN = """
endpoints = ["ws://127.0.0.1:1"]
block_time_ms = 1000
wrapped_native = "0xaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
multicall = "0xbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
"""
DEX = """
name = "v3"
family = "uniswap_v3"
factory = "0xdddddddddddddddddddddddddddddddddddddddd"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "a run" / "ouro.toml"
    path.parent.mkdir()
    chains = [
        f"[chains.{name}]\nchain_id = {number}\n{CHAIN}\n[[chains.{name}.dexes]]\n{DEX}"
        for number, name in enumerate(("ethereum", "fantom"), 1)
    ]
    path.write_text('data_dir = "data"\n' + "\n".join(chains))
    return path


def test_halt_and_resume(ouro: Ouro, config: Path) -> None:
    assert ouro("halts", "-c", config).out == "nothing is halted\n"
    said = ouro("halt", "-c", config, "--by", "Anna", "--why", "odd trades", "--chain", "fantom", "--json")
    assert said.code == 0, said.err
    told = json.loads(said.out)
    assert (told["halt"]["chain"], told["halt"]["mode"], told["halt"]["source"]) == ("fantom", "stop", "person")
    assert told["signer"]["state"].startswith("not running")
    store = ControlStore(control_folder(config.parent / "data"))
    assert store.in_force("fantom", "n_hop")[0].by == "Anna"
    assert store.in_force("ethereum", "n_hop") == ()
    ouro("halt", "-c", config, "--by", "Anna", "--why", "all odd", "--reduce-only", "--strategy", "n_hop")
    shown = ouro("halts", "-c", config).out
    assert "fantom: stop by Anna (person): odd trades" in shown
    assert "n_hop on all chains: reduce_only by Anna" in shown
    lifted = ouro("resume", "-c", config, "--by", "Bob", "--why", "looked at it", "--chain", "fantom")
    assert lifted.code == 0
    assert "lifted fantom" in lifted.out
    assert "still in force: n_hop on all chains" in lifted.out
    everything = json.loads(ouro("resume", "-c", config, "--by", "Bob", "--why", "all well", "--json").out)
    assert (len(everything["lifted"]), everything["in_force"]) == (1, [])
    history = json.loads(ouro("halts", "-c", config, "--history", "--json").out)
    assert [event["event"] for event in history] == ["halt", "halt", "resume", "resume"]
    report = verify(config.parent / "data" / "audit")
    assert report.ok, report
    assert "looked at it" in (config.parent / "data" / "audit" / "operator.jsonl").read_text()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("halt", "--by", "", "--why", "because"), "by:"),
        (("halt", "--by", "Anna", "--why", " "), "why:"),
        (("halt", "--by", "Anna", "--why", "because", "--chain", "mars"), "mars"),
        (("halt", "--by", "Anna", "--why", "because", "--strategy", "luck"), "luck"),
        (("halt", "--why", "because"), "--by"),
        (("resume", "--by", "Anna"), "--why"),
        (("resume", "--by", "", "--why", "because"), "by:"),
        (("resume", "--by", "Bob", "--why", "because"), "nothing is halted"),
    ],
)
def test_what_is_refused_is_named(ouro: Ouro, config: Path, arguments: tuple[str, ...], named: str) -> None:
    said = ouro(*arguments, "-c", config)
    assert said.code == 2
    assert named in said.err
    assert json.loads(ouro("halts", "-c", config, "--json").out) == []


def test_without_a_readable_configuration_and_with_a_damaged_store(ouro: Ouro, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    who = ("--by", "Anna", "--why", "the file is gone", "--data-dir", folder)
    lost = ouro("halt", *who)  # a mistyped folder: a halt that nobody sees would say that it is one
    assert lost.code == 2
    assert "no data folder" in lost.err
    assert not folder.exists()
    folder.mkdir()
    (folder / "engine-fantom.lock").touch()
    assert "fantom" in ouro("halt", *who, "--chain", "bogus").err
    assert ouro("halt", *who).code == 0
    (control_folder(folder) / "halts.json").write_text("{")
    assert "everything is halted" in ouro("halts", "--data-dir", folder).out
    assert ouro("resume", *who).code == 2
    assert ouro("halt", *who, "--repair").code == 0
    assert ouro("resume", *who).code == 0
    assert ouro("halts", "--data-dir", folder).out == "nothing is halted\n"
