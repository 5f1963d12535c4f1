"""Nothing lost, nothing needlessly repeated, in order: against failing providers and `kill -9`."""

import time
from collections import defaultdict
from collections.abc import Iterator
from itertools import cycle, islice, pairwise
from pathlib import Path
from typing import Any

import pytest

from gobbler.connectors.connector import ATTEMPTS_A_WORKER
from tests.push.connected import APNS, FCM, Connected, Kind
from tests.system.client import Client
from tests.system.server import eventually

KILLS = 5
WORKERS = 2
PARTITIONS = 10
MOMENT = 0.2
"""Seconds around a kill or a broken connection, in which an answer may not have come."""
FAILING = ("--fail-percent", "20", "--delay-ms", "5")
BREAKING = {"fcm": ("--drop-percent", "0.5"), "apns": ("--drop-percent", "0.05", "--goaway-every", "400")}


class Plan:
    """Devices spread over topics with one to five subscribers each."""

    def __init__(self, subscriptions: int) -> None:
        sizes = cycle((1, 2, 3, 4, 5))
        self.devices: dict[str, list[str]] = {}
        number = 0
        while number < subscriptions:
            size = min(next(sizes), subscriptions - number)
            topic = f"/p{len(self.devices) % PARTITIONS}/t{len(self.devices)}"
            self.devices[topic] = [f"{one:064x}" for one in range(number, number + size)]
            number += size

    def topics(self) -> Iterator[str]:
        """Yield the topics, again and again."""
        return cycle(self.devices)


class Progress:
    """What was published, as (topic, body), and what the fake has accepted."""

    def __init__(self, connected: Connected, kind: Kind, plan: Plan) -> None:
        self._connected = connected
        self._kind = kind
        self._plan = plan
        self.bodies: dict[str, list[str]] = defaultdict(list)
        self._accepted: set[tuple[str, str]] = set()
        self._looked_at = 0

    def publish(self, topics: Iterator[str], number: int) -> None:
        """Publish to topics in turn, and wait until all is acknowledged."""
        chosen = list(islice(topics, number))
        with Client(self._connected.server.port) as client:
            for topic in chosen:
                body = f"{len(self.bodies[topic])}"
                self.bodies[topic].append(body)
                client.send(f"> {topic}\n\n{body}".encode())
            client.answers(len(chosen))

    def accepted(self) -> list[dict[str, Any]]:
        return [one for one in self._connected.received(self._kind.name) if one["status"] == 200]

    def number(self) -> int:
        """Return how many (message, device) the fake has accepted."""
        found = self._connected.received(self._kind.name)
        new = [one for one in found[self._looked_at :] if one["status"] == 200]
        self._looked_at = len(found)
        self._accepted |= {(one["token"], self._kind.body(one)) for one in new}
        return len(self._accepted)

    def expected(self) -> int:
        return sum(len(bodies) * len(self._plan.devices[topic]) for topic, bodies in self.bodies.items())

    def wait(self, number: int, seconds: float) -> None:
        deadline = eventually(seconds)
        while self.number() < number:
            deadline.again()

    def check(self, kills: list[float]) -> None:
        """Everything has arrived, in order, and what has arrived twice was under way when it had to be."""
        arrived: dict[str, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
        for one in self.accepted():
            arrived[one["token"]].append((int(self._kind.body(one)), one))
        for topic, devices in self._plan.devices.items():
            for device in devices:
                got = [number for number, _ in arrived[device]]
                assert list(dict.fromkeys(got)) == list(range(len(self.bodies[topic]))), (
                    "lost, or out of order"
                )
        repeats = [
            (first, again)
            for got in arrived.values()
            for (number, first), (next_number, again) in pairwise(got)
            if number >= next_number
        ]
        drops = [one["time"] for one in self._connected.received(self._kind.name) if one["status"] == 0]
        breaks = [*kills, *drops]
        assert [first for first, _ in repeats if not self._explained(first, breaks)] == []
        alone = sum(map(self._kind.unanswered, self.accepted()))
        assert len(repeats) <= len(breaks) * WORKERS * ATTEMPTS_A_WORKER + alone
        assert all(first.get("apns_id") == again.get("apns_id") for first, again in repeats)

    def _explained(self, first: dict[str, Any], breaks: list[float]) -> bool:
        """Say whether the answer may not have come: the connection broke, or the server was killed."""
        broken = any(-MOMENT <= end - first["time"] < MOMENT for end in breaks)
        return broken or self._kind.unanswered(first)


def run(folder: Path, kind: Kind, messages: int, subscriptions: int, seconds: float) -> None:
    plan = Plan(subscriptions)
    fakes = (*FAILING, *BREAKING[kind.name])
    options = ("--push-retry-delay", "0.05", f"--{kind.name}-workers", str(WORKERS))
    kills: list[float] = []
    with Connected(folder, kind, options=options, fakes=fakes) as connected:
        for topic, devices in plan.devices.items():
            for device in devices:
                connected.subscribe(kind.name, device, "marvin", topic)
        progress, topics = Progress(connected, kind, plan), plan.topics()
        for _ in range(KILLS):
            progress.publish(topics, messages // (KILLS + 1))
            # Somewhere in the middle of what was published last.
            progress.wait(progress.expected() - messages // (KILLS + 1), seconds)
            kills.append(time.time())
            connected.restart()
        progress.publish(topics, messages - KILLS * (messages // (KILLS + 1)))
        progress.wait(progress.expected(), seconds)
        progress.check(kills)


@pytest.mark.parametrize("kind", [FCM, APNS], ids=lambda kind: kind.name)
def test_nothing_is_lost_over_five_kills_and_a_failing_provider(tmp_path: Path, kind: Kind) -> None:
    run(tmp_path, kind, messages=5_000, subscriptions=1_000, seconds=90)
