"""The key-value stores that keep the contract in test_base.py."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gobbler.kvstore.base import KVStore
from gobbler.kvstore.memory import MemoryKVStore
from gobbler.kvstore.postgres import PostgresKVStore
from gobbler.kvstore.postgres_connection import Address, be_cooperative
from gobbler.kvstore.sqlite import SQLiteKVStore
from tests.postgres.server import PostgresServer


def in_file(request: pytest.FixtureRequest, sync: bool) -> KVStore:
    folder: Path = request.getfixturevalue("tmp_path")
    return SQLiteKVStore(folder / "kv.db", sync=sync)


STORES: dict[str, Callable[[pytest.FixtureRequest], KVStore]] = {
    "memory": lambda request: MemoryKVStore(),
    "sqlite": lambda request: in_file(request, sync=False),
    "sqlite-sync": lambda request: in_file(request, sync=True),
    "postgres": lambda request: PostgresKVStore(request.getfixturevalue("address")),
}


@pytest.fixture(params=STORES)
def new_store(request: pytest.FixtureRequest) -> Iterator[KVStore]:
    """Every kind of store in turn, not started."""
    store = STORES[request.param](request)
    yield store
    store.stop(5)


@pytest.fixture
def store(new_store: KVStore) -> KVStore:
    """Every kind of store in turn, started and empty."""
    new_store.start()
    return new_store


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server; whoever stops it starts it again."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
def address(postgres: PostgresServer) -> Address:
    """The address of the server, whose database is empty."""
    postgres.sql("DROP TABLE IF EXISTS gobbler_entries, gobbler_layout")
    return postgres.address()


@pytest.fixture
def cooperative() -> None:
    """Connections wait in gevent, as they do once a store has started."""
    be_cooperative()
