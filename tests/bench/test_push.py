"""The shapes of connectors, each in its smallest form: a real server, a fake provider."""

import pytest

from bench.servers import Gobbler
from bench.shapes import Figure, Push, Subscriptions


@pytest.mark.parametrize("connector", ["fcm", "apns", "sms"])
def test_notifications_are_measured(connector: str) -> None:
    figures = (Figure("sent", "pushes/s"), Figure("processor time a push", "us"))
    shape = Push("p", "title", figures, connector, 1, messages=30, topics=3)
    with shape.server(Gobbler) as server:
        values = shape.measure(server)
        assert len(server.fake.received()) == (33 if connector == "sms" else 330)
    assert values.keys() == {figure.key for figure in figures}
    assert values["sent"] > 0


def test_subscriptions_are_measured() -> None:
    shape = Subscriptions("s", "title", (), 10_000).scaled(0.5)
    with shape.server(Gobbler) as server:
        values = shape.measure(server)
    assert shape.number == 5_000
    assert 0 < values["memory a subscription"] < 5_000
