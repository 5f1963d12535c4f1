"""The dashboard's view of connectors, and their switches."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gobbler import logs
from gobbler.admin import connectors
from gobbler.connectors.base import Delivery
from gobbler.connectors.outcome import Outage, Outcome, Pause, Refused, Retry, Sent
from gobbler.errors import ConfigError, GobblerError, KVError
from gobbler.metrics import Metrics
from tests.admin.asking import Asker, Json
from tests.connectors.rig import Rig

ANSWERS: dict[bytes, Outcome] = {
    b"fine": Sent(),
    b"bad": Refused("too-large", "5,000 bytes"),
    b"worse": Refused("invalid", "no"),
}


def answer(delivery: Delivery) -> Outcome:
    if delivery.message.body == b"later" and not delivery.attempt:
        return Retry("busy", "in a moment", after=0.0)
    return ANSWERS.get(delivery.message.body, Sent())


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with Rig(tmp_path, answer) as made:
        yield made


def ask(rig: Rig, *, toggles: bool = True) -> Asker:
    metrics = Metrics("test")
    metrics.registry = rig.registry
    return Asker(connectors.blueprint({"fcm": rig.connector}, metrics, toggles=toggles))


def found(asker: Asker) -> Json:
    (one,) = asker.get("/connectors")["connectors"]
    return one


def test_without_connectors_there_are_none() -> None:
    asker = Asker(connectors.blueprint({}, Metrics("test"), toggles=True))
    assert asker.get("/connectors") == {"toggles": True, "connectors": []}


def test_what_is_told_of_a_connector(rig: Rig) -> None:
    rig.subscribe("a", "/foo")
    rig.publish("/foo", "fine", "bad", "later", "worse", "bad", "fine")
    asker = ask(rig)
    rig.sender.wait_until(lambda: rig.has_sent(3) and found(asker)["queue"] == 0)
    one = found(asker)
    failures = one.pop("failures")
    assert one == {
        "name": "fcm",
        "on": True,
        "state": "sending",
        "cause": None,
        "failed": {"too-large": 2, "invalid": 1},
        "retried": {"busy": 1},
        "queue": 0,
        "delayed": 0,
        "subscriptions": 1,
        "sent": 3,
        "removed": 0,
        "lost": 0,
    }
    told = [tuple(failure[name] for name in ("kind", "reason", "text", "times")) for failure in failures]
    assert told == [
        ("refused", "too-large", "5,000 bytes", 2),
        ("refused", "invalid", "no", 1),
        ("retry", "busy", "in a moment", 1),
    ]
    assert failures[0]["first"] < failures[1]["first"] < failures[0]["last"]


@pytest.mark.parametrize(
    ("cause", "state"),
    [
        (Pause("credentials", "expired", after=60.0), "paused"),
        (Pause("rate", after=60.0, alert=False), "paused"),
        (Outage("503", "no\nanswer", after=60.0), "waiting"),
        (Pause("credentials", after=0.0), "trying"),
    ],
)
def test_states_and_why(rig: Rig, cause: Pause | Outage, state: str) -> None:
    breaker = rig.connector.breaker
    if isinstance(cause, Pause):
        breaker.pause(breaker.enter(), cause)
    else:
        while not breaker.failed(breaker.enter(), cause):
            pass
    one = found(ask(rig))
    text = f"{cause.reason}: {cause.text}".removesuffix(": ").replace("\n", "\\n")
    assert (one["on"], one["state"], one["cause"]) == (True, state, text)
    rig.connector.turn_off(1)
    one = found(ask(rig))
    assert (one["on"], one["state"], one["cause"]) == (False, "off", None)


def test_no_secret_and_no_token_is_shown(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_secrets", logs.Secrets())
    logs.hide("s3cret")
    rig.connector.failures.note(Refused("no s3cret", "the key s3cret is wrong"))
    breaker = rig.connector.breaker
    breaker.pause(breaker.enter(), Pause("s3cret", "s3cret"))
    rig.subscribe("a-device-token", "/foo")
    answered = ask(rig).http.get("/admin/api/connectors").text
    assert "***" in answered
    assert "s3cret" not in answered
    assert "a-device-token" not in answered


def test_a_switch(rig: Rig) -> None:
    asker = ask(rig)
    for on, told in (
        (False, "fcm was successfully stopped."),
        (False, "fcm was already stopped."),
        (True, "fcm was successfully started."),
        (True, "fcm was already running."),
    ):
        assert asker.post("/connectors/fcm", {"on": on}) == (200, {"text": told, "on": on})
        assert rig.connector.on is on
        assert found(asker)["on"] is on


@pytest.mark.parametrize(
    ("name", "asked", "status", "text"),
    [
        ("apns", {"on": True}, 404, "there is no such connector"),
        ("fcm", {}, 400, "on must be true or false"),
        ("fcm", {"on": "false"}, 400, "on must be true or false"),
        ("fcm", {"on": 0}, 400, "on must be true or false"),
        ("fcm", [False], 400, "the body is not a JSON object"),
    ],
)
def test_a_switch_that_is_none(rig: Rig, name: str, asked: Json, status: int, text: str) -> None:
    assert ask(rig).post(f"/connectors/{name}", asked) == (status, {"error": text})
    assert rig.connector.on


def test_other_sites_cannot_switch(rig: Rig) -> None:
    asker = ask(rig)
    assert asker.post("/connectors/fcm", {"on": False}, {"Sec-Fetch-Site": "cross-site"})[0] == 403
    assert asker.post("/connectors/fcm", {"on": False}, {"Content-Type": "text/plain"})[0] == 415
    assert asker.refusal("/connectors/fcm")[0] == 405
    assert rig.connector.on


def test_where_toggles_are_turned_off_nothing_is_switched(rig: Rig) -> None:
    asker = ask(rig, toggles=False)
    assert asker.get("/connectors")["toggles"] is False
    assert asker.post("/connectors/fcm", {"on": False})[0] == 404
    assert rig.connector.on


@pytest.mark.parametrize(
    ("error", "status"), [(ConfigError("the key\nis gone"), 500), (KVError("the key\nis gone"), 503)]
)
def test_a_connector_that_does_not_start_says_why(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, error: GobblerError, status: int
) -> None:
    def fail() -> None:
        raise error

    asker = ask(rig)
    asker.post("/connectors/fcm", {"on": False})
    monkeypatch.setattr(rig.sender, "start", fail)
    text = "fcm cannot be switched: the key\\nis gone"
    assert asker.post("/connectors/fcm", {"on": True}) == (status, {"error": text})
    assert found(asker)["on"] is False
