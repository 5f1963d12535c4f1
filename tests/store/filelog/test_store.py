"""All partitions: bounded files and memory, and reading that costs what it returns."""

import time
from pathlib import Path

import gevent
import pytest

from gobbler.errors import StoreUnavailable
from gobbler.protocol.run import Run
from gobbler.store.base import Bounds, Group
from gobbler.store.filelog.store import FileStore
from tests.store.filelog.conftest import Open
from tests.store.filelog.faulty import FaultyFiles, open_descriptors
from tests.store.model import Model, check_all, publish, scanned, selector

SEGMENT_BYTES = 16 << 20


def one_each(store: FileStore, partitions: int, together: int = 1000) -> None:
    """Publish one message to each of many partitions."""
    for start in range(0, partitions, together):
        names = [f"user-{number}" for number in range(start, min(start + together, partitions))]
        results = store.append(
            [Group(name, [Run(f"/{name}".encode(), b"m", b"", [b"\nhello"])]) for name in names]
        )
        assert {getattr(result, "first_id", result) for result in results} == {1}


def check_many_partitions(open_store: Open, partitions: int, seconds: float) -> None:
    with open_descriptors() as more:
        store = open_store(sync_seconds=None, segment_bytes=SEGMENT_BYTES)
        one_each(store, partitions)
    assert more[0] < 1000
    assert len(store._partitions) <= 4096
    store.stop(5)
    with open_descriptors() as more:
        begun = time.monotonic()
        store = open_store(sync_seconds=None, segment_bytes=SEGMENT_BYTES)
        for number in range(0, partitions, max(1, partitions // 1000)):
            assert store.bounds(f"user-{number}") == Bounds(1, 1)
        assert time.monotonic() - begun < seconds
        assert len(store.partitions()) == partitions
    assert more[0] < 1000


def test_many_partitions_need_few_files(open_store: Open) -> None:
    check_many_partitions(open_store, 5000, 10)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_hundred_thousand_partitions(open_store: Open) -> None:
    check_many_partitions(open_store, 100_000, 10)


def users(store: FileStore, messages: int, people: int, together: int = 500) -> None:
    """Publish messages of a burst at a time, round robin to `/user/<n>`."""
    for start in range(0, messages, together):
        runs = [
            Run(b"/user/%d" % (number % people), b"m", b"", [b"\nmessage %d" % number])
            for number in range(start, start + together)
        ]
        store.append([Group("user", runs)])


def check_newest_of_one_user(store: FileStore, files: FaultyFiles, messages: int, people: int) -> None:
    """The newest 20 of one user are read from 20 blocks, not from all."""
    wanted, path = selector("/user/42"), b"/user/42,"
    store.count("user", wanted, 1, messages)  # the indexes are in memory now
    files.calls.clear()
    files.read_bytes = 0
    first = store.newest("user", wanted, 20, messages)
    assert store.count("user", wanted, first, messages) == 20
    pages = scanned(store, "user", wanted, first, messages)
    assert sum(page.number for page in pages) == 20
    assert b"".join(page.frames for page in pages).count(path) == 20
    # Message n, counted from 0, has the id n + 1 and goes to user n % people.
    assert first == messages - 20 * people + 42 + 1
    assert files.calls["read"] <= 25
    assert files.read_bytes <= 25 * 120_000


def check_reopening(open_store: Open, messages: int, seconds: float) -> None:
    begun = time.monotonic()
    store = open_store(segment_bytes=SEGMENT_BYTES)
    assert store.bounds("user") == Bounds(1, messages)
    assert time.monotonic() - begun < seconds


def test_a_subtopic_costs_what_it_returns(open_store: Open) -> None:
    files = FaultyFiles()
    store = open_store(segment_bytes=1 << 20, files=files)
    users(store, 60_000, 1000)
    assert len(store.partition("user").segments) > 2
    check_newest_of_one_user(store, files, 60_000, 1000)
    check_reopening(open_store, 60_000, 10)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_subtopic_of_a_million_messages_costs_what_it_returns(open_store: Open) -> None:
    files = FaultyFiles()
    store = open_store(segment_bytes=SEGMENT_BYTES, files=files)
    users(store, 1_000_000, 10_000)
    check_newest_of_one_user(store, files, 1_000_000, 10_000)
    store.stop(5)
    check_reopening(open_store, 1_000_000, 2)


def test_a_whole_partition_is_read_with_few_calls(open_store: Open) -> None:
    files = FaultyFiles()
    store = open_store(segment_bytes=SEGMENT_BYTES, files=files)
    users(store, 50_000, 100)
    files.calls.clear()
    files.read_bytes = 0
    pages = scanned(store, "user", selector("/user"), 1, 50_000)
    size = sum(len(page.frames) for page in pages)
    assert files.calls["read"] <= size // (1 << 18) + 6
    assert files.read_bytes < 2 * size
    assert store.count("user", selector("/user"), 1, 50_000) == 50_000
    assert store.newest("user", selector("/user"), 777, 50_000) == 49_224


def test_partitions_that_are_let_go_are_opened_again(
    open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gobbler.store.filelog.store.OPEN_PARTITIONS", 3)
    store, model = open_store(), Model()
    for number in range(40):
        publish(store, model, f"/p{number * 7 % 10}", "x" * 200)
        assert len(store.loaded()) <= 3
    check_all(store, model)
    assert set(store._memory._sizes) <= {segment for one in store.loaded() for segment in one.segments}


def test_a_scan_survives_that_its_partition_is_let_go(
    open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gobbler.store.filelog.store.OPEN_PARTITIONS", 1)
    store, model = open_store(), Model()
    for _ in range(9):
        publish(store, model, "/foo", "x" * 200)
    pages = store.scan("foo", selector("/foo"), 1, 9, 1)
    read = [next(pages)]
    for page in pages:
        publish(store, model, "/bar", "y")
        publish(store, model, "/foo", "y" * 200)
        read.append(page)
    assert b"".join(page.frames for page in read) == b"".join(
        message.frame for message in model.messages["foo"][:9]
    )
    check_all(store, model)


def test_others_folders_and_a_damaged_one_are_left_out_of_the_names(
    open_store: Open, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store, model = open_store(), Model()
    for name in ("foo", "x" * 300, "y" * 300):
        publish(store, model, f"/{name}", "1")
    (folder / "lost+found").mkdir()
    (folder / "=").mkdir()
    (folder / "a file").touch()
    log = Path(store.partition("y" * 300).segments[0].path)
    log.write_bytes(b"damaged" + log.read_bytes()[7:])
    assert sorted(store.partitions()) == ["foo", "x" * 300]
    assert log.name in caplog.text


def test_the_folder_must_be_possible(tmp_path: Path) -> None:
    store = FileStore(str(tmp_path / "no" / "parent"))
    with pytest.raises(StoreUnavailable, match="No such file"):
        store.start()
    with pytest.raises(StoreUnavailable, match="not open"):
        store.check()


def test_one_write_a_partition_for_all_that_is_appended_together(open_store: Open) -> None:
    files = FaultyFiles()
    store = open_store(segment_bytes=SEGMENT_BYTES, files=files)
    users(store, 1000, 10, together=1000)
    files.calls.clear()
    users(store, 5000, 10, together=5000)
    assert files.calls == {"write": 1}


def test_a_store_shows_how_many_partitions_are_open(open_store: Open, folder: Path) -> None:
    store = open_store()
    publish(store, Model(), "/foo", "1")
    assert repr(store) == f"<FileStore {folder}, 1 partitions open>"


def test_opening_costs_no_more_than_the_newest_segment(open_store: Open) -> None:
    store, model = open_store(segment_bytes=100_000), Model()
    for _ in range(60):
        publish(store, model, "/foo", "x" * 10_000)
    store.stop(5)
    files = FaultyFiles()
    store = open_store(segment_bytes=100_000, files=files)
    assert store.bounds("foo") == Bounds(1, 60)
    assert files.read_bytes < 130_000


def test_many_names_are_listed_in_turns(open_store: Open, tmp_path: Path) -> None:
    store = open_store()
    folder = tmp_path / "messages"
    for number in range(2500):
        (folder / f"user-{number}").mkdir()
    turns: list[int] = []

    def others() -> None:
        for number in range(2):
            turns.append(number)
            gevent.sleep(0)

    watch = gevent.spawn(others)
    assert len(store.partitions()) == 2500
    assert turns == [0, 1], "others had their turns meanwhile"
    watch.join()
