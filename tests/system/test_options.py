"""Options whose effect shows only in a whole server; those of pages are in tests/admin."""

from pathlib import Path

import pytest

from tests.system.client import Client
from tests.system.server import ServerProcess, eventually

KIB = 1024


def segments(server: ServerProcess) -> list[str]:
    return sorted(path.name for path in server.folder.glob("messages/*/*.log"))


def publish(server: ServerProcess, count: int) -> None:
    with Client(server.port) as client:
        client.publish(b"/foo", [b"x" * KIB] * count, window=10)


def first_kept(server: ServerProcess, count: int) -> int:
    """Ask for everything; return the first id that comes, behind the gap that is told."""
    with Client(server.port) as client:
        client.send(b"+ /foo 1")
        while not (payload := client.next()).startswith(b"/foo,"):
            if payload.startswith(b"!error-gap /foo "):
                first, last = map(int, payload.split()[2:])
        kept = int(payload.split(b",")[1])
        assert (first, last) == (1, kept - 1)
        client.take(kept + 1, count)
        return kept


def test_segment_bytes(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", "--segment-bytes", "64KiB") as server:
        publish(server, 300)
        assert 4 <= len(segments(server)) <= 6


def test_retention_bytes(tmp_path: Path) -> None:
    options = ("--segment-bytes", "64KiB", "--retention-bytes", "130KiB")
    with ServerProcess(tmp_path / "data", *options) as server:
        publish(server, 500)
        deadline = eventually()
        while len(segments(server)) > 3:
            deadline.again()
        assert first_kept(server, 500) > 250


def test_retention_age(tmp_path: Path) -> None:
    options = ("--segment-bytes", "64KiB", "--retention-age", "1s")
    with ServerProcess(tmp_path / "data", *options) as server:
        publish(server, 500)
        deadline = eventually()
        while len(segments(server)) > 1:
            deadline.again()
        publish(server, 1)
        assert first_kept(server, 501) > 250


def test_ms_memory_bytes(tmp_path: Path) -> None:
    options = ("--ms", "memory", "--ms-memory-bytes", "1MiB", "--kvs", "memory")
    with ServerProcess(tmp_path / "data", *options) as server:
        publish(server, 3000)
        assert 1500 < first_kept(server, 3000) < 2500


def test_a_memory_store_goes_on_with_its_ids_after_a_restart(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data", "--ms", "memory")
    with server:
        publish(server, 5)
        assert server.stop() == 0
    with server, Client(server.port) as client:
        assert client.publish(b"/foo", [b"x"])[0] > 5


@pytest.mark.parametrize("fsync", ["always", "0.1", "never"])
def test_fsync(tmp_path: Path, fsync: str) -> None:
    server = ServerProcess(tmp_path / "data", "--fsync", fsync)
    with server:
        publish(server, 20)
        assert server.json("/admin/healthcheck") == {}
        assert server.stop() == 0
    with server, Client(server.port) as client:
        assert client.publish(b"/foo", [b"x"]) == [21]


@pytest.mark.parametrize("size", [1, 999, 1000])
def test_max_message_size_is_the_largest_body(tmp_path: Path, size: int) -> None:
    options = ("--ms", "memory", "--kvs", "memory", "--max-message-size", "1000")
    with ServerProcess(tmp_path / "data", *options) as server, Client(server.port) as client:
        assert client.publish(b"/foo", [b"x" * size]) == [1]
        assert server.request("POST", "/api/message/foo", b"x" * size) == (200, b"OK")
        assert client.ask(b"> /foo m\n\n" + b"x" * 1001).startswith(
            b"!error-send m message is larger than 1000 bytes\n"
        )
        refused = server.request("POST", "/api/message/foo", b"x" * 1001)
        assert refused == (413, b"message is larger than 1000 bytes\n")
