"""The page for Prometheus: names, values, both formats."""

import re

import pytest
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from gobbler import errors
from gobbler.metrics import PUBLISH_BUCKETS, BatchHistogram, Metrics, Tally

COUNTERS = [
    "received_bytes_total",
    "messages_delivered_total",
    "delivered_bytes_total",
    "messages_stored_total",
    "stored_bytes_total",
    "commits_total",
    "sessions_opened_total",
    "fetches_started_total",
    "fetched_messages_total",
    "slow_reader_turns_total",
]
GAUGES = ["sessions", "subscriptions", "fetches"]
HISTOGRAMS = ["commit_messages", "commit_seconds", "publish_seconds"]


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("1.2.3")


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """Return a sample's value, None when there is none."""
    return metrics.registry.get_sample_value(f"gobbler_{name}", labels)


@pytest.mark.parametrize("name", COUNTERS)
def test_counters_are_attributes_of_their_name(metrics: Metrics, name: str) -> None:
    counter = getattr(metrics, name)
    assert isinstance(counter, Tally)
    assert value(metrics, name) == 0
    counter.inc(5)
    assert value(metrics, name) == 5


@pytest.mark.parametrize("name", GAUGES)
def test_gauges_are_attributes_of_their_name(metrics: Metrics, name: str) -> None:
    gauge = getattr(metrics, name)
    assert isinstance(gauge, Gauge)
    gauge.inc(2)
    gauge.dec()
    assert value(metrics, name) == 1


@pytest.mark.parametrize("name", HISTOGRAMS)
def test_histograms_are_attributes_of_their_name(metrics: Metrics, name: str) -> None:
    histogram = getattr(metrics, name)
    assert isinstance(histogram, BatchHistogram)
    histogram.observe(0.5, 4)
    assert (value(metrics, f"{name}_count"), value(metrics, f"{name}_sum")) == (4, 2)


def test_received_messages_by_door(metrics: Metrics) -> None:
    metrics.messages_received_websocket.inc(3)
    metrics.messages_received_rest.inc()
    assert value(metrics, "messages_received_total", via="websocket") == 3
    assert value(metrics, "messages_received_total", via="rest") == 1


def test_errors_by_kind(metrics: Metrics) -> None:
    metrics.count_error(errors.InvalidTopic.code, 2)
    metrics.count_error(errors.StoreUnavailable.code)
    assert value(metrics, "errors_total", kind="invalid-topic") == 2
    assert value(metrics, "errors_total", kind="store-unavailable") == 1


def test_requests_have_few_label_values(metrics: Metrics) -> None:
    metrics.count_request("POST", "rest.message", 200)
    for method in ("BREW", "X" * 1000, ""):
        metrics.count_request(method, None, 405)
    assert value(metrics, "http_requests_total", method="POST", endpoint="rest.message", status="200") == 1
    assert value(metrics, "http_requests_total", method="other", endpoint="none", status="405") == 3


def test_what_is_running(metrics: Metrics) -> None:
    page = metrics.render()[0].decode()
    assert re.search(r'^gobbler_build_info\{python="3\.\d+\.\d+[^"]*",version="1\.2\.3"\} 1\.0$', page, re.M)
    assert re.search(r"^process_resident_memory_bytes \d", page, re.M)


def test_servers_do_not_share_values() -> None:
    one, other = Metrics("1"), Metrics("1")
    one.commits_total.inc()
    assert (value(one, "commits_total"), value(other, "commits_total")) == (1, 0)


def test_plain_text_is_the_default(metrics: Metrics) -> None:
    page, kind = metrics.render()
    names = {family.name for family in parse_text(page.decode())}
    assert kind == "text/plain; version=0.0.4; charset=utf-8"
    assert {f"gobbler_{name}" for name in GAUGES + HISTOGRAMS} <= names
    assert {f"gobbler_{name.removesuffix('_total')}" for name in COUNTERS} <= names


@pytest.mark.parametrize(
    "accept",
    [
        "application/openmetrics-text",
        "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
        "application/openmetrics-text; version=rubbish",
    ],
)
def test_openmetrics_when_asked_for(metrics: Metrics, accept: str) -> None:
    page, kind = metrics.render(accept)
    assert kind == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert page.endswith(b"# EOF\n")
    families = parse_openmetrics(page.decode())  # type: ignore[no-untyped-call]
    assert "gobbler_publish_seconds" in {family.name for family in families}


@pytest.mark.parametrize(
    "accept", ["", "*/*", "text/html", "application/json;q=x,,;", "text/plain; version=a.b"]
)
def test_plain_text_for_any_other_wish(metrics: Metrics, accept: str) -> None:
    assert metrics.render(accept)[1].startswith("text/plain; version=0.0.4")


def test_every_metric_is_explained_and_has_one_series_of_a_name(metrics: Metrics) -> None:
    page = metrics.render()[0].decode()
    series = [line.rsplit(" ", 1)[0] for line in page.splitlines() if not line.startswith("#")]
    assert len(series) == len(set(series))
    assert "_created" not in page
    assert all(family.documentation for family in parse_text(page))


def test_a_bucket_counts_all_up_to_its_bound() -> None:
    registry = CollectorRegistry()
    histogram = BatchHistogram("h", "x", (1, 2, 5), registry)
    for seconds, times in ((0.5, 1), (1, 2), (1.5, 3), (5, 4), (5.1, 5)):
        histogram.observe(seconds, times)
    buckets = [registry.get_sample_value("h_bucket", {"le": le}) for le in ("1.0", "2.0", "5.0", "+Inf")]
    assert buckets == [3, 6, 10, 15]
    assert registry.get_sample_value("h_count") == 15
    assert registry.get_sample_value("h_sum") == pytest.approx(0.5 + 2 + 4.5 + 20 + 25.5)


def test_publish_latency_reaches_from_100_microseconds_to_5_seconds() -> None:
    assert (PUBLISH_BUCKETS[0], PUBLISH_BUCKETS[-1]) == (0.0001, 5)
    assert list(PUBLISH_BUCKETS) == sorted(PUBLISH_BUCKETS)
