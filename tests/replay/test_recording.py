"""A recording is whole and as it was written, or it is refused with the place."""

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ouro.replay.chunks import MAGIC, read_chunks
from ouro.replay.errors import RecordingError
from ouro.replay.events import pack_event, unpack_event
from ouro.replay.recording import Recording, RecordingWriter
from ouro.types import BlockUpdate, Log, Resync, Rollback

HASHES = st.binary(min_size=32, max_size=32).map(lambda raw: "0x" + raw.hex())
ADDRESSES = st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex())
NUMBERS = st.integers(0, 2**63 - 1)


@st.composite
def updates(draw: st.DrawFn) -> BlockUpdate:
    number, block_hash = draw(NUMBERS), draw(HASHES)
    logs = [
        Log(
            draw(ADDRESSES),
            tuple(draw(st.lists(HASHES, max_size=4))),
            "0x" + draw(st.binary(max_size=100)).hex(),
            number,
            block_hash,
            draw(HASHES),
            k // 2,
            k,
        )
        for k in range(draw(st.integers(0, 3)))
    ]
    base_fee = draw(st.none() | st.integers(0, 2**100))
    return BlockUpdate(
        "x", number, block_hash, draw(HASHES), draw(NUMBERS), base_fee, 5, 10, tuple(logs), draw(NUMBERS)
    )


@given(
    st.one_of(
        updates(),
        st.builds(Rollback, st.just("x"), NUMBERS, HASHES, st.tuples(HASHES)),
        st.builds(Resync, st.just("x"), st.text()),
    )
)
def test_events_come_back_as_they_were(event: BlockUpdate | Rollback | Resync) -> None:
    assert unpack_event(pack_event(event, 0), "x") == event


def test_everything_comes_back(recording: Recording, tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path / "a copy.ouro", recording.origin)
    for event in recording.events():
        writer.add(event)
    copy = Recording.open(writer.finish())
    assert copy.origin == recording.origin
    assert list(copy.events()) == list(recording.events())
    assert (copy.blocks, copy.logs) == (recording.blocks, recording.logs) == (40, copy.logs)


def test_cut_off_anywhere(recording_path: Path, tmp_path: Path) -> None:
    whole = recording_path.read_bytes()
    offsets = [offset for offset, _, _ in read_chunks(recording_path)]
    damaged = tmp_path / "cut.ouro"
    for cut in (0, 3, len(MAGIC) + 1, *(o + d for o in offsets for d in (0, 5, 40)), len(whole) - 1):
        damaged.write_bytes(whole[: min(cut, len(whole) - 1)])
        with pytest.raises(RecordingError, match=r"cut\.ouro: byte \d+: (cut off|not a recording)"):
            Recording.open(damaged)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(data=st.data())
def test_changed_anywhere(recording_path: Path, tmp_path: Path, data: st.DataObject) -> None:
    changed = bytearray(recording_path.read_bytes())
    place = data.draw(st.integers(0, len(changed) - 1))
    changed[place] ^= data.draw(st.integers(1, 255))
    path = tmp_path / "changed.ouro"
    path.write_bytes(changed)
    with pytest.raises(RecordingError, match=r"changed\.ouro: byte \d+: "):
        Recording.open(path)


def test_newer_appended_and_something_else(recording_path: Path, tmp_path: Path) -> None:
    whole = recording_path.read_bytes()
    path = tmp_path / "other.ouro"
    path.write_bytes(whole[:8] + b"\x00\x03" + whole[10:])
    with pytest.raises(
        RecordingError, match="schema 3, this Ouro reads schemas 1 to 2; the file is newer: upgrade"
    ):
        Recording.open(path)
    # without answers a file of the first schema is what one of the second is
    path.write_bytes(whole[:8] + b"\x00\x01" + whole[10:])
    assert list(Recording.open(path).events()) == list(Recording.open(recording_path).events())
    path.write_bytes(whole + whole[10:])
    with pytest.raises(RecordingError, match="appended after the end"):
        Recording.open(path)
    path.write_bytes(b"{}" * 100)
    with pytest.raises(RecordingError, match="byte 0: not a recording"):
        Recording.open(path)


def test_a_recording_that_was_not_finished_is_not_there(recording: Recording, tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path / "half.ouro", recording.origin)
    writer.add(next(recording.events()))
    writer.flush()
    assert not (tmp_path / "half.ouro").exists()
    part = next(tmp_path.glob("half.ouro.*.part"))
    shutil.copy(part, tmp_path / "copied.ouro")
    with pytest.raises(RecordingError, match="cut off: the closing chunk is missing"):
        Recording.open(tmp_path / "copied.ouro")
    writer.abandon()
    assert list(tmp_path.glob("half*")) == []


def test_no_endpoint_is_recorded(recording: Recording) -> None:
    assert recording.origin.config.endpoints == ("replay:",)
