"""What a connector counts."""

from prometheus_client import CollectorRegistry

from gobbler.connectors.metrics import MAX_REASONS, PushMetrics


def test_each_connector_has_its_own_series() -> None:
    registry = CollectorRegistry()
    metrics = PushMetrics(registry)
    fcm, apns = metrics.for_connector("fcm"), metrics.for_connector("apns")
    fcm.sent.inc()
    apns.failed("Unregistered")
    apns.retried("busy")
    value = registry.get_sample_value
    assert value("gobbler_push_sent_total", {"connector": "fcm"}) == 1
    assert value("gobbler_push_sent_total", {"connector": "apns"}) == 0
    assert value("gobbler_push_failed_total", {"connector": "apns", "reason": "Unregistered"}) == 1
    assert value("gobbler_push_retried_total", {"connector": "apns", "reason": "busy"}) == 1


def test_reasons_are_bounded_whatever_a_provider_says() -> None:
    registry = CollectorRegistry()
    fcm = PushMetrics(registry).for_connector("fcm")
    for number in range(1000):
        fcm.failed(f"reason {number}")
    fcm.failed("reason 0")
    found = {
        sample.labels["reason"]: sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "gobbler_push_failed_total"
    }
    assert len(found) == MAX_REASONS + 1
    assert (found["reason 0"], found["other"]) == (2, 1000 - MAX_REASONS)
