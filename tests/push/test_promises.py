"""Nothing lost, nothing needlessly repeated, in order: against failing providers and `kill -9`."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import cycle, islice, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gobbler.connectors.connector import ATTEMPTS_A_WORKER
from tests.push.connected import APNS, FCM, Connected, Kind
from tests.system.client import Client
from tests.system.server import eventually

KILLS = 5
WORKERS = 2
PARTITIONS = 10
UNDER_WAY = WORKERS * ATTEMPTS_A_WORKER
"""How many notifications may be on their way at a time: so many may be repeated when something breaks."""
BEHIND = 3 * UNDER_WAY
"""How many requests may have come since one whose answer is not durable: answers overtake each other."""
SECONDS = 300.0
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


class Break(NamedTuple):
    """A kill, or a connection that broke: which answers may not have come."""

    at: int
    """How many records there were."""
    accepted: frozenset[str] | None
    """What the connection that broke had accepted last; None: all broke, and answers may not be durable."""

    def explains(self, records: list[dict[str, Any]], first: int, again: int) -> bool:
        """Say whether what was accepted may have been under way, and come again for that."""
        if not first < self.at <= again:
            return False
        if self.accepted is None:
            return self.at - first <= BEHIND
        return records[first]["apns_id"] in self.accepted


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

    def check(self, kills: list[int]) -> None:
        """Everything has arrived, in order, and what has arrived twice was under way when it had to be.

        `kills`: how many records there were at each.
        """
        records = self._connected.received(self._kind.name)
        arrived: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for place, one in enumerate(records):
            if one["status"] == 200:
                arrived[one["token"]].append((int(self._kind.body(one)), place))
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
        self._check_repeats(records, repeats, kills)

    def _check_repeats(
        self, records: list[dict[str, Any]], repeats: list[tuple[int, int]], kills: list[int]
    ) -> None:
        """Each repeats what came last: its answer cannot have come, or it was under way at a break."""
        body, unanswered = self._kind.body, self._kind.unanswered
        for first, again in repeats:
            assert body(records[first]) == body(records[again])
            assert records[first].get("apns_id") == records[again].get("apns_id")
        drops = [(at, one["accepted"][-BEHIND:]) for at, one in enumerate(records) if one["status"] == 0]
        breaks = [Break(at, frozenset(accepted)) for at, accepted in drops]
        breaks = sorted([*breaks, *(Break(at, None) for at in kills)], key=lambda one: one.at)
        caused: Counter[int] = Counter()
        for first, again in repeats:
            if not unanswered(records[first]):
                cause = next((one.at for one in breaks if one.explains(records, first, again)), None)
                assert cause is not None, (first, again, records[first])
                caused[cause] += 1
        assert max(caused.values(), default=0) <= UNDER_WAY


def run(folder: Path, kind: Kind, messages: int, subscriptions: int) -> None:
    plan = Plan(subscriptions)
    fakes = (*FAILING, *BREAKING[kind.name])
    options = ("--push-retry-delay", "0.05", f"--{kind.name}-workers", str(WORKERS))
    kills: list[int] = []
    with Connected(folder, kind, options=options, fakes=fakes) as connected:
        for topic, devices in plan.devices.items():
            for device in devices:
                connected.subscribe(kind.name, device, "marvin", topic)
        progress, topics = Progress(connected, kind, plan), plan.topics()
        for _ in range(KILLS):
            progress.publish(topics, messages // (KILLS + 1))
            # Somewhere in the middle of what was published last.
            progress.wait(progress.expected() - messages // (KILLS + 1), SECONDS)
            connected.kill()
            kills.append(len(connected.received(kind.name)))
            connected.server.start()
        progress.publish(topics, messages - KILLS * (messages // (KILLS + 1)))
        progress.wait(progress.expected(), SECONDS)
        progress.check(kills)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("messages", [1_500, pytest.param(5_000, marks=pytest.mark.long)])
@pytest.mark.parametrize("kind", [FCM, APNS], ids=lambda kind: kind.name)
def test_nothing_is_lost_over_five_kills_and_a_failing_provider(
    tmp_path: Path, kind: Kind, messages: int
) -> None:
    run(tmp_path, kind, messages, subscriptions=1_000)
