"""What failed last."""

from pathlib import Path

import gevent

from gobbler.connectors.failures import KEPT, TEXT_CHARACTERS, Failure, Failures
from gobbler.connectors.outcome import Gone, Outage, Outcome, Pause, Refused, Retry
from tests.connectors.rig import SECONDS, Rig


class Clock:
    now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def test_the_newest_is_first_and_what_is_the_same_is_kept_once() -> None:
    failures = Failures(Clock())
    for outcome in (Refused("bad", "no"), Outage("503"), Refused("bad", "no"), Refused("bad", "other")):
        failures.note(outcome)
    assert failures.latest() == [
        Failure("refused", "bad", "other", 4, 4),
        Failure("refused", "bad", "no", 1, 3, 2),
        Failure("outage", "503", "", 2, 2),
    ]
    assert repr(failures) == "<Failures, 3>"


def test_every_kind_has_its_name() -> None:
    failures = Failures(Clock())
    for outcome in (Refused("x"), Gone("x"), Retry("x"), Outage("x"), Pause("x")):
        failures.note(outcome)
    assert [one.kind for one in failures.latest()] == ["pause", "outage", "retry", "gone", "refused"]


def test_few_are_kept_and_their_texts_are_short() -> None:
    failures = Failures(Clock())
    for number in range(KEPT + 5):
        failures.note(Retry(f"r{number}", "x" * 1000))
    failures.note(Retry("r5", "x" * 1000))
    found = failures.latest()
    assert [one.reason for one in found[:2]] == ["r5", f"r{KEPT + 4}"]
    assert len({one.reason for one in found}) == len(found) == KEPT
    assert {len(one.text) for one in found} == {TEXT_CHARACTERS}


def test_a_connector_notes_what_fails_and_keeps_it_while_it_is_off(tmp_path: Path) -> None:
    answers: list[Outcome] = [
        Retry("busy", "later"),
        Pause("credentials", "expired", after=0.0),
        Refused("bad"),
    ]
    with Rig(tmp_path, lambda delivery: answers.pop(0)) as rig:
        rig.subscribe("a", "/foo")
        rig.publish("/foo", "x")
        with gevent.Timeout(SECONDS):
            while len(rig.connector.failures.latest()) < 3:
                gevent.sleep(0.001)
        rig.connector.turn_off(1)
        rig.connector.turn_on()
        found = [(one.kind, one.reason, one.text, one.times) for one in rig.connector.failures.latest()]
    assert found == [
        ("refused", "bad", "", 1),
        ("pause", "credentials", "expired", 1),
        ("retry", "busy", "later", 1),
    ]
