"""Percentiles, within 2 %."""

import random

import pytest

from gobbler.cli.client.latency import Latencies


@pytest.mark.parametrize("percent", [50, 90, 99, 99.9])
def test_percentiles(percent: float) -> None:
    values = [int(random.Random(7).expovariate(1e-6) * n) + 1 for n in range(10_000)]
    latencies = Latencies()
    for value in values:
        latencies.add(value)
    exact = sorted(values)[int(len(values) * percent / 100) - 1]
    assert latencies.percentile(percent) == pytest.approx(exact, rel=0.021)
    assert latencies.percentile(100) == latencies.most == max(values)


def test_none() -> None:
    assert (Latencies().percentile(50), Latencies().most) == (0.0, 0)


def test_nothing_is_longer_than_the_longest() -> None:
    latencies = Latencies()
    latencies.add(0)
    latencies.add(1000)
    assert latencies.percentile(99) == 1000


def test_merged() -> None:
    one, other = Latencies(), Latencies()
    one.add(100)
    other.add(10_000)
    one.merge(other)
    assert one.percentile(50) == pytest.approx(100, rel=0.021)
    assert one.percentile(100) == one.most == 10_000
