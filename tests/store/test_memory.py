"""What only the store in memory does: it forgets the oldest, and remembers its ids."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest
from gevent.event import Event

from gobbler.errors import KVError, StoreUnavailable
from gobbler.kvstore.base import KVStore
from gobbler.kvstore.memory import MemoryKVStore
from gobbler.kvstore.sqlite import SQLiteKVStore
from gobbler.store.base import Bounds, Committed, Group, MessageStore
from gobbler.store.memory import RESERVED, MemoryStore
from tests.store.model import Model, append, bulk, gaps, joined, publish, run, scanned, selector

LIMIT = 256 * 1024


@pytest.fixture
def kvstore(tmp_path: Path) -> Iterator[KVStore]:
    """One that keeps what it is told."""
    kvstore = SQLiteKVStore(tmp_path / "kv.sqlite")
    kvstore.start()
    yield kvstore
    kvstore.stop(5)


def opened(kvstore: KVStore, limit: int = LIMIT) -> MemoryStore:
    store = MemoryStore(limit, kvstore)
    store.start()
    return store


@pytest.fixture
def store() -> MemoryStore:
    kvstore = MemoryKVStore()
    kvstore.start()
    return opened(kvstore)


def first_of(store: MessageStore, path: str, *bodies: str) -> int:
    [result] = store.append([Group(path[1:], [run(path, *bodies)])])
    assert isinstance(result, Committed)
    return result.first_id


def test_the_oldest_messages_go_and_are_a_gap(store: MemoryStore) -> None:
    model = Model()
    for _ in range(600):
        publish(store, model, "/foo", "x" * 1000)
    first, last = store.bounds("foo")
    assert 300 < first < 600
    assert last == 600
    pages = scanned(store, "foo", selector("/foo"), 1, 600)
    assert gaps(pages) == [(1, first - 1)]
    assert b"".join(page.frames for page in pages) == joined(model.messages["foo"][first - 1 :])
    assert store.count("foo", selector("/foo"), 1, 600) == 601 - first
    assert store.newest("foo", selector("/foo"), 1000, 600) == first


def test_the_oldest_of_all_partitions_go(store: MemoryStore) -> None:
    model = Model()
    publish(store, model, "/old", "x")
    for _ in range(600):
        publish(store, model, "/foo", "x" * 1000)
    assert store.bounds("old") == Bounds(2, 1)
    assert gaps(scanned(store, "old", selector("/old"), 1, 1)) == [(1, 1)]
    publish(store, model, "/old", "the ids go on")
    assert store.bounds("old") == Bounds(2, 2)


def test_the_newest_message_stays_however_large(store: MemoryStore) -> None:
    model = Model()
    publish(store, model, "/foo", "x")
    publish(store, model, "/foo", "x" * 2 * LIMIT)
    assert store.bounds("foo").last == 2
    assert sum(page.number for page in scanned(store, "foo", selector("/foo"), 2, 2)) == 1


def test_a_scan_that_has_begun_keeps_what_it_reads(store: MemoryStore) -> None:
    model = Model()
    for _ in range(100):
        publish(store, model, "/foo", "x" * 1000)
    first = store.bounds("foo").first
    pages = store.scan("foo", selector("/foo"), first, 100, 1)
    read = [next(pages).frames]
    for _ in range(500):
        publish(store, model, "/foo", "y" * 1000)
    read += [page.frames for page in pages]
    assert b"".join(read) == joined(model.messages["foo"][first - 1 : 100])


@pytest.mark.parametrize(
    "shape", ["one partition", "many partitions", "many paths", "many messages", "large"]
)
def test_memory_is_bounded(shape: str) -> None:
    kvstore = MemoryKVStore()
    kvstore.start()
    store = opened(kvstore, 2 << 20)
    tracemalloc.start()
    for number in range(3000):
        name = f"p{number}" if shape == "many partitions" else "foo"
        path = f"/foo/{number}" if shape == "many paths" else f"/{name}"
        size = {"large": 2000, "many messages": 2}.get(shape, 100)
        store.append([Group(name, [bulk(path, 40 if shape == "many messages" else 1, size)])])
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    names = 3000 * 1500 if shape == "many partitions" else 0  # each name and where its ids stand is kept
    assert taken < 2 * (2 << 20) + names


def test_ids_go_on_after_a_stop(kvstore: KVStore) -> None:
    store = opened(kvstore)
    assert first_of(store, "/foo", "1", "2", "3") == 1
    store.stop(5)
    store = opened(kvstore)
    assert store.bounds("foo") == Bounds(4, 3)
    assert gaps(scanned(store, "foo", selector("/foo"), 1, 3)) == [(1, 3)]
    assert store.partitions() == ["foo"]
    assert first_of(store, "/foo", "4") == 4


def test_ids_go_on_behind_the_reserved_ones_after_a_crash(kvstore: KVStore) -> None:
    store, last = opened(kvstore), 0
    for _ in range(3):
        last = first_of(store, "/foo", *["x"] * 5000) + 4999
    store = opened(kvstore)  # the one before is only forgotten
    first = first_of(store, "/foo", "x")
    assert last < first <= last + 2 * RESERVED
    assert store.bounds("foo") == Bounds(first, first)
    again = first_of(opened(kvstore), "/foo", "x")
    assert again > first


def test_ids_are_reserved_many_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    kvstore = MemoryKVStore()
    kvstore.start()
    store, puts = opened(kvstore), []
    put = kvstore.put

    def counted(schema: str, key: str, value: bytes) -> None:
        puts.append(value)
        put(schema, key, value)

    monkeypatch.setattr(kvstore, "put", counted)
    for _ in range(RESERVED + 1):
        first_of(store, "/foo", "x")
    assert puts == [b"%d" % (1 + RESERVED)]
    first_of(store, "/foo", "x")
    assert len(puts) == 2


class Slow(MemoryKVStore):
    """Takes its time for one operation."""

    def __init__(self, operation: str) -> None:
        super().__init__()
        self.start()
        self.operation = operation
        self.entered, self.go_on = Event(), Event()

    def _wait(self, operation: str) -> None:
        if operation == self.operation:
            self.entered.set()
            assert self.go_on.wait(10)

    def _get(self, schema: str, key: str) -> bytes | None:
        found = super()._get(schema, key)
        self._wait("get")
        return found

    def _put(self, schema: str, key: str, value: bytes) -> None:
        super()._put(schema, key, value)
        self._wait("put")


def test_messages_that_come_while_the_ids_are_asked_for_are_seen() -> None:
    kvstore = Slow("get")
    store = opened(kvstore)
    reading = gevent.spawn(store.bounds, "foo")
    assert kvstore.entered.wait(10)
    kvstore.operation = ""
    assert first_of(store, "/foo", "1") == 1
    kvstore.go_on.set()
    assert reading.get(timeout=10) == Bounds(1, 1)


def test_nothing_is_stored_after_a_stop_that_came_while_ids_were_reserved() -> None:
    kvstore = Slow("put")
    store, told = MemoryStore(LIMIT, kvstore), []
    store.listen(lambda partition, blocks: told.append(partition))
    store.start()
    publishing = gevent.spawn(store.append, [Group("foo", [run("/foo", "x")])])
    assert kvstore.entered.wait(10)
    store.stop(5)
    kvstore.go_on.set()
    [refused] = publishing.get(timeout=10)
    assert isinstance(refused, StoreUnavailable)
    assert told == []


def test_what_the_key_value_store_cannot_do_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    kvstore = MemoryKVStore()
    kvstore.start()
    store = opened(kvstore)
    model = Model()
    publish(store, model, "/foo", "x")
    kvstore.stop(5)
    publish(store, model, "/foo", "there are ids left")
    [refused] = store.append([Group("bar", [run("/bar", "x")])])
    assert isinstance(refused, StoreUnavailable)
    with pytest.raises(StoreUnavailable, match="cannot read the ids"):
        store.bounds("bar")
    with pytest.raises(StoreUnavailable, match="cannot read the names"):
        store.partitions()
    with pytest.raises(KVError):
        store.stop(5)  # the ids that were used could not be noted
    assert append(store, model, Group("foo", [run("/foo", "x")])) == [False]
