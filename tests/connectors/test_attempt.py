"""What follows from each outcome, with a clock of the tests' own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gobbler.connectors.backoff import GIVE_UP_SECONDS
from gobbler.connectors.base import Delivery
from gobbler.connectors.outcome import Outage, Outcome, Refused, Retry, Sent
from tests.clock import Clock
from tests.connectors.rig import Rig


class Scene:
    """A connector at a clock that stands still, and what its provider says to the device `a`."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock(1_000_000.0)
        self.to_a: Outcome = Sent()
        self.rig = Rig(folder, self._answer, clock=self.clock)

    def _answer(self, delivery: Delivery) -> Outcome:
        return self.to_a if delivery.device_token == "a" else Sent()

    def later(self, seconds: float) -> None:
        """Let time pass, and what is due be tried."""
        self.clock.now += seconds
        engine = self.rig.connector._engine
        assert engine is not None
        engine.workload._sooner.set()

    def attempts(self) -> int:
        return [token for token, _ in self.rig.sender.attempts].count("a")

    def wait_for_attempts(self, number: int) -> None:
        self.rig.sender.wait_until(lambda: self.attempts() == number)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    with made.rig:
        made.rig.subscribe("a", "/foo")
        made.rig.subscribe("b", "/bar")
        yield made


def test_what_a_provider_asks_for_is_waited_for(scene: Scene) -> None:
    scene.to_a = Retry("busy", after=60.0)
    scene.rig.publish("/foo", "1")
    scene.wait_for_attempts(1)
    scene.rig.sender.wait_until(lambda: scene.rig.metric("delayed") == 1)
    scene.later(59)
    scene.rig.publish("/bar", "barrier")
    scene.rig.wait_for("b", [1])
    assert scene.attempts() == 1
    scene.later(8)
    scene.wait_for_attempts(2)


def test_what_fails_for_an_hour_while_others_go_through_is_given_up(scene: Scene) -> None:
    scene.to_a = Retry("busy", after=1.0)
    scene.rig.publish("/foo", "1", "2")
    scene.wait_for_attempts(1)
    scene.rig.sender.wait_until(lambda: scene.rig.metric("delayed") == 1)
    scene.later(10)
    scene.wait_for_attempts(2)
    scene.rig.sender.wait_until(lambda: scene.rig.metric("delayed") == 1)
    scene.rig.wait_for("b", scene.rig.publish("/bar", "others go through"))
    scene.rig.sender.wait_until(lambda: scene.rig.metric("sent_total") == 1)
    scene.later(GIVE_UP_SECONDS)
    scene.rig.sender.wait_until(lambda: scene.rig.metric("failed_total", reason="gave-up") == 1)
    scene.to_a = Sent()
    scene.later(10)
    scene.rig.wait_for("a", [2])


def test_while_nothing_goes_through_nothing_is_given_up(scene: Scene) -> None:
    scene.to_a = Outage("down")
    scene.rig.publish("/foo", "1")
    scene.wait_for_attempts(1)
    for number in range(2, 5):
        scene.rig.sender.wait_until(lambda: scene.rig.metric("delayed") == 1)
        scene.later(GIVE_UP_SECONDS)
        scene.wait_for_attempts(number)
    scene.to_a = Sent()
    scene.rig.sender.wait_until(lambda: scene.rig.metric("delayed") == 1)
    scene.later(GIVE_UP_SECONDS)
    scene.rig.wait_for("a", [1])
    assert scene.rig.metric("failed_total", reason="gave-up") == 0


def test_a_defect_of_a_sender_holds_up_nobody_else(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    def broken(delivery: Delivery) -> Outcome:
        if delivery.device_token == "a":
            raise RuntimeError("a bug")
        return Sent()

    scene.rig.sender.answer = broken
    scene.rig.publish("/foo", "1")
    scene.rig.wait_for("b", scene.rig.publish("/bar", "1"))
    scene.rig.sender.wait_until(lambda: scene.rig.metric("retried_total", reason="internal") == 1)
    assert any("a bug" in (record.exc_text or "") for record in caplog.records)


def test_an_id_is_the_same_for_each_attempt_and_another_for_each_notification(scene: Scene) -> None:
    scene.to_a = Retry("busy", after=1.0)
    scene.rig.publish("/foo", "1")
    scene.wait_for_attempts(1)
    scene.rig.sender.wait_until(lambda: scene.rig.metric("delayed") == 1)
    scene.to_a = Sent()
    scene.later(5)
    scene.rig.wait_for("a", [1])
    scene.rig.wait_for("a", [1, *scene.rig.publish("/foo", "2")])
    first, again, other = (one.id for one in scene.rig.sender.deliveries)
    assert first == again != other


def test_a_refusal_is_no_word_about_the_provider(scene: Scene) -> None:
    scene.to_a = Refused("too-large")
    scene.rig.publish("/foo", "1")
    scene.rig.sender.wait_until(lambda: scene.rig.metric("failed_total", reason="too-large") == 1)
    assert scene.rig.connector.breaker.state == "closed"
