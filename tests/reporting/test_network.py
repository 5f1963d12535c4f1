"""What a producer does while a broker is away: it leaves nothing open and takes its time."""

import gc
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from kafka.errors import KafkaError

from gobbler.reporting import producer
from gobbler.reporting.network import Client
from gobbler.reporting.producer import Access, connect
from tests.kafka.broker import Broker
from tests.kafka.gate import Gate
from tests.ports import free_port
from tests.providers.certificates import Authority
from tests.reporting.rig import Rig, numbered
from tests.system.server import SECONDS, eventually


@pytest.fixture
def client() -> Iterator[Client]:
    made = Client(bootstrap_servers="127.0.0.1:1")
    yield made
    made.close()


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Keep the collector from closing what was left open."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Search for brokers for a moment only."""
    shorter = dict(producer.CONFIGURATION) | {"bootstrap_timeout_ms": 300}
    monkeypatch.setattr(producer, "CONFIGURATION", shorter)


def open_files() -> int:
    return int(psutil.Process().num_fds())


def delay(client: Client, node: str, begun: float) -> float:
    """For how long a broker is left alone from `begun` on, at least, in milliseconds."""
    return client.connection_delay(node) + (time.monotonic() - begun) * 1000


def connect_in_vain(access: Access) -> None:
    with pytest.raises(KafkaError):
        connect(access.configuration(), lambda client: None)


@pytest.mark.usefixtures("short", "uncollected")
def test_a_broker_that_is_not_there_leaves_no_sockets() -> None:
    before = open_files()
    connect_in_vain(Access((f"127.0.0.1:{free_port()}",)))
    assert open_files() == before


@pytest.mark.usefixtures("short", "uncollected")
def test_a_certificate_that_is_not_trusted_leaves_no_sockets(tmp_path: Path) -> None:
    folders = tmp_path / "theirs", tmp_path / "ours"
    for folder in folders:
        folder.mkdir()
    theirs, ours = map(Authority, folders)
    listener = socket.create_server(("127.0.0.1", 0))
    with Gate(theirs.pair()) as gate, listener:
        gate.target = listener.getsockname()[1]
        # The first handshake loads what OpenSSL keeps open.
        connect_in_vain(Access((gate.address,), "ssl", ours.file))
        gate.settle()
        before = open_files()
        connect_in_vain(Access((gate.address,), "ssl", ours.file))
        gate.settle()
        assert open_files() == before


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("security", ["plaintext", "ssl"])
def test_a_peer_that_says_nothing_is_given_up_in_time(security: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begun = time.monotonic()
        connect_in_vain(Access((f"127.0.0.1:{silent.getsockname()[1]}",), security))
        assert time.monotonic() - begun < SECONDS / 2


def test_a_search_can_be_given_up_from_another_thread() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        clients: list[Client] = []
        errors: list[Exception] = []

        def search() -> None:
            try:
                connect(Access((f"127.0.0.1:{silent.getsockname()[1]}",)).configuration(), clients.append)
            except KafkaError as error:
                errors.append(error)

        thread = threading.Thread(target=search)
        begun = time.monotonic()
        thread.start()
        silent.accept()[0].close()
        clients[0].give_up()
        thread.join(SECONDS)
        assert len(errors) == 1
        # Five seconds is what a search takes by itself.
        assert time.monotonic() - begun < 4
        clients[0].give_up()


@pytest.mark.usefixtures("uncollected")
def test_what_is_left_to_send_keeps_no_socket_open() -> None:
    with Broker() as broker:
        before = open_files()
        client = Client(bootstrap_servers=broker.address)
        client._manager.bootstrap(SECONDS * 1000)
        (node,) = client._manager.cluster.brokers()
        connection = client._manager.get_connection(node.node_id)
        client._net.poll(future=connection.init_future)
        connection.transport.write(bytes(50 << 20))  # more than the system takes at once
        client.close()
        assert open_files() == before


def test_a_broker_that_closes_every_connection_is_not_hammered() -> None:
    with Gate() as gate, Broker(advertised=gate.port) as broker:
        gate.target = broker.port
        rig = Rig(gate.address)
        topic = rig.reporting.topic("events")
        with rig.running():
            topic.report(numbered(1))
            rig.wait_for(1)
            gate.target = 0
            gate.cut()
            topic.report(numbered(2))
            before, begun, deadline = gate.accepted, time.monotonic(), eventually()
            while gate.accepted < before + 6:
                deadline.again()
            # 50 ms, and twice as long each time, up to a second; and an attempt in between.
            assert time.monotonic() - begun > 0.4
            gate.target = broker.port
            rig.wait_for(2)


def test_the_wait_for_a_broker_is_told_in_milliseconds(client: Client) -> None:
    assert client.connection_delay("bootstrap-0") == 0
    begun = time.monotonic()
    client._manager.update_backoff("bootstrap-0")
    assert client.connection_delay("bootstrap-0") <= 60
    assert delay(client, "bootstrap-0", begun) > 39


def test_a_broker_that_is_not_known_is_left_alone(client: Client) -> None:
    begun = time.monotonic()
    client.maybe_connect("nobody")
    assert delay(client, "nobody", begun) > 39


def test_only_a_connection_that_stands_ends_the_wait(client: Client) -> None:
    manager: Any = client._manager
    begun = time.monotonic()
    for node in ("metadata", "bootstrap-0"):
        manager.update_backoff(node)
        manager.reset_backoff(node)
    assert client.connection_delay("metadata") == 0
    assert delay(client, "bootstrap-0", begun) > 60  # twice the first wait
