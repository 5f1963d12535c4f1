"""Reporting to a broker, with eyes on its metrics."""

import contextlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry

from gobbler.reporting import events
from gobbler.reporting.events import Event
from gobbler.reporting.kafka import KafkaReporting
from gobbler.reporting.metrics import ReportingMetrics
from tests.kafka.broker import Message
from tests.system.server import SECONDS, eventually


class Rig:
    """A `KafkaReporting` and what its metrics say."""

    def __init__(self, *brokers: str, **options: Any) -> None:
        self.registry = CollectorRegistry()
        self.metrics = ReportingMetrics(self.registry)
        self.reporting = KafkaReporting(brokers, self.metrics, **options)

    @property
    def reported(self) -> int:
        return self._value("reported_total")

    @property
    def queued(self) -> int:
        return self._value("queued")

    @property
    def dropped(self) -> dict[str, int]:
        """Reason -> how many, without those of which there are none."""
        counts = {reason: self._value("dropped_total", reason=reason) for reason in self.metrics.dropped}
        return {reason: count for reason, count in counts.items() if count}

    def wait_for(self, reported: int, seconds: float = SECONDS) -> None:
        """Wait until so many events were reported."""
        deadline = eventually(seconds)
        while self.reported < reported:
            deadline.again()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Start, and stop at the end without waiting for anybody."""
        self.reporting.start()
        try:
            yield
        finally:
            self.reporting.stop(0)

    def _value(self, name: str, **labels: str) -> int:
        value = self.registry.get_sample_value(f"gobbler_events_{name}", labels)
        assert value is not None
        return int(value)


def numbered(number: int, size: int = 0) -> Event:
    """An event that `numbers` knows again, with `size` bytes more."""
    return events.subscription(
        service="fcm", topic="/news", device_id="d" * size, user_id=str(number), action="subscribe"
    )


def numbers(messages: Iterable[Message]) -> list[int]:
    """The numbers of events that were consumed, in their order."""
    return [int(json.loads(message.value)["payload"]["user_id"]) for message in messages]
