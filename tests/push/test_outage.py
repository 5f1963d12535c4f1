"""A dead provider: publishers do not notice, memory stays bounded, and everything is delivered afterwards."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import quantiles

import pytest

from tests.providers.process import Provider
from tests.push.connected import APNS, FCM, Connected, Kind
from tests.system.client import Client
from tests.system.server import eventually

DEVICES = 10
RATE = 100.0
"""Messages a second, if servers keep up; so many that the percentile is not the slowest one's."""
GROWTH = 64 << 20
"""Bytes that the server may grow by: the lanes' budget is 16 MiB, Python's own growth is not exact."""


class Publisher:
    """Publishes one message after another to a topic, and takes the time of each."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.published = 0
        self.latencies: list[float] = []

    def publish(self) -> None:
        begun = time.monotonic()
        self._client.send(b"> /crowd\n\n%d" % self.published)
        self._client.answers(1)
        self.latencies.append(time.monotonic() - begun)
        self.published += 1


def publish(*publishers: Publisher, seconds: float, rate: float) -> list[float]:
    """Publish for so long at a rate; return the 99th percentiles of the latencies, in seconds.

    All publish in the same moments: what disturbs the whole machine disturbs them all.
    """
    for publisher in publishers:
        publisher.latencies = []
    end = time.monotonic() + seconds
    with ThreadPoolExecutor(len(publishers)) as pool:
        while (due := time.monotonic()) < end:
            list(pool.map(Publisher.publish, publishers))
            # The load's rate, not a wait for anything.
            time.sleep(max(0.0, due + 1 / rate - time.monotonic()))
    return [quantiles(publisher.latencies, n=100)[98] for publisher in publishers]


def outage(
    folder: Path,
    kind: Kind,
    die: Callable[[Provider], None],
    revive: Callable[[Provider], None],
    seconds: float,
) -> None:
    with _connected(folder / "dead", kind) as connected, _connected(folder / "control", kind) as control:
        server, fake = connected.server, connected.fakes[kind.name]
        for number in range(DEVICES):
            for one in (connected, control):
                one.subscribe(kind.name, f"{number:064x}", "u", "/crowd")
        with Client(server.port) as client, Client(control.server.port) as other:
            publishers = Publisher(client), Publisher(other)
            publish(*publishers, seconds=2, rate=5)
            before = server.rss
            die(fake)
            dead, alive = publish(*publishers, seconds=seconds, rate=RATE)
            grown = server.rss - before
            revive(fake)
            deadline = eventually(max(300.0, 3 * seconds))
            while _delivered(connected, kind) < publishers[0].published * DEVICES:
                deadline.again()
    assert grown < GROWTH
    assert dead < max(3 * alive, 0.1), "publishers have noticed"


def _connected(folder: Path, kind: Kind) -> Connected:
    folder.mkdir()
    return Connected(folder, kind, options=("--push-retry-delay", "0.2"))


def _delivered(connected: Connected, kind: Kind) -> int:
    found = connected.received(kind.name)
    return len({(one["token"], kind.body(one)) for one in found if one["status"] == 200})


WAYS = {
    "refused": (Provider.stop, Provider.start),
    "silent": (Provider.freeze, Provider.thaw),
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", [FCM, APNS], ids=lambda kind: kind.name)
def test_a_dead_provider(tmp_path: Path, kind: Kind, way: str) -> None:
    outage(tmp_path, kind, *WAYS[way], seconds=3)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", [FCM, APNS], ids=lambda kind: kind.name)
def test_a_provider_that_is_dead_for_a_minute(tmp_path: Path, kind: Kind, way: str) -> None:
    outage(tmp_path, kind, *WAYS[way], seconds=60)
