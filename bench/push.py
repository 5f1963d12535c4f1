"""What connectors are measured with: a server with one turned on, and its fake provider over TLS."""

import json
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Self

from bench.errors import BenchError
from bench.servers import Gobbler
from gobbler.connectors.subscription import Device, Subscription
from gobbler.kvstore.sqlite import SQLiteKVStore
from tests.providers.certificates import Authority
from tests.providers.process import Provider
from tests.push.connected import APNS, FCM, SMS, Kind
from tests.system.client import Client

WORKERS = 4
SMS_A_SECOND = 10_000
DEVICES_A_TOPIC = 10
DEADLINE = 300.0  # seconds
KINDS = {kind.name: kind for kind in (FCM, APNS, SMS)}


class ConnectedGobbler(Gobbler):
    """Gobbler with one connector turned on, against a fake provider that answers after a delay."""

    def __init__(self, kind: Kind, delay_ms: float, subscriptions: int) -> None:
        super().__init__()
        self.kind = kind
        self._delay_ms = delay_ms
        self._subscriptions = subscriptions
        self._open = ExitStack()
        self.fake: Provider

    def __enter__(self) -> Self:
        """Start the fake, write the subscriptions, and start the server."""
        with ExitStack() as opening:
            folder = Path(opening.enter_context(tempfile.TemporaryDirectory(prefix="gobbler-bench-push-")))
            self._certificates = folder
            delay = ("--delay-ms", str(self._delay_ms))
            self.fake = opening.enter_context(self.kind.provider(folder, Authority(folder), delay))
            super().__enter__()
            self._open = opening.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        """End the server and the fake."""
        super().__exit__(*exception)
        self._open.close()

    def command(self, folder: Path) -> list[str]:
        """The server with its connector, on a folder that has the subscriptions already."""
        fill(folder / "data", self.kind.name, self._subscriptions)
        options = self.kind.options(self._certificates, self.fake)
        rate = ["--sms-rate", str(SMS_A_SECOND)] if self.kind is SMS else []
        return [*super().command(folder), *options, *rate, f"--{self.kind.name}-workers", str(WORKERS)]

    def cpu_seconds(self) -> float:
        """Processor time that the server has used so far."""
        fields = (
            Path(f"/proc/{self._process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        )
        return (int(fields[11]) + int(fields[12])) / 100  # utime and stime, in ticks of 10 ms


def topic(number: int) -> str:
    """The topic of a device; topics are spread over ten partitions."""
    return f"/p{number // DEVICES_A_TOPIC % 10}/t{number // DEVICES_A_TOPIC}"


def fill(folder: Path, name: str, subscriptions: int) -> None:
    """Write subscriptions as the server keeps them."""
    folder.mkdir()
    store = SQLiteKVStore(folder / "kv.sqlite")
    store.start()
    made = (
        Subscription(Device(f"{number:064x}", f"user-{number}"), topic(number).encode(), 0, 1.0)
        for number in range(subscriptions)
    )
    for some in batches(made, 50_000):
        store.write_batch(f"{name}.subscriptions", {one.key: one.encode() for one in some}, [])
    store.stop(60)


def batches(made: Iterator[Subscription], size: int) -> Iterator[list[Subscription]]:
    """Lists of at most `size`."""
    while some := list(islice(made, size)):
        yield some


def publish(server: ConnectedGobbler, messages: int, topics: int) -> int:
    """Publish to the topics in turn; return how many notifications that makes."""
    with Client(server.port) as client:
        for some in range(0, messages, 1000):
            numbers = range(some, min(some + 1000, messages))
            client.send(*[_command(server.kind, number, topics) for number in numbers])
            client.answers(len(numbers))
    return messages if server.kind is SMS else messages * DEVICES_A_TOPIC


def _command(kind: Kind, number: int, topics: int) -> bytes:
    if kind is SMS:
        text = json.dumps({"to": f"4917{number:08}", "text": f"message {number}"})
        return f"> /sms\n\n{text}".encode()
    return f"> {topic(number % topics * DEVICES_A_TOPIC)}\n\nmessage {number}".encode()


def wait(fake: Provider, number: int) -> None:
    """Wait until the fake has so many more notifications than when it was new.

    Raises:
        BenchError: they do not come.
    """
    deadline = time.monotonic() + DEADLINE
    seen = 0
    with fake.record.open("rb") as record:
        while seen < number:
            seen += sum(line.count(b"\n") for line in _rest(record))
            if time.monotonic() > deadline:
                raise BenchError(f"{seen} of {number} notifications have arrived")
            time.sleep(0.01)


def _rest(record: Iterable[bytes]) -> Iterator[bytes]:
    yield from record
