"""What a connector counts. One of these serves all connectors; `for_connector` is one's own view."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
"""Seconds that a provider may take to answer."""

MAX_REASONS: Final = 60
"""So many reasons have a label of their own in a connector; then all others are `other`."""


class PushMetrics:
    """The metrics of all connectors, with a label `connector`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register everything."""
        one, why = ["connector"], ["connector", "reason"]
        self.sent = Counter(
            "gobbler_push_sent", "Notifications that a provider has accepted.", one, registry=registry
        )
        self.failed = Counter(
            "gobbler_push_failed", "Notifications that were finally refused.", why, registry=registry
        )
        self.retried = Counter(
            "gobbler_push_retried", "Attempts that failed and are made again.", why, registry=registry
        )
        self.removed = Counter(
            "gobbler_push_removed_subscriptions",
            "Subscriptions removed because their token is dead.",
            one,
            registry=registry,
        )
        self.lost = Counter(
            "gobbler_push_lost_messages",
            "Ids that the message store no longer had when they should have been sent.",
            one,
            registry=registry,
        )
        self.queue = Gauge(
            "gobbler_push_queue", "Devices that have notifications on their way.", one, registry=registry
        )
        self.delayed = Gauge(
            "gobbler_push_delayed", "Of these: devices that wait for another attempt.", one, registry=registry
        )
        self.subscriptions = Gauge(
            "gobbler_push_subscriptions", "Subscriptions of devices.", one, registry=registry
        )
        self.breaker = Gauge(
            "gobbler_push_breaker",
            "0: sending; 1: trying whether the provider is back; 2: waiting for it.",
            one,
            registry=registry,
        )
        self.seconds = Histogram(
            "gobbler_push_seconds",
            "Time that an attempt took.",
            one,
            buckets=BUCKETS,
            registry=registry,
        )

    def for_connector(self, name: str) -> ConnectorMetrics:
        """Return one connector's view."""
        return ConnectorMetrics(self, name)


class ConnectorMetrics:
    """The metrics of one connector."""

    def __init__(self, metrics: PushMetrics, name: str) -> None:
        """Resolve what has no other label."""
        self._metrics = metrics
        self._name = name
        self._reasons: set[str] = set()
        self.sent = metrics.sent.labels(name)
        self.removed = metrics.removed.labels(name)
        self.lost = metrics.lost.labels(name)
        self.queue = metrics.queue.labels(name)
        self.delayed = metrics.delayed.labels(name)
        self.subscriptions = metrics.subscriptions.labels(name)
        self.breaker = metrics.breaker.labels(name)
        self.seconds = metrics.seconds.labels(name)

    def failed(self, reason: str) -> None:
        """Count a notification that was finally refused."""
        self._metrics.failed.labels(self._name, self._bounded(reason)).inc()

    def retried(self, reason: str) -> None:
        """Count an attempt that is made again."""
        self._metrics.retried.labels(self._name, self._bounded(reason)).inc()

    def _bounded(self, reason: str) -> str:
        """Return a label of which there cannot be many, whatever a provider says."""
        if reason not in self._reasons:
            if len(self._reasons) >= MAX_REASONS:
                return "other"
            self._reasons.add(reason)
        return reason
