"""What may go, and how its absence is told."""

import logging
import os
from collections.abc import Sequence

import pytest

from gobbler.store.base import Bounds, Committed, Group
from gobbler.store.filelog.partition import Partition
from gobbler.store.filelog.retention import Retention
from gobbler.store.filelog.store import FileStore
from tests.store.filelog.conftest import Open
from tests.store.filelog.faulty import FaultyFiles
from tests.store.model import Model, append, gaps, joined, publish, run, scanned, selector

NOW = 1_700_000_000


def filled(open_store: Open, files: FaultyFiles | None = None) -> tuple[FileStore, Partition, Model]:
    """Six segments of two messages, 600 to 1,000 bytes each."""
    model = Model()
    store = open_store(clock=lambda: NOW, files=files)
    for _ in range(12):
        publish(store, model, "/foo", "x" * 300)
    partition = store.partition("foo")
    assert [segment.base for segment in partition.segments] == [1, 3, 5, 7, 9, 11]
    return store, partition, model


def written_at(partition: Partition, times: Sequence[float]) -> None:
    for segment, time in zip(partition.segments, times, strict=False):
        os.utime(segment.path, (time, time))


def test_without_limits_everything_stays(open_store: Open) -> None:
    _, partition, _ = filled(open_store)
    assert Retention().enforce(partition, NOW * 2) == 0
    assert len(partition.segments) == 6


def test_segments_whose_last_write_is_too_old_go(open_store: Open) -> None:
    store, partition, model = filled(open_store)
    written_at(partition, [NOW - 90, NOW - 70, NOW - 60, NOW - 90, NOW, NOW])
    assert Retention(age=60).enforce(partition, NOW) == 2  # the fourth has to wait for the third
    assert store.bounds("foo") == Bounds(5, 12)
    pages = scanned(store, "foo", selector("/foo"), 1, 12)
    assert gaps(pages) == [(1, 4)]
    assert b"".join(page.frames for page in pages) == joined(model.messages["foo"][4:])
    assert gaps(scanned(store, "foo", selector("/foo"), 2, 3)) == [(2, 3)]
    assert store.count("foo", selector("/foo"), 1, 12) == 8
    assert store.newest("foo", selector("/foo"), 20, 12) == 5


def test_the_newest_segment_is_sealed_when_its_first_message_is_too_old(open_store: Open) -> None:
    store, partition, model = filled(open_store)
    keep = Retention(age=60)
    written_at(partition, [NOW + 50] * 6)
    assert keep.enforce(partition, NOW + 60) == 0
    assert len(partition.segments) == 6
    assert keep.enforce(partition, NOW + 61) == 0  # sealed: written to a moment ago
    assert len(partition.segments) == 7
    assert keep.enforce(partition, NOW + 111) == 6
    assert store.bounds("foo") == Bounds(13, 12)
    assert keep.enforce(partition, NOW + 999) == 0  # what has no messages is not sealed
    assert len(partition.segments) == 1
    assert gaps(scanned(store, "foo", selector("/foo"), 1, 12)) == [(1, 12)]
    publish(store, model, "/foo", "the ids go on")
    store = open_store()
    assert store.bounds("foo") == Bounds(13, 13)


def test_a_partition_that_was_opened_again_is_sealed_too(open_store: Open) -> None:
    filled(open_store)
    partition = open_store().partition("foo")
    written_at(partition, [NOW] * 6)
    assert Retention(age=60).enforce(partition, NOW + 61) == 6


def test_a_clock_that_jumps_back_removes_nothing(open_store: Open) -> None:
    _, partition, _ = filled(open_store)
    assert Retention(age=60).enforce(partition, NOW - 1_000_000) == 0
    assert len(partition.segments) == 6


def test_the_oldest_go_while_enough_is_left_without_them(open_store: Open) -> None:
    store, partition, _ = filled(open_store)
    sizes = [segment.end for segment in partition.segments]
    assert Retention(size=sum(sizes[1:]) + 1).enforce(partition, NOW) == 0
    assert Retention(size=sum(sizes[1:])).enforce(partition, NOW) == 1
    assert Retention(size=sizes[5] + 1).enforce(partition, NOW) == 3
    assert Retention(size=1).enforce(partition, NOW) == 1  # never the newest
    assert store.bounds("foo") == Bounds(11, 12)


def test_nothing_is_sealed_under_a_write_that_is_not_committed(open_store: Open) -> None:
    store, partition, model = filled(open_store)
    publish(store, model, "/foo", "x")
    newest = partition.segments[-1]
    written = partition.write([run("/foo", "y")], NOW)
    written_at(partition, [NOW] * 7)
    assert Retention(age=60).enforce(partition, NOW + 100) == 6
    assert partition.segments == [newest]
    assert not newest.sealed
    written.commit()
    assert store.bounds("foo") == Bounds(13, 14)


def test_a_segment_that_cannot_be_removed_stays_and_is_said(
    open_store: Open, caplog: pytest.LogCaptureFixture
) -> None:
    files = FaultyFiles()
    store, partition, _ = filled(open_store, files)
    files.break_("remove")
    assert Retention(size=1).enforce(partition, NOW) == 0
    assert "cannot remove old messages of partition foo" in caplog.text
    assert store.bounds("foo") == Bounds(1, 12)
    files.mend()
    assert Retention(size=1).enforce(partition, NOW) == 5


def test_what_goes_while_it_is_read_is_a_gap(open_store: Open, caplog: pytest.LogCaptureFixture) -> None:
    store, partition, model = filled(open_store)
    caplog.set_level(logging.WARNING)
    pages = store.scan("foo", selector("/foo"), 1, 12, 1)
    read = [next(pages), next(pages)]
    assert Retention(size=1).enforce(partition, NOW) == 5
    read += pages
    missing = {id for first, last in gaps(read) for id in range(first, last + 1)}
    got = b"".join(page.frames for page in read)
    assert missing
    assert got == joined([message for message in model.messages["foo"] if message.id not in missing])
    assert read[-1].next_id == 13
    assert caplog.records == []


def test_ids_go_on_in_a_partition_that_was_emptied(open_store: Open) -> None:
    store, partition, _ = filled(open_store)
    written_at(partition, [NOW - 99] * 6)
    assert Retention(age=60).enforce(partition, NOW + 61) == 6
    [result] = store.append([Group("foo", [run("/foo", "x")])])
    assert isinstance(result, Committed)
    assert result.first_id == 13
    assert append(store, Model(), Group("bar", [run("/bar", "x")])) == [True]
