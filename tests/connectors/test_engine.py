"""An engine in trouble: a store that cannot be read, a defect, a message for many."""

from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

from gobbler.connectors import engine
from gobbler.connectors.lane import Lane
from gobbler.errors import StoreUnavailable
from gobbler.store.base import Bounds
from tests.connectors.rig import Rig


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "TROUBLE_SECONDS", 0.01)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with Rig(tmp_path) as made:
        made.subscribe("a", "/foo")
        yield made


@pytest.mark.parametrize("error", [StoreUnavailable("the disk is away"), RuntimeError("a bug")])
def test_what_cannot_be_read_now_is_read_later(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    bounds, failures = rig.store.bounds, iter([error] * 5)

    def failing(partition: str) -> Bounds:
        for failure in failures:
            raise failure
        return bounds(partition)

    monkeypatch.setattr(rig.store, "bounds", failing)
    rig.wait_for("a", rig.publish("/foo", "1"))
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 5


@pytest.mark.parametrize("error", [StoreUnavailable("the disk is away"), RuntimeError("a bug")])
def test_a_lane_that_cannot_be_served_now_is_served_later(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    refill, failures = rig.connector._reader.refill, iter([error] * 5)

    def failing(lane: Lane) -> None:
        for failure in failures:
            raise failure
        refill(lane)

    monkeypatch.setattr(rig.connector._reader, "refill", failing)
    rig.wait_for("a", rig.publish("/foo", "1", "2"))
    rig.wait_until_idle()


def test_a_message_for_many_lets_others_have_their_turn(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "TURN_DEVICES", 10)
    for number in range(200):
        rig.subscribe(f"d{number}", "/crowd")
    sleep, turns = gevent.sleep, list[float]()

    def counted(seconds: float = 0) -> None:
        turns.append(seconds)
        sleep(seconds)

    monkeypatch.setattr(gevent, "sleep", counted)
    rig.publish("/crowd", "hello")
    rig.sender.wait_until(lambda: len(rig.sender.sent) == 200)
    assert turns.count(0) >= 200 // 10
    assert repr(rig.connector._engine).startswith("<Engine <Workload of ")


def test_what_begins_while_it_loads_is_not_missed(tmp_path: Path) -> None:
    with Rig(tmp_path) as rig:
        rig.subscribe("a", "/foo")
        rig.connector.turn_off(5)
        turning_on = gevent.spawn(rig.connector.turn_on)
        gevent.sleep(0)
        rig.subscribe("b", "/new")
        turning_on.get(timeout=5)
        rig.wait_for("b", rig.publish("/new", "1"))
