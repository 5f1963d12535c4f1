"""The checks of a load, on what a server should never do."""

from collections.abc import Iterable

import pytest

from gobbler.cli.client.load import END, Load, Plan, Subscriber
from gobbler.client import Client, Message, MessagesLost, Subscription, Timeout
from gobbler.client.lanes import OnConnection
from tests.system.server import ServerProcess

PLAN = Plan("/x", publishers=2, subscribers=1, messages=3, size=0, rate=None, patience=1)


class Told(Subscription):
    """A subscription that gives what it is told; what is an error it raises."""

    def __init__(self, items: Iterable[bytes | Exception]) -> None:
        self._told = iter(items)

    def get(self, timeout: float | None = None) -> Message | None:
        item = next(self._told)
        if isinstance(item, Exception):
            raise item
        return Message("/x", 1, "", "", "", 0, b"", item)


def checked(*bodies: bytes | Exception) -> tuple[dict[str, int], int]:
    """What is wrong with bodies, and how many are missing when both publishers have sent three."""
    subscriber = Subscriber(Told([*bodies, END]), PLAN)
    subscriber.run()
    return dict(subscriber.faults), subscriber.lost([3, 3])


def body(publisher: int, number: int) -> bytes:
    return b"%d %d 0 ...." % (publisher, number)


ALL = [body(0, 0), body(1, 0), body(1, 1), body(0, 1), body(1, 2), body(0, 2)]


def test_all_is_well() -> None:
    assert checked(*ALL) == ({}, 0)


@pytest.mark.parametrize("missing", range(6))
def test_what_is_lost(missing: int) -> None:
    assert checked(*ALL[:missing], *ALL[missing + 1 :]) == ({}, 1)


def test_what_is_repeated() -> None:
    assert checked(*ALL, ALL[0]) == ({"repeated": 1}, 0)
    assert checked(*ALL[:3], ALL[1], ALL[2], *ALL[3:]) == ({"repeated": 2}, 0)


def test_what_is_out_of_order() -> None:
    assert checked(body(0, 1), body(0, 0), body(0, 2), *(body(1, n) for n in range(3))) == (
        {"out of order": 1},
        0,
    )


@pytest.mark.parametrize("other", [b"", b"hello", b"7 0 0 ", b"1 2", b"a b c d"])
def test_what_is_of_somebody_else(other: bytes) -> None:
    assert checked(other, *ALL) == ({"of somebody else": 1}, 0)


def test_what_never_comes() -> None:
    assert checked(*ALL[:2], Timeout("no message came in time")) == ({"no message came in time": 1}, 4)
    lost = MessagesLost("/x", 1, 2)
    assert checked(lost) == ({"messages 1 to 2 of /x are lost": 1}, 6)


def test_a_whole_load(server: ServerProcess, topic: str) -> None:
    """In this process, where the report can be looked at."""
    told: list[tuple[int, int]] = []
    plan = Plan(topic, publishers=3, subscribers=2, messages=100, size=50, rate=None, patience=10)

    def connect(on_connection: OnConnection | None) -> Client:
        return Client(f"http://127.0.0.1:{server.port}", on_connection=on_connection)

    report = Load(plan, connect, lambda published, delivered: told.append((published, delivered))).run()
    assert (report.published, report.delivered, dict(report.faults)) == (300, 600, {})
    assert 0 < report.published_in <= report.delivered_in
    assert told[-1] == (300, 600)
