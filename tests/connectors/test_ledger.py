"""Entries that are durable before anything goes on, written in groups."""

from collections.abc import Iterator, Mapping

import gevent
import pytest
from gevent.event import Event

from gobbler.connectors import ledger
from gobbler.connectors.ledger import Ledger
from gobbler.errors import KVError
from gobbler.kvstore.memory import MemoryKVStore


class Slow(MemoryKVStore):
    """A store whose writes wait until they may, and fail as often as told."""

    def __init__(self) -> None:
        super().__init__()
        self.may = Event()
        self.failures = 0
        self.groups: list[tuple[dict[str, bytes], list[str]]] = []

    def _write_batch(self, schema: str, puts: dict[str, bytes], deletes: list[str]) -> None:
        self.may.wait()
        if self.failures:
            self.failures -= 1
            raise KVError("it failed")
        self.groups.append((puts, deletes))
        super()._write_batch(schema, puts, deletes)


@pytest.fixture
def store() -> Iterator[Slow]:
    made = Slow()
    made.start()
    yield made
    made.stop(0)


@pytest.fixture
def writer(store: Slow) -> Iterator[Ledger]:
    made = Ledger(store, "s")
    made.start()
    yield made
    store.may.set()
    made.stop(5)


def contents(store: MemoryKVStore) -> Mapping[str, bytes]:
    return dict(store.items("s"))


def test_a_batch_is_durable_when_it_returns(store: Slow, writer: Ledger) -> None:
    store.may.set()
    writer.write_batch({"a": b"1", "b": b"2"}, [])
    writer.put("c", b"3")
    writer.write_batch({"b": b"4"}, ["a", "b"])
    assert contents(store) == {"b": b"4", "c": b"3"}
    assert len(store.groups) == 2


def test_a_batch_is_written_also_when_nothing_else_is(store: Slow) -> None:
    store.may.set()
    idle = Ledger(store, "s")
    idle.write_batch({"a": b"1"}, ["b"])
    assert contents(store) == {"a": b"1"}
    store.failures = 1
    with pytest.raises(KVError, match="it failed"):
        idle.write_batch({"a": b"2"}, [])


def test_a_batch_does_not_wait_for_who_has_stopped(store: Slow, writer: Ledger) -> None:
    waiting = gevent.spawn(writer.write_batch, {"a": b"1"}, [])
    gevent.sleep(0)
    writer.stop(0)
    store.may.set()
    waiting.get(timeout=5)
    assert contents(store) == {"a": b"1"}


def test_a_write_returns_when_it_is_durable(store: Slow, writer: Ledger) -> None:
    waiting = gevent.spawn(writer.write, "k", b"v")
    gevent.sleep(0)
    assert not waiting.ready()
    store.may.set()
    waiting.get(timeout=5)
    assert contents(store) == {"k": b"v"}


def test_what_comes_while_a_group_is_written_is_the_next_group(store: Slow, writer: Ledger) -> None:
    first = gevent.spawn(writer.write, "0", b"v")
    gevent.sleep(0)
    gevent.sleep(0)
    rest = [gevent.spawn(writer.write, str(number), b"v") for number in range(1, 100)]
    gevent.sleep(0)
    store.may.set()
    gevent.joinall([first, *rest], timeout=5, raise_error=True)
    assert [len(puts) for puts, _ in store.groups] == [1, 99]


def test_a_later_write_wins_over_a_delete(store: Slow, writer: Ledger) -> None:
    store.may.set()
    store.put("s", "gone", b"v")
    store.put("s", "kept", b"v")
    writer.delete(["gone", "kept"])
    writer.write("kept", b"new")
    assert contents(store) == {"kept": b"new"}
    writer.delete([])


def test_a_store_that_fails_is_tried_until_it_is_well(
    store: Slow, writer: Ledger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ledger, "RETRY_SECONDS", 0.001)
    store.failures = 5
    store.may.set()
    with gevent.Timeout(5):
        writer.write("k", b"v")
    assert contents(store) == {"k": b"v"}
    assert caplog.messages == ["s: positions cannot be written, trying on: it failed"]


def test_stop_writes_what_waits(store: Slow) -> None:
    writer = Ledger(store, "s")
    writer.start()
    writer.put("k", b"v")
    assert repr(writer) == "<Ledger s, 1 waiting>"
    store.may.set()
    writer.stop(5)
    writer.stop(5)
    assert contents(store) == {"k": b"v"}
