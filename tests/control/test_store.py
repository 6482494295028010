"""Halts as every process sees them: durable, cheap to ask for, and closed when in doubt."""

import json
import multiprocessing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ouro.control import ControlError, ControlStore, Scope, blocks_trades, files
from ouro.control.files import HISTORY_NAME, STATE_NAME
from ouro.flock import lock_within

ANNA: dict[str, Any] = {"by": "anna", "why": "something is odd"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "a folder" / "control"


def test_a_new_store_halts_nothing_and_asking_writes_nothing(folder: Path) -> None:
    store = ControlStore(folder)
    assert store.in_force("ethereum", "triangular") == ()
    assert store.history() == []
    assert not folder.exists()


def test_scopes_reach_what_they_name_and_no_more(folder: Path) -> None:
    store = ControlStore(folder)
    chain = store.halt(chain="ethereum", **ANNA)
    strategy = store.halt(strategy="triangular", mode="reduce_only", **ANNA)
    both = store.halt(chain="fantom", strategy="n_hop", mode="throttle", **ANNA)
    assert store.in_force("ethereum", "cross_dex") == (chain,)
    assert store.in_force("ethereum", "triangular") == (chain, strategy)
    assert store.in_force("fantom", "n_hop") == (both,)
    assert store.in_force("polygon", "n_hop") == ()
    assert store.in_force() == ()
    assert store.on_chain("fantom") == (strategy, both)
    assert blocks_trades(store.in_force("fantom", "n_hop")) is None
    everything = store.halt(**ANNA)
    assert store.in_force("polygon", "n_hop") == (everything,)
    assert store.resume(Scope(chain="ethereum"), by="bob", why="looked at it") == [chain]
    assert store.in_force("ethereum", "cross_dex") == (everything,)
    assert store.resume(by="bob", why="all well") == [strategy, both, everything]
    assert store.all() == ()
    assert [event["event"] for event in store.history()] == ["halt"] * 4 + ["resume"] * 2


def test_other_processes_and_restarts_see_it(folder: Path) -> None:
    watching = ControlStore(folder)
    assert watching.all() == ()
    halt = ControlStore(folder).halt(**ANNA)
    assert watching.all() == (halt,) == ControlStore(folder).all()
    ControlStore(folder).resume(by="bob", why="all well")
    assert watching.all() == () == ControlStore(folder).all()


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        ("by", {"by": "", "why": "because"}),
        ("by", {"by": " \t", "why": "because"}),
        ("why", {"by": "anna", "why": " "}),
        ("why", {"by": "anna", "why": "x" * 1_000}),
        ("mode", {"by": "anna", "why": "because", "mode": "slow"}),
        ("chain", {"by": "anna", "why": "because", "chain": " "}),
        ("source", {"by": "anna", "why": "because", "source": "breaker:"}),
        ("source", {"by": "anna", "why": "because", "source": "wind"}),
    ],
)
def test_what_is_missing_is_named(folder: Path, field: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ControlError, match=rf"^{field}: "):
        ControlStore(folder).halt(**arguments)
    assert not folder.exists()


def test_resume_needs_a_name_a_reason_and_something_to_lift(folder: Path) -> None:
    store = ControlStore(folder)
    store.halt(chain="fantom", **ANNA)
    for by, why, field in (("", "fine", "by"), ("bob", "", "why")):
        with pytest.raises(ControlError, match=rf"^{field}: "):
            store.resume(by=by, why=why)
    with pytest.raises(ControlError, match=r"chain ethereum.*fantom: stop by anna"):
        store.resume(Scope(chain="ethereum"), by="bob", why="fine")
    assert len(store.all()) == 1


def test_a_breaker_may_say_it_at_every_block(folder: Path) -> None:
    store = ControlStore(folder)
    first = store.halt(source="breaker:drawdown", until_ms=1_000, **ANNA)
    assert store.halt(source="breaker:drawdown", until_ms=900, **ANNA) == first
    later = store.halt(source="breaker:drawdown", until_ms=2_000, **ANNA)
    assert (later.id, later.until_ms) == (first.id, 2_000)
    assert store.all() == (later,)
    store.halt(source="breaker:loss", **ANNA)
    store.halt(**ANNA)
    store.halt(**ANNA)
    assert len(store.all()) == 4


def test_only_throttles_heal_by_themselves(folder: Path) -> None:
    now = [1_000_000]
    store = ControlStore(folder, clock_ms=lambda: now[0])
    store.halt(mode="throttle", source="breaker:latency", until_ms=now[0] + 10, **ANNA)
    stop = store.halt(source="breaker:drawdown", until_ms=now[0] + 10, **ANNA)
    assert len(store.all()) == 2
    now[0] += 10
    assert store.in_force("any", "any") == (stop,)
    again = store.halt(mode="throttle", source="breaker:latency", until_ms=now[0] + 10, **ANNA)
    assert store.all() == (stop, again)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "version", "gone", "folder", "unknown field"])
