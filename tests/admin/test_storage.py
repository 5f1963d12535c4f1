"""How much is kept."""

import time
from pathlib import Path

import gevent
import pytest
from gevent.event import Event

from gobbler.admin import storage
from gobbler.admin.storage import Measured, Volume
from gobbler.config import load
from gobbler.store.memory import MemoryStore
from tests.admin.asking import Asker
from tests.websocket.rig import file_store, memory_store, world


def looked(volume: Volume) -> Measured:
    """Return what is there, however long a thread takes to begin."""
    with gevent.Timeout(10):
        while (found := volume.look()) is None:
            gevent.sleep(0.001)
    return found


def test_a_store_in_files(tmp_path: Path) -> None:
    with world(file_store(tmp_path / "log")) as there:
        for name in (b"/a", b"/b", b"/b/c"):
            there.store_messages(name, b"x" * 1000)
        found = looked(Volume(there.store, tmp_path))
        size = there.store.size("a") + there.store.size("b")
        assert (found.partitions, found.bytes, found.error) == (2, size, None)
        assert found.disk_size is not None
        assert found.disk_free is not None
        assert found.disk_size > found.disk_free > 0
        assert abs(found.time - time.time()) < 10


def test_a_store_in_memory() -> None:
    with world(memory_store()) as there:
        there.store_messages(b"/a", b"x" * 1000)
        found = looked(Volume(there.store, None))
        assert found == Measured(found.time, 1, there.store.size("a"))


def test_a_store_that_is_closed_and_a_folder_that_is_gone(tmp_path: Path) -> None:
    store = memory_store()
    found = looked(Volume(store, tmp_path / "gone"))
    assert found._replace(time=0) == Measured(0, error="the message store cannot be read now")


class Slow(MemoryStore):
    """A store that takes its time to tell the names."""

    def __init__(self) -> None:
        super().__init__(1 << 20, memory_store()._kvstore)
        self.asked = 0
        self.goes_on = Event()

    def partitions(self) -> list[str]:
        self.asked += 1
        self.goes_on.wait(10)
        return []


def test_one_measures_however_many_ask_and_none_waits_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Slow()
    volume = Volume(store, None)
    begun = time.monotonic()
    asking = [gevent.spawn(volume.look) for _ in range(10)]
    gevent.joinall(asking, timeout=10)
    assert [one.value for one in asking] == [None] * 10
    assert (store.asked, time.monotonic() - begun < 5) == (1, True)
    store.goes_on.set()
    first = looked(volume)
    assert (store.asked, volume.look()) == (1, first), "it took long, so it is not done again soon"
    volume._again = 0.0
    assert volume.look() == first, "until there is something newer, there is this"
    with gevent.Timeout(10):
        while volume.look() == first:
            gevent.sleep(0.001)
    assert store.asked == 2


def test_what_the_options_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "WAIT_SECONDS", 10)
    with world(memory_store()) as there:
        options = {"storage_path": str(tmp_path), "retention_age": "7d", "fsync": "always"}
        found = Asker(storage.blueprint(load(options, {}), there.store)).get("/storage")
        measured = found.pop("measured")
        assert (measured["partitions"], measured["bytes"], measured["diskSize"] > 0) == (0, 0, True)
        assert found == {
            "messages": "file",
            "keys": "file",
            "path": str(tmp_path),
            "fsync": 0.0,
            "segmentBytes": 16 << 20,
            "retentionAge": 7 * 86400.0,
            "retentionBytes": None,
            "memoryBytes": None,
        }
        in_memory = load({"ms": "memory", "kvs": "memory"}, {})
        found = Asker(storage.blueprint(in_memory, there.store)).get("/storage")
        assert (found["path"], found["measured"]["diskSize"]) == (None, None)
        assert (found["messages"], found["memoryBytes"], found["fsync"]) == ("memory", 64 << 20, None)
