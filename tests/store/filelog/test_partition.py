"""A partition by itself: rolling, cutting back, dropping (its failures: test_faults.py)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gobbler.errors import StoreUnavailable
from gobbler.store.filelog.memory import IndexMemory
from gobbler.store.filelog.partition import Partition
from tests.store.filelog.faulty import FaultyFiles
from tests.store.model import bulk, run


@pytest.fixture
def files() -> Iterator[FaultyFiles]:
    files = FaultyFiles()
    yield files
    files.close_all()


@pytest.fixture
def memory() -> IndexMemory:
    return IndexMemory(1 << 20)


@pytest.fixture
def partition(files: FaultyFiles, memory: IndexMemory, tmp_path: Path) -> Partition:
    partition = Partition(files, str(tmp_path), "foo", 500, memory)
    partition.open()
    return partition


def write(partition: Partition, number: int = 1, size: int = 20) -> None:
    partition.write([bulk("/foo", number, size)], 1).commit()


def bases(partition: Partition) -> list[int]:
    return [segment.base for segment in partition.segments]


def test_a_new_partition_has_no_files_until_something_is_written(
    partition: Partition, tmp_path: Path
) -> None:
    assert (partition.first_id, partition.last_id) == (1, 0)
    assert list(tmp_path.iterdir()) == []
    write(partition)
    assert [path.name for path in tmp_path.glob("*/*")] == ["00000000000000000001.log"]
    assert (partition.first_id, partition.last_id) == (1, 1)
    assert repr(partition) == "<Partition foo, next id 2>"


def test_a_segment_is_sealed_when_it_is_large_enough(partition: Partition) -> None:
    for _ in range(9):
        write(partition, 2, 80)
    assert bases(partition) == [1, 5, 9, 13, 17]
    assert [segment.sealed for segment in partition.segments] == [True] * 4 + [False]
    assert all(segment.end >= 500 for segment in partition.segments[:-1])


def test_one_write_for_several_blocks(partition: Partition, files: FaultyFiles) -> None:
    write(partition)
    files.calls.clear()
    written = partition.write([bulk("/foo", 10, 9000) for _ in range(5)], 1)
    assert len(written.blocks) > 1
    assert files.calls["write"] == 1
    written.commit()
    assert partition.next_id == 52


def test_nothing_is_visible_before_the_commit(partition: Partition) -> None:
    write(partition)

    def seen() -> tuple[bool, int, int]:
        return partition.pinned, partition.last_id, partition.segments[-1].index().next_id

    written = partition.write([run("/foo", "x")], 1)
    assert seen() == (True, 1, 2)
    written.commit()
    assert seen() == (False, 2, 3)


def test_what_is_revoked_is_not_in_the_file(partition: Partition) -> None:
    write(partition)
    path = Path(partition.segments[-1].path)
    before = path.read_bytes()
    written = partition.write([run("/foo", "x")], 1)
    assert path.stat().st_size > len(before)
    written.revoke()
    assert path.read_bytes() == before
    assert not partition.pinned
    write(partition)
    assert partition.last_id == 2


def test_a_segment_without_messages_is_not_rolled(partition: Partition) -> None:
    write(partition)
    first = partition.roll()
    assert partition.roll() is first
    assert bases(partition) == [1, 2]


def test_rolling_that_fails_changes_nothing(partition: Partition, files: FaultyFiles) -> None:
    write(partition)
    files.break_("create")
    with pytest.raises(StoreUnavailable):
        partition.roll()
    assert bases(partition) == [1]
    assert not partition.segments[0].sealed
    files.mend()
    write(partition)
    assert partition.last_id == 2


def test_the_oldest_segment_is_dropped_with_its_index(
    partition: Partition, memory: IndexMemory, tmp_path: Path
) -> None:
    for _ in range(4):
        write(partition, 2, 200)
    first = partition.segments[0]
    first.save_index()
    held = partition.segments
    partition.drop_first()
    assert (bases(partition), partition.first_id) == ([3, 5, 7], 3)
    assert len(held) == 4  # whoever is reading keeps the old list
    assert first not in memory.unsaved()
    assert not list(tmp_path.glob("*/00000000000000000001.*"))


def test_opening_finds_what_was_committed(
    partition: Partition, files: FaultyFiles, memory: IndexMemory, tmp_path: Path
) -> None:
    for _ in range(4):
        write(partition, 2, 200)
    (tmp_path / "foo" / "notes.txt").touch()  # others' files are left alone
    again = Partition(files, str(tmp_path), "foo", 500, memory)
    again.open()
    assert (bases(again), again.next_id) == (bases(partition), partition.next_id)
    write(again)
    assert again.last_id == 9
