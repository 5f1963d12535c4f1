"""What the server counts, for Prometheus; names after its conventions, all with `gobbler_` in front.

Everything is counted once a batch, not once a message. Children of labelled
metrics that the hot path uses are resolved here, at the start.
"""

import platform
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Info, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

# Else every counter has a second series that says when it was made: half of the page for nothing.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]

PUBLISH_BUCKETS = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    2.5,
    5,
)
"""Seconds: from 100 microseconds to 5 seconds."""

COMMIT_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)
"""Messages written together."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})


class BatchHistogram(Collector):
    """A histogram that takes a value for many things at once: all messages of a commit took as long.

    Only for use in the event loop's thread: it has no lock.
    """

    def __init__(
        self, name: str, documentation: str, bounds: Sequence[float], registry: CollectorRegistry
    ) -> None:
        """Register under `name`; `bounds` are the upper bounds of the buckets, rising."""
        self._name = name
        self._documentation = documentation
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0
        registry.register(self)

    def observe(self, value: float, times: int = 1) -> None:
        """Count `value`, `times` times."""
        self._counts[bisect_left(self._bounds, value)] += times
        self._sum += value * times

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Give the registry the buckets, each with the count of all below it."""
        names = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        buckets = list(zip(names, accumulate(self._counts), strict=True))
        yield HistogramMetricFamily(self._name, self._documentation, buckets, self._sum)


class Tally:
    """A counter without a lock, several times faster than the library's.

    Only for use in the event loop's thread.
    """

    __slots__ = ("value",)

    def __init__(self) -> None:
        """Begin with 0."""
        self.value = 0

    def inc(self, amount: int = 1) -> None:
        """Count."""
        self.value += amount


class TallyCollector(Collector):
    """Shows tallies to the registry as one counter: one of them, or one for each value of a label."""

    def __init__(
        self, name: str, documentation: str, registry: CollectorRegistry, label: str, *values: str
    ) -> None:
        """Register under `name`, to which `_total` is added; a label of "" has the one value ""."""
        self._name = name
        self._documentation = documentation
        self._label = label
        self.tallies = {value: Tally() for value in values}
        registry.register(self)

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Give the registry the values."""
        family = CounterMetricFamily(
            self._name, self._documentation, labels=[self._label] if self._label else []
        )
        for value, tally in self.tallies.items():
            family.add_metric([value] if self._label else [], tally.value)
        yield family


class Metrics:
    """All metrics of one server, in a registry of its own."""

    def __init__(self, version: str) -> None:
        """Register everything; `version` is Gobbler's."""
        self.registry = CollectorRegistry()
        self._messages()
        self._clients()
        self._requests()
        Info("gobbler_build", "What is running.", registry=self.registry).info(
            {"version": version, "python": platform.python_version()}
        )
        ProcessCollector(registry=self.registry)

    def _messages(self) -> None:
        received = TallyCollector(
            "gobbler_messages_received",
            "Messages that clients sent.",
            self.registry,
            "via",
            "websocket",
            "rest",
        ).tallies
        self.messages_received_websocket = received["websocket"]
        self.messages_received_rest = received["rest"]
        self.received_bytes_total = self._counter(
            "received_bytes", "Bytes of the bodies of messages received."
        )
        self.messages_delivered_total = self._counter("messages_delivered", "Messages handed to clients.")
        self.delivered_bytes_total = self._counter(
            "delivered_bytes", "Bytes of the frames handed to clients."
        )
        self.messages_stored_total = self._counter("messages_stored", "Messages written to the log.")
        self.stored_bytes_total = self._counter("stored_bytes", "Bytes written to the log.")
        self.commits_total = self._counter("commits", "Groups of messages written together.")
        self.commit_messages = self._histogram("commit_messages", "Messages of a group.", COMMIT_BUCKETS)
        self.commit_seconds = self._histogram("commit_seconds", "Time to write a group.", PUBLISH_BUCKETS)
        self.publish_seconds = self._histogram(
            "publish_seconds", "Time from a message's arrival until it is in the log.", PUBLISH_BUCKETS
        )

    def _clients(self) -> None:
        self.sessions = self._gauge("sessions", "WebSocket clients that are connected.")
        # A gauge and a counter may not share a name: OpenMetrics leaves `_total` out of it.
        self.sessions_opened_total = self._counter(
            "sessions_opened", "WebSocket clients that have connected."
        )
        self.subscriptions = self._gauge("subscriptions", "Live subscriptions of WebSocket clients.")
        self.fetches = self._gauge("fetches", "Fetches that are running.")
        self.fetches_started_total = self._counter("fetches_started", "Fetches that have begun.")
        self.fetched_messages_total = self._counter("fetched_messages", "Messages that fetches handed out.")
        self.slow_reader_turns_total = self._counter(
            "slow_reader_turns", "Live subscriptions turned into a fetch because the client read too slowly."
        )

    def _requests(self) -> None:
        self._errors = Counter("gobbler_errors", "Errors by kind.", ["kind"], registry=self.registry)
        self._http_requests = Counter(
            "gobbler_http_requests",
            "HTTP requests that were answered.",
            ["method", "endpoint", "status"],
            registry=self.registry,
        )

    def count_error(self, kind: str, times: int = 1) -> None:
        """Count errors; `kind` is the `code` of a class of `gobbler.errors`, of which there are few."""
        self._errors.labels(kind).inc(times)

    def count_request(self, method: str, endpoint: str | None, status: int) -> None:
        """Count an answered HTTP request.

        `endpoint` is the name of the route, never the path, which has no bound; None: no route matched.
        """
        known = method if method in METHODS else "other"
        self._http_requests.labels(known, endpoint or "none", status).inc()

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Return the page and its content type: OpenMetrics when `accept` asks for it, else plain text."""
        if "application/openmetrics-text" in accept:
            page: bytes = openmetrics.generate_latest(self.registry)  # type: ignore[no-untyped-call]
            return page, openmetrics.CONTENT_TYPE_LATEST
        return generate_latest(self.registry), CONTENT_TYPE_PLAIN_0_0_4

    def _counter(self, name: str, documentation: str) -> Tally:
        return TallyCollector(f"gobbler_{name}", documentation, self.registry, "", "").tallies[""]

    def _gauge(self, name: str, documentation: str) -> Gauge:
        return Gauge(f"gobbler_{name}", documentation, registry=self.registry)

    def _histogram(self, name: str, documentation: str, bounds: Sequence[float]) -> BatchHistogram:
        return BatchHistogram(f"gobbler_{name}", documentation, bounds, self.registry)
