"""A dead provider: publishers do not notice, memory stays bounded, and everything is delivered afterwards."""

import time
from collections.abc import Callable
from pathlib import Path
from statistics import quantiles

import pytest

from tests.providers.process import Provider
from tests.push.connected import APNS, FCM, Connected, Kind
from tests.system.client import Client
from tests.system.server import eventually

DEVICES = 20
GROWTH = 64 << 20
"""Bytes that the server may grow by: the lanes' budget is 16 MiB, Python's own growth is not exact."""


class Publisher:
    """Publishes one message after another to a topic with many devices, and takes the time of each."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.published = 0

    def run(self, seconds: float, rate: float) -> float:
        """Publish for so long at a rate; return the 99th percentile of the latency, in seconds."""
        latencies: list[float] = []
        end = time.monotonic() + seconds
        while (due := time.monotonic()) < end:
            self._client.send(b"> /crowd\n\n%d" % self.published)
            self._client.answers(1)
            latencies.append(time.monotonic() - due)
            self.published += 1
            time.sleep(
                max(0.0, due + 1 / rate - time.monotonic())
            )  # the load's rate, not a wait for anything
        return quantiles(latencies, n=100)[98]


def outage(
    folder: Path,
    kind: Kind,
    die: Callable[[Provider], None],
    revive: Callable[[Provider], None],
    seconds: float,
) -> None:
    with Connected(folder, kind, options=("--push-retry-delay", "0.2")) as connected:
        server, fake = connected.server, connected.fakes[kind.name]
        for number in range(DEVICES):
            connected.subscribe(kind.name, f"{number:064x}", "u", "/crowd")
        with Client(server.port) as client:
            publisher = Publisher(client)
            alive = publisher.run(2, 5)
            before = server.rss
            die(fake)
            dead = publisher.run(seconds, 50)
            grown = server.rss - before
            revive(fake)
            deadline = eventually(max(60.0, 3 * seconds))
            while _delivered(connected, kind) < publisher.published * DEVICES:
                deadline.again()
    assert grown < GROWTH
    assert dead < max(3 * alive, 0.1), "publishers have noticed"


def _delivered(connected: Connected, kind: Kind) -> int:
    found = connected.received(kind.name)
    return len({(one["token"], kind.body(one)) for one in found if one["status"] == 200})


WAYS = {
    "refused": (Provider.stop, Provider.start),
    "silent": (Provider.freeze, Provider.thaw),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", [FCM, APNS], ids=lambda kind: kind.name)
def test_a_dead_provider(tmp_path: Path, kind: Kind, way: str) -> None:
    outage(tmp_path, kind, *WAYS[way], seconds=3)


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", [FCM, APNS], ids=lambda kind: kind.name)
def test_a_provider_that_is_dead_for_a_minute(tmp_path: Path, kind: Kind, way: str) -> None:
    outage(tmp_path, kind, *WAYS[way], seconds=60)
