"""All sessions together: beginning, silence, stopping, and that nothing of them is left."""

import gc
import os
from collections.abc import Iterator

import gevent
import pytest
from gevent.event import Event

from gobbler.websocket.connection import Connection
from gobbler.websocket.frames import CLOSE, PING, PONG
from gobbler.websocket.session import Session
from tests.websocket.rig import DEADLINE, Client, wait_until
from tests.websocket.served import Served, request, served


@pytest.fixture
def door() -> Iterator[Served]:
    with served() as made:
        yield made


def greeted(client: Client) -> Client:
    assert client.receive().startswith(b"#connected You are connected to the server.\n")
    return client


def counts() -> tuple[int, int, int]:
    """Return how many sessions, connections and descriptors there are."""
    gc.collect()
    found = gc.get_objects()
    sessions = sum(isinstance(each, Session) for each in found)
    connections = sum(isinstance(each, Connection) for each in found)
    return sessions, connections, len(os.listdir("/proc/self/fd"))


def test_sessions_have_ids_of_their_own(door: Served) -> None:
    greetings = [door.connect().receive() for _ in range(3)]
    assert len({greeting.split(b'"')[3] for greeting in greetings}) == 3
    assert repr(door.gateway) == "<Gateway /stream/, 3 sessions>"


def test_a_thousand_connections_leave_nothing_behind(door: Served) -> None:
    greeted(door.connect()).sock.close()  # what is made once is made now
    wait_until(lambda: door.world.metric("sessions") == 0)
    before = counts()
    for number in range(100):
        clients = [greeted(door.connect("/stream/user/u")) for _ in range(10)]
        for client in clients:
            client.send(b"+ /a", b"+ /a/%d 0" % number, b"> /a/x\n\nx", b"+ /a -2 2")
        for way, client in enumerate(clients):
            client.receive()
            if way % 2:
                client.close()
            client.sock.close()
        wait_until(lambda: not door.gateway._sessions)
        wait_until(lambda: door.world.metric("fetches") == 0)
    del client, clients
    assert door.world.metric("sessions") == 0
    assert door.world.metric("subscriptions") == 0
    assert door.world.router.describe() == {}
    after = counts()
    assert after == before


def test_silent_clients_are_pinged_and_dropped_when_they_do_not_answer() -> None:
    with served(ping_interval=0.04) as door:
        silent, lively = greeted(door.connect()), greeted(door.connect())

        def answer() -> None:
            while True:
                opcode, payload = lively.event()
                lively.send(payload, opcode=PONG if opcode == PING else opcode)

        answering = gevent.spawn(answer)
        assert [silent.event() for _ in range(3)] == [(PING, b"")] * 3
        silent.expect_end()
        assert repr(door.gateway) == "<Gateway /stream/, 1 sessions>"
        answering.kill()


def test_stopping_closes_with_1001_when_everything_is_answered(door: Served) -> None:
    clients = [greeted(door.connect()) for _ in range(5)]
    gate = Event()
    append = door.world.store.append

    def wait(groups: object) -> object:
        gate.wait()
        return append(groups)  # type: ignore[arg-type]

    door.world.store.append = wait  # type: ignore[method-assign, assignment]
    for client in clients[:2]:
        client.send(b"> /a\n\nx", b"> /a\n\ny")
    wait_until(lambda: door.world.metrics.messages_received_websocket.value == 4)
    stopping = gevent.spawn(door.gateway.stop, DEADLINE)
    for client in clients[2:]:
        client.expect_close(b"\x03\xe9")
        client.close(b"\x03\xe9")
        client.expect_end()
    assert not stopping.ready()
    gate.set()
    for client in clients[:2]:
        assert [client.receive()[:6] for _ in range(2)] == [b"#send "] * 2
        client.expect_close(b"\x03\xe9")
        client.close(b"\x03\xe9")
        client.expect_end()
    stopping.get(timeout=DEADLINE)
    assert repr(door.gateway) == "<Gateway /stream/, 0 sessions>"


def test_who_does_not_go_in_time_is_dropped(door: Served) -> None:
    client = greeted(door.connect())
    door.gateway.stop(0.01)
    assert client.event() == (CLOSE, b"\x03\xe9")
    client.expect_end()
    door.gateway.stop(0)


def test_nobody_is_let_in_while_it_stops(door: Served) -> None:
    door.gateway.stop(0)
    answer, sock = door.ask(request())
    assert (answer.status, answer.rest.decode().strip()) == (503, "the server is stopping")
    sock.close()
    door.gateway.start()
    greeted(door.connect()).sock.close()


def test_who_was_let_in_just_before_is_closed_as_well(door: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    accept = door.gateway.accept

    def late(websocket: object, path: str) -> None:
        door.gateway.stop(0)
        accept(websocket, path)

    monkeypatch.setattr(door.gateway, "accept", late)
    client = greeted(door.connect())
    client.expect_close(b"\x03\xe9")
    client.close(b"\x03\xe9")
    client.expect_end()
