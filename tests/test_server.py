"""The composition root: what is made for which options, and what stays when a start fails."""

import os
import socket
from pathlib import Path

import pytest

from gobbler.config import Config, load
from gobbler.errors import ListenError, StoreUnavailable
from gobbler.kvstore.memory import MemoryKVStore
from gobbler.kvstore.sqlite import SQLiteKVStore
from gobbler.server import Server
from gobbler.store.filelog.store import FileStore
from gobbler.store.memory import MemoryStore


def config(folder: Path, **options: str) -> Config:
    return load({"storage_path": str(folder), "http": "127.0.0.1:0"} | options, {})


@pytest.mark.parametrize("ms", ["memory", "file"])
@pytest.mark.parametrize("kvs", ["memory", "file"])
def test_the_stores_that_were_asked_for(tmp_path: Path, ms: str, kvs: str) -> None:
    folder = tmp_path / "data"
    server = Server(config(folder, ms=ms, kvs=kvs))
    assert isinstance(server.store, MemoryStore if ms == "memory" else FileStore)
    assert isinstance(server.kvstore, MemoryKVStore if kvs == "memory" else SQLiteKVStore)
    assert not folder.exists(), "a constructor starts nothing"
    server.start()
    assert server.health.run() == {}
    files = {entry.name for entry in folder.iterdir()} if folder.exists() else set()
    assert ("messages" in files, "kv.sqlite" in files) == (ms == "file", kvs == "file")
    assert ("lock" in files) == ("file" in (ms, kvs))
    server.stop(5)
    server.stop(5)


def test_without_websockets_there_is_no_gateway(tmp_path: Path) -> None:
    assert Server(config(tmp_path, ws="off")).gateway is None


def test_a_server_without_a_listener_is_a_wsgi_application(tmp_path: Path) -> None:
    server = Server(config(tmp_path, ms="memory", kvs="memory"), listen=False)
    assert server.listener is None
    answers = server.app.flask.test_client().get("/api/")
    assert (answers.status_code, answers.data) == (200, b"Gobbler\n")


def test_a_failed_start_leaves_nothing_open(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        server = Server(config(tmp_path / "data", http=address))
        with pytest.raises(ListenError):
            server.start()
    open_files = [os.readlink(f"/proc/self/fd/{number}") for number in _descriptors()]
    assert not [name for name in open_files if name.startswith(str(tmp_path))]
    again = Server(config(tmp_path / "data"))
    again.start()
    again.stop(5)


def _descriptors() -> list[str]:
    return [number for number in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{number}")]


def test_a_path_that_cannot_be_used_opens_nothing(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        Server(config(tmp_path / "no" / "such")).start()
    assert list(tmp_path.iterdir()) == []


def test_a_profile_is_written_when_the_server_stops(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    server = Server(config(folder, ms="memory", kvs="memory", profile="mem"))
    server.start()
    server.stop(5)
    assert [entry.name for entry in folder.iterdir() if "mem" in entry.name]
