"""A few of the counters."""

import os

import pytest
from prometheus_client import Counter

from gobbler.admin import counted
from gobbler.metrics import Metrics


def test_only_what_is_named_is_asked() -> None:
    metrics = Metrics("test")
    metrics.count_error("internal", 2)
    metrics.count_error("store")
    metrics.sessions.inc(3)
    found = list(counted.samples(metrics, "gobbler_errors_total"))
    assert {one.name for one in found} == {"gobbler_errors_total"}
    assert {one.labels["kind"]: one.value for one in found} == {"internal": 2, "store": 1}
    assert counted.total(metrics, "gobbler_errors_total") == 3
    assert counted.total(metrics, "gobbler_sessions") == 3
    assert counted.total(metrics, "gobbler_no_such_thing") == 0


def test_a_counter_without_its_labels_is_nothing_yet() -> None:
    metrics = Metrics("test")
    Counter("gobbler_push_sent", "x", ["connector"], registry=metrics.registry)
    assert counted.total(metrics, "gobbler_push_sent_total") == 0


def test_memory_is_that_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 << 20 < counted.memory() < 1 << 40
    assert counted.memory() % os.sysconf("SC_PAGE_SIZE") == 0
    monkeypatch.setattr(counted, "_MEMORY", "/no/such/file")
    assert counted.memory() == 0
