"""The kinds of message stores that keep the contract in test_base.py."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from gobbler.kvstore.base import KVStore
from gobbler.kvstore.memory import MemoryKVStore
from gobbler.kvstore.sqlite import SQLiteKVStore
from gobbler.store.base import MessageStore
from gobbler.store.filelog.store import FileStore
from gobbler.store.memory import MemoryStore

SMALL_SEGMENT = 600


class Kind(NamedTuple):
    """How to make a store and the key-value store below it; `durable`: it keeps messages over a restart."""

    kvstore: Callable[[Path], KVStore]
    store: Callable[[Path, KVStore], MessageStore]
    durable: bool = False


def _no_kvstore(folder: Path) -> KVStore:
    return MemoryKVStore()


def _sqlite(folder: Path) -> KVStore:
    return SQLiteKVStore(folder / "kv.sqlite")


def _memory(folder: Path, kvstore: KVStore) -> MessageStore:
    return MemoryStore(64 << 20, kvstore)


def _small_memory(folder: Path, kvstore: KVStore) -> MessageStore:
    store = MemoryStore(64 << 20, kvstore)
    store._segment_bytes = SMALL_SEGMENT  # many segments, but nothing is forgotten
    return store


def _file(sync_seconds: float | None, segment_bytes: int) -> Callable[[Path, KVStore], MessageStore]:
    def make(folder: Path, kvstore: KVStore) -> MessageStore:
        return FileStore(str(folder / "messages"), sync_seconds=sync_seconds, segment_bytes=segment_bytes)

    return make


KINDS = {
    "memory": Kind(_no_kvstore, _memory),
    "memory-sqlite": Kind(_sqlite, _small_memory),
    "file-always": Kind(_no_kvstore, _file(0, 64 * 1024), durable=True),
    "file-1": Kind(_no_kvstore, _file(1.0, SMALL_SEGMENT), durable=True),
    "file-never": Kind(_no_kvstore, _file(None, SMALL_SEGMENT), durable=True),
}


class Opened:
    """A store of a kind over a folder, started; it can be stopped and started over the same folder."""

    def __init__(self, kind: Kind, folder: Path) -> None:
        self.kind = kind
        self.folder = folder
        self.told: list[tuple[str, bytes]] = []
        self.start()

    def start(self) -> None:
        self.kvstore = self.kind.kvstore(self.folder)
        self.kvstore.start()
        self.store = self.kind.store(self.folder, self.kvstore)
        self.store.listen(
            lambda partition, blocks: self.told.append((partition, b"".join(b.frames for b in blocks)))
        )
        self.store.start()

    def stop(self) -> None:
        self.store.stop(5)
        self.kvstore.stop(5)

    def restart(self) -> MessageStore:
        self.stop()
        self.start()
        return self.store
