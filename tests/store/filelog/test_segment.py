"""A segment by itself: its index is always to be had, wherever it is."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from gobbler.errors import StoreCorrupt, StoreUnavailable
from gobbler.protocol.block import pack
from gobbler.store.filelog.files import Files
from gobbler.store.filelog.segment import FileSegment
from gobbler.store.index import Index
from gobbler.store.live_index import LiveIndex
from gobbler.store.sealed_index import SealedIndex
from tests.store.filelog.faulty import FaultyFiles
from tests.store.model import bulk, selector

BASE = 11


class Bench:
    """A segment with some blocks in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = FaultyFiles()
        self.indexed: list[FileSegment] = []
        self.segment = self.again()
        self.segment.create("foo", 99)
        for number in range(6):
            self.write(number)

    def again(self) -> FileSegment:
        return FileSegment(self.files, str(self.folder), BASE, self.indexed.append)

    def write(self, number: int) -> None:
        segment = self.segment
        next_id = segment.index().next_id
        blocks = list(pack([bulk(f"/foo/{number % 2}", 2, 50)], next_id, 1000 + number))
        buffers = segment.encode(blocks)
        self.files.write(segment.path, buffers, segment.end)
        segment.add(blocks, [len(buffers[0]) + len(buffers[1])])

    def seal(self) -> FileSegment:
        self.segment.sealed = True
        self.segment.save_index()
        return self.again()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.files.close_all()


def facts(index: Index) -> object:
    entries = index.between(selector("/foo/1"), 0, len(index) - 1)
    return index.base, index.end, index.messages, list(index.offsets), list(index.ids), entries


def ids(segment: FileSegment) -> list[int]:
    index = segment.index()
    return [block.first_id if block else 0 for block in segment.load(index, 0, len(index) - 1)]


def test_what_is_added_is_loaded(bench: Bench) -> None:
    assert ids(bench.segment) == [11, 13, 15, 17, 19, 21]
    index = bench.segment.index()
    assert [block.first_id for block in bench.segment.load(index, 2, 4) if block] == [15, 17, 19]
    assert bench.segment.end == Path(bench.segment.path).stat().st_size
    assert bench.segment.begun == 1000


@pytest.mark.parametrize("sealed", [True, False])
def test_an_index_that_was_forgotten_is_had_again(bench: Bench, sealed: bool) -> None:
    segment, before = bench.segment, facts(bench.segment.index())
    segment.sealed = sealed
    segment.forget()
    assert segment.memory == 0
    assert facts(segment.index()) == before
    assert segment.memory > 0
    assert bench.indexed[-1] is segment


def test_an_index_that_was_forgotten_grows_on(bench: Bench) -> None:
    bench.segment.forget()
    next_id = 23
    blocks = list(pack([bulk("/foo/1", 2, 50)], next_id, 1))
    buffers = bench.segment.encode(blocks)
    bench.files.write(bench.segment.path, buffers, bench.segment.end)
    bench.segment.add(blocks, [sum(map(len, buffers))])
    assert ids(bench.segment) == [11, 13, 15, 17, 19, 21, 23]


def test_a_sealed_segment_reads_its_index_from_its_file(bench: Bench) -> None:
    before = facts(bench.segment.index())
    again = bench.seal()
    bench.files.calls.clear()
    index = again.index()
    assert isinstance(index, SealedIndex)
    assert facts(index) == before
    assert bench.files.calls["read"] == 1
    assert ids(again) == [11, 13, 15, 17, 19, 21]
    again.save_index()  # nothing to do
    assert bench.files.calls["create"] == 0


@pytest.mark.parametrize("harm", ["missing", "empty", "flipped", "cut", "noise", "of another segment"])
def test_an_index_that_cannot_be_used_is_made_again(
    bench: Bench, harm: str, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    before = facts(bench.segment.index())
    again = bench.seal()
    path = Path(again.index_path)
    raw = path.read_bytes()
    if harm == "missing":
        path.unlink()
    elif harm == "of another segment":
        (tmp_path / "other").mkdir()
        other = FileSegment(bench.files, str(tmp_path / "other"), 7, bench.indexed.append)
        other.create("foo", 1)
        other.sealed = True
        other.save_index()
        path.write_bytes(Path(other.index_path).read_bytes())
    else:
        flipped = raw[:90] + bytes([raw[90] ^ 1]) + raw[91:]
        path.write_bytes({"empty": b"", "flipped": flipped, "cut": raw[:-1], "noise": bytes(500)}[harm])
    index = again.index()
    assert isinstance(index, LiveIndex)
    assert facts(index) == before
    assert ("made again" in caplog.text) == (harm in ("empty", "flipped", "cut", "noise"))
    assert again.unsaved
    again.save_index()
    assert path.read_bytes() == raw


def test_an_index_that_cannot_be_written_is_not_tried_again(bench: Bench) -> None:
    bench.segment.sealed = True
    wanted = [bench.segment.unsaved]
    bench.files.break_("create")
    with pytest.raises(StoreUnavailable):
        bench.segment.save_index()
    wanted.append(bench.segment.unsaved)
    assert wanted == [True, False]
    assert ids(bench.segment) == [11, 13, 15, 17, 19, 21]


def test_recovering_gives_the_next_id_and_the_same_index(bench: Bench) -> None:
    before = facts(bench.segment.index())
    again = bench.again()
    assert again.recover() == 23
    assert facts(again.index()) == before
    assert (again.end, again.begun, again.sealed) == (bench.segment.end, 1000, False)


def test_recovering_a_segment_that_was_sealed_removes_its_index(bench: Bench) -> None:
    """It grows again: its old index would lack what comes."""
    again = bench.seal()
    again.recover()
    assert not Path(again.index_path).exists()


def test_a_head_of_another_segment_is_refused(bench: Bench) -> None:
    wrong = FileSegment(bench.files, str(bench.folder), BASE + 1, bench.indexed.append)
    Path(bench.segment.path).rename(wrong.path)
    with pytest.raises(StoreCorrupt, match="begins with 11"):
        wrong.recover()


def test_a_file_of_an_unreadable_head_can_hold_what_it_holds_at_least(bench: Bench) -> None:
    assert bench.segment.capacity("foo") >= 12
    empty = FileSegment(bench.files, str(bench.folder), 500, bench.indexed.append)
    empty.create("foo", 1)
    assert empty.capacity("foo") == 0


def test_a_block_that_is_not_the_one_in_the_index_is_left_out(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = LiveIndex(BASE, bench.segment.head.size)
    right = bench.segment.index()
    [block] = bench.segment.load(right, 1, 1)
    assert block is not None
    wrong.add(block, right.offsets[0], right.offsets[1] - right.offsets[0])
    assert list(bench.segment.load(wrong, 0, 0)) == [None]
    assert "it holds the messages 11 to 12" in caplog.text


def test_a_removed_segment_has_nothing_and_reports_nothing(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """Retention may remove what somebody is just reading."""
    index = bench.segment.index()
    again = bench.seal()
    again.remove()
    assert list(bench.folder.iterdir()) == []
    assert len(again.index()) == 0
    assert list(again.load(index, 0, 2)) == [None, None, None]
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


def test_a_segment_shows_its_file(tmp_path: Path) -> None:
    shown = repr(FileSegment(Files(), str(tmp_path), 1, lambda segment: None))
    assert shown == f"<FileSegment {tmp_path}/00000000000000000001.log, 0 bytes>"