def test_a_damaged_store_halts_everything(folder: Path, damage: str) -> None:
    watching = ControlStore(folder)
    watching.halt(chain="fantom", **ANNA)
    assert len(watching.all()) == 1
    path = folder / STATE_NAME
    content = path.read_bytes()
    match damage:
        case "cut":
            path.write_bytes(content[: len(content) // 2])
        case "flip":
            path.write_bytes(content.replace(b"fantom", b"phanto"))
        case "empty":
            path.write_bytes(b"")
        case "version":
            path.write_bytes(content.replace(b'"version": 1', b'"version": 2'))
        case "gone":
            path.unlink()
        case "folder":
            path.unlink()
            path.mkdir()
        case _:
            document = json.loads(content)
            document["body"]["halts"][0]["colour"] = "red"
            path.write_text(json.dumps(document))
    for store in (watching, ControlStore(folder)):
        [halt] = store.in_force("polygon", "cross_dex")
        assert halt.mode == "stop"
        assert str(path) in halt.why
        with pytest.raises(ControlError):
            store.resume(by="bob", why="fine")
    if damage == "folder":
        path.rmdir()
    ControlStore(folder).repair(by="anna", why="disk replaced")
    [halt] = watching.in_force("polygon", "cross_dex")
    assert "repaired" in halt.why
    watching.resume(by="bob", why="looked at everything")
    assert watching.all() == ()


def test_a_folder_that_vanishes_under_a_running_process_halts_it(folder: Path) -> None:
    store = ControlStore(folder)
    store.halt(**ANNA)
    store.resume(by="bob", why="all well")
    assert store.all() == ()
    (folder / STATE_NAME).unlink()
    (folder / HISTORY_NAME).unlink()
    assert blocks_trades(store.in_force("fantom", "n_hop")) is not None


def test_an_unfinished_line_of_the_history_spoils_only_itself(folder: Path) -> None:
    store = ControlStore(folder)
    store.halt(**ANNA)
    with (folder / HISTORY_NAME).open("ab") as stream:
        stream.write(b'{"sequence": 2, "ev')
    store.resume(by="bob", why="all well")
    assert [event["event"] for event in store.history()] == ["halt", "resume"]


def _halt_often(folder: Path, name: str, count: int) -> None:
    store = ControlStore(folder)
    for number in range(count):
        store.halt(by=name, why=f"number {number}")


def test_writers_in_many_processes_lose_nothing(folder: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_halt_often, args=(folder, f"writer {n}", 10)) for n in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    store = ControlStore(folder)
    assert len(store.all()) == 40
    assert [event["sequence"] for event in store.history()] == list(range(1, 41))


def test_files_are_their_owners_alone(folder: Path) -> None:
    ControlStore(folder).halt(**ANNA)
    assert folder.stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o022 == 0 for path in folder.iterdir())


_SCOPES = st.tuples(st.sampled_from([None, "a", "b"]), st.sampled_from([None, "x", "y"]))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.booleans(), _SCOPES), max_size=8))
def test_in_force_is_what_the_history_says(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[bool, tuple[str | None, str | None]]]
) -> None:
    store = ControlStore(tmp_path_factory.mktemp("control"))
    expected: list[tuple[str | None, str | None]] = []
    for is_halt, (chain, strategy) in events:
        if is_halt:
            store.halt(chain=chain, strategy=strategy, **ANNA)
            expected.append((chain, strategy))
            continue
        left = [halt for halt in expected if not (chain in (None, halt[0]) and strategy in (None, halt[1]))]
        if left == expected:
            with pytest.raises(ControlError):
                store.resume(Scope(chain, strategy), by="bob", why="fine")
        else:
            store.resume(Scope(chain, strategy), by="bob", why="fine")
        expected = left
    for chain in ("a", "b", "c"):
        for strategy in ("x", "y", "z"):
            reached = [h for h in expected if h[0] in (None, chain) and h[1] in (None, strategy)]
            assert [(h.chain, h.strategy) for h in store.in_force(chain, strategy)] == reached


def test_a_lock_that_is_never_let_go_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "lock_within", lambda lock: lock_within(lock, 0.0))
    store = ControlStore(folder)
    with files.exclusive(folder), pytest.raises(ControlError, match=r"kill file \(signer\.halt_file"):
        store.halt(by="anna", why="odd")
    assert store.halt(by="anna", why="odd").by == "anna"
