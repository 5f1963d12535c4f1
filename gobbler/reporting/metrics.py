"""What reporting counts, for Prometheus."""

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

FULL: Final = "full"
"""Too many were waiting already."""
INVALID: Final = "invalid"
"""It holds what JSON cannot: a defect of the server."""
REFUSED: Final = "refused"
"""Kafka will never take it, for example because it is too large."""
STOPPED: Final = "stopped"
"""It was not delivered before the server stopped."""

REASONS: Final = (FULL, INVALID, REFUSED, STOPPED)


class ReportingMetrics:
    """The metrics of reporting, in a registry.

    The library's counters, which have a lock: deliveries are counted, once a batch, in threads.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register everything."""
        self.reported = Counter("gobbler_events_reported", "Events that Kafka has.", registry=registry)
        dropped = Counter(
            "gobbler_events_dropped", "Events that were not reported.", ["reason"], registry=registry
        )
        self.dropped = {reason: dropped.labels(reason) for reason in REASONS}
        self._queued = Gauge("gobbler_events_queued", "Events that wait for Kafka.", registry=registry)

    def watch(self, queued: Callable[[], int]) -> None:
        """Show what `queued` returns as the number of events that wait; nobody else may be watched then."""
        self._queued.set_function(queued)
