"""`kill -9` at random instants: what was acknowledged is there, once, with its id."""

import random
import threading
import time
from pathlib import Path

import pytest

from tests.system.client import Client, Closed, Received, sends
from tests.system.server import ServerProcess


class Publisher:
    """Publishes in bursts until the connection breaks, and remembers what was acknowledged."""

    def __init__(self, port: int, name: bytes, path: bytes) -> None:
        self.acknowledged: dict[bytes, int] = {}
        self.failure: AssertionError | None = None
        self.under_way = threading.Event()
        self._client = Client(port)
        self._name = name
        self._path = path
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        number = 0
        with self._client as client:
            while True:
                names = [b"%b-%d" % (self._name, number + step) for step in range(50)]
                number += len(names)
                try:
                    client.socket.sendall(sends(self._path, names, names))
                    for _ in names:
                        self.acknowledged.update(client.answers(1))
                        self.under_way.set()
                except (OSError, Closed):  # what was to come
                    return
                except AssertionError as failure:
                    self.failure = failure
                    return

    def join(self) -> None:
        self._thread.join()
        if self.failure is not None:
            raise self.failure


def stored(port: int, path: bytes) -> list[Received]:
    """Return everything that a path holds."""
    with Client(port) as client:
        client.send(b"+ %b 0 100000000" % path)
        count = int(client.next().removeprefix(b"#fetch-start %b " % path))
        messages = client.messages()
        return [next(messages) for _ in range(count)]


def check(messages: list[Received], acknowledged: dict[bytes, int], known: dict[int, bytes]) -> None:
    """Check a partition's messages against what was acknowledged and what was there before."""
    assert [message.id for message in messages] == list(range(1, len(messages) + 1))
    found = {message.message_id: message.id for message in messages}
    assert len(found) == len(messages), "a message is there twice"
    assert acknowledged.items() <= found.items()
    assert all(message.body == message.message_id for message in messages)
    bodies = {message.id: message.body for message in messages}
    assert known.items() <= bodies.items(), "what was there before has changed"
    known.update(bodies)


def crash(folder: Path, times: int, fsync: str) -> None:
    """Kill a server again and again while three clients publish to two partitions."""
    chance = random.Random()
    acknowledged: dict[bytes, dict[bytes, int]] = {b"/a": {}, b"/b": {}}
    known: dict[bytes, dict[int, bytes]] = {b"/a": {}, b"/b": {}}
    server = ServerProcess(folder, "--fsync", fsync, "--segment-bytes", "64KiB")
    for turn in range(times):
        with server:
            publishers = [
                (path, Publisher(server.port, b"%d-%d" % (turn, number), path))
                for number, path in enumerate((b"/a", b"/a", b"/b"))
            ]
            assert turn or publishers[0][1].under_way.wait(20)  # so that there is something to lose
            threading.Event().wait(chance.uniform(0, 0.3))  # the instant is the point of the test
            server.kill()
            for path, publisher in publishers:
                publisher.join()
                acknowledged[path].update(publisher.acknowledged)
        with server:
            for path, found in acknowledged.items():
                check(stored(server.port, path), found, known[path])
    assert acknowledged[b"/a"]


def test_kill_5_times(tmp_path: Path) -> None:
    crash(tmp_path / "data", 5, "1")


def test_kill_with_fsync_always(tmp_path: Path) -> None:
    crash(tmp_path / "data", 1, "always")


@pytest.mark.long
@pytest.mark.parametrize("fsync", ["1", "always", "never"])
def test_kill_50_times(tmp_path: Path, fsync: str) -> None:
    crash(tmp_path / "data", 50, fsync)


@pytest.mark.parametrize("keep", [0, 30])
def test_a_torn_tail_is_cut_and_said(tmp_path: Path, keep: int) -> None:
    """Half a block, as a crash in the middle of a write leaves it."""
    server = ServerProcess(tmp_path / "data")
    with server:
        with Client(server.port) as client:
            client.publish(b"/torn", [b"%d" % number for number in range(10)], window=1)
        server.kill()
        (log,) = (tmp_path / "data" / "messages").glob("*torn*/*.log")
        whole = log.read_bytes()
        last = whole.rindex(b"GBLK")
        torn = b"\0" * 100 if not keep else whole[last : last + keep]
        log.write_bytes(whole + torn)
    with server, Client(server.port) as client:
        assert [message.id for message in stored(server.port, b"/torn")] == list(range(1, 11))
        server.said(rf"cut off a torn tail of {len(torn)} bytes at {len(whole)}")
        assert client.publish(b"/torn", [b"next"]) == [11]
        assert log.read_bytes().startswith(whole)


def restart(folder: Path, count: int) -> float:
    """Store messages, kill the server, and return how long the next takes to answer for them.

    It recovers a partition when it is first asked for it; the start itself does not grow with messages.
    """
    server = ServerProcess(folder)
    with server:
        empty = server.start_seconds
        with Client(server.port) as client:
            client.publish(b"/many", [b"x" * 44] * count, window=5000)
        server.kill()
    with server, Client(server.port) as client:
        assert server.start_seconds < 3 * empty + 1
        begun = time.monotonic()
        assert client.ask(b"+ /many -1 1") == b"#fetch-start /many 1"
        taken = time.monotonic() - begun
        assert next(client.messages()).id == count
        return taken


def test_restart_with_50_000_messages(tmp_path: Path) -> None:
    assert restart(tmp_path / "data", 50_000) < 1


@pytest.mark.long
def test_restart_with_a_million_messages(tmp_path: Path) -> None:
    assert restart(tmp_path / "data", 1_000_000) < 1
