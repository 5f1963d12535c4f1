"""The key-value stores that keep the contract in test_base.py."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gobbler.kvstore.base import KVStore
from gobbler.kvstore.memory import MemoryKVStore
from gobbler.kvstore.sqlite import SQLiteKVStore

STORES: dict[str, Callable[[Path], KVStore]] = {
    "memory": lambda folder: MemoryKVStore(),
    "sqlite": lambda folder: SQLiteKVStore(folder / "kv.db"),
    "sqlite-sync": lambda folder: SQLiteKVStore(folder / "kv.db", sync=True),
}


@pytest.fixture(params=STORES)
def new_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[KVStore]:
    """Every kind of store in turn, not started."""
    store = STORES[request.param](tmp_path)
    yield store
    store.stop(5)


@pytest.fixture
def store(new_store: KVStore) -> KVStore:
    """Every kind of store in turn, started and empty."""
    new_store.start()
    return new_store
