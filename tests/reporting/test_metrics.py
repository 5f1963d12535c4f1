"""The metrics of reporting, as Prometheus reads them."""

from prometheus_client import CollectorRegistry

from gobbler.metrics import Metrics
from gobbler.reporting.metrics import REASONS, ReportingMetrics


def test_every_series_is_there_from_the_start() -> None:
    registry = CollectorRegistry()
    ReportingMetrics(registry)
    assert registry.get_sample_value("gobbler_events_reported_total") == 0
    assert registry.get_sample_value("gobbler_events_queued") == 0
    for reason in REASONS:
        assert registry.get_sample_value("gobbler_events_dropped_total", {"reason": reason}) == 0


def test_the_queue_is_looked_at_when_somebody_asks() -> None:
    registry = CollectorRegistry()
    waiting = [1, 2, 3]
    ReportingMetrics(registry).watch(lambda: len(waiting))
    assert registry.get_sample_value("gobbler_events_queued") == 3
    waiting.clear()
    assert registry.get_sample_value("gobbler_events_queued") == 0


def test_they_fit_into_the_registry_of_a_server() -> None:
    metrics = Metrics("1")
    ReportingMetrics(metrics.registry).reported.inc(7)
    assert b"\ngobbler_events_reported_total 7.0\n" in metrics.render()[0]
