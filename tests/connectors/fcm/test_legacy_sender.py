"""Sends to the fake over real TLS: every row of the legacy protocol's table."""

import logging
from pathlib import Path

import pytest

from gobbler.connectors.base import Sender
from gobbler.connectors.fcm.legacy_sender import LegacyFcmSender
from gobbler.connectors.outcome import Gone, Outage, Outcome, Pause, Refused, Retry, Sent
from gobbler.errors import ConfigError
from tests.connectors.fcm.conftest import PATIENT, SOON
from tests.connectors.fcm.deliveries import delivery
from tests.connectors.fcm.patched import Task
from tests.providers.fcm import API_KEY, FakeFcm


def made(fake: FakeFcm, api_key: str = API_KEY, ca: Path | None = None) -> LegacyFcmSender:
    return LegacyFcmSender(
        api_key, endpoint=f"{fake.url}/legacy", ca_file=ca or fake.authority.file, limits=PATIENT
    )


def test_it_is_a_sender(legacy: LegacyFcmSender) -> None:
    seam: Sender = legacy
    assert (seam.name, seam.retry_delay) == ("fcm", 10.0)


def test_a_notification_is_sent(legacy: LegacyFcmSender, fake: FakeFcm) -> None:
    body = {"notification": {"title": "T"}, "data": {"n": 1}, "time_to_live": 5}
    assert legacy.send(delivery("device-1", body)) == Sent()
    sent = fake.received()[-1]
    assert (sent["token"], sent["status"]) == ("device-1", 200)
    assert sent["payload"] == {"notification": {"title": "T"}, "data": {"n": "1"}, "time_to_live": 5}
    assert sent["headers"]["content-type"] == "application/json"
    assert fake.stats()["violations"] == []


@pytest.mark.parametrize(
    ("token", "kind", "reason"),
    [
        ("NotRegistered:1", Gone, "NotRegistered"),
        ("InvalidRegistration:1", Gone, "InvalidRegistration"),
        ("MissingRegistration:1", Refused, "MissingRegistration"),
        ("InvalidPackageName:1", Refused, "InvalidPackageName"),
        ("MismatchSenderId:1", Refused, "MismatchSenderId"),
        ("InvalidParameters:1", Refused, "InvalidParameters"),
        ("MessageTooBig:1", Refused, "MessageTooBig"),
        ("InvalidDataKey:1", Refused, "InvalidDataKey"),
        ("InvalidTtl:1", Refused, "InvalidTtl"),
        ("NeverHeardOf:1", Refused, "UNKNOWN_ERROR"),
        ("Unavailable:1", Outage, "Unavailable"),
        ("InternalServerError:1", Outage, "InternalServerError"),
        ("DeviceMessageRateExceeded:1", Retry, "DeviceMessageRateExceeded"),
        ("TopicsMessageRateExceeded:1", Retry, "TopicsMessageRateExceeded"),
        ("InvalidApnsCredential:1", Pause, "InvalidApnsCredential"),
        ("HTTP~400:1", Refused, "HTTP_400"),
        ("HTTP~401:1", Pause, "HTTP_401"),
        ("HTTP~404:1", Pause, "HTTP_404"),
        ("HTTP~429:1", Pause, "HTTP_429"),
        ("HTTP~500:1", Outage, "HTTP_500"),
        ("HTTP~503:1", Outage, "HTTP_503"),
        ("garbage:1", Outage, "INVALID_ANSWER"),
        ("drop:1", Outage, "CONNECTION"),
        ("drop_after:1", Outage, "CONNECTION"),
    ],
)
def test_every_answer(legacy: LegacyFcmSender, token: str, kind: type[Outcome], reason: str) -> None:
    outcome = legacy.send(delivery(token))
    assert isinstance(outcome, kind)
    assert not isinstance(outcome, Sent)
    assert outcome.reason == reason
    if isinstance(outcome, Pause):
        assert outcome.alert == (reason != "HTTP_429")


@pytest.mark.parametrize("limits", [SOON])
def test_no_answer(legacy: LegacyFcmSender) -> None:
    outcome = legacy.send(delivery("silent:1"))
    assert isinstance(outcome, Outage)
    assert outcome.reason == "TIMEOUT"


@pytest.mark.parametrize(
    "token",
    ["Unavailable~17:1", "InternalServerError~17:1", "DeviceMessageRateExceeded~17:1", "HTTP~503~17:1"],
)
def test_how_long_to_wait(legacy: LegacyFcmSender, token: str) -> None:
    outcome = legacy.send(delivery(token))
    assert isinstance(outcome, Outage | Retry)
    assert outcome.after == 17.0


def test_a_new_token(legacy: LegacyFcmSender) -> None:
    assert legacy.send(delivery("canonical~new-token:1")) == Sent("new-token")


def test_a_key_that_the_gateway_does_not_know(fake: FakeFcm) -> None:
    sender = made(fake, "another-key")
    sender.start()
    outcome = sender.send(delivery())
    sender.stop(1.0)
    assert outcome == Pause("HTTP_401", "the gateway does not accept the key: check --fcm-api-key")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"\xff", "invalid-message"),
        ({"condition": "x", "data": {}}, "invalid-message"),
        (b"x" * 5000, "too-large"),
    ],
)
def test_what_cannot_be_sent_is_not(
    legacy: LegacyFcmSender, fake: FakeFcm, body: object, reason: str
) -> None:
    before = fake.stats()["requests"]
    outcome = legacy.send(delivery(body=body))
    assert isinstance(outcome, Refused)
    assert outcome.reason == reason
    assert fake.stats()["requests"] == before


# Starting and stopping


@pytest.mark.parametrize("key", ["a key", "key\n", "schlüssel"])
def test_a_key_that_is_none(fake: FakeFcm, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        made(fake, key).start()
    assert str(caught.value) == "--fcm-api-key: has a character that no key has"


def test_certificates_that_cannot_be_read(fake: FakeFcm, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--fcm-ca-file: "):
        made(fake, ca=tmp_path / "missing").start()


def test_it_can_be_started_again(legacy: LegacyFcmSender, fake: FakeFcm) -> None:
    legacy.start()
    assert legacy.send(delivery()) == Sent()
    assert repr(legacy) == f"LegacyFcmSender('{fake.url}/legacy', running)"
    legacy.stop(1.0)
    legacy.stop(1.0)
    assert legacy.send(delivery()) == Outage("STOPPED", "the connector is not running")
    assert repr(legacy) == f"LegacyFcmSender('{fake.url}/legacy', stopped)"
    legacy.start()
    assert legacy.send(delivery()) == Sent()


def test_events(legacy: LegacyFcmSender) -> None:
    body = {"notification": {"title": "T", "body": "B"}, "data": {"deep_link": "app://x"}}
    event = legacy.event(delivery(body=body), Gone("NotRegistered"))
    assert event is not None
    facts = ("notification_title", "notification_body", "deep_link", "status", "error_text")
    assert [event.payload[name] for name in facts] == ["T", "B", "app://x", "Fail", "NotRegistered"]


def test_a_crowd(fake: FakeFcm) -> None:
    before = len(fake.received())
    tokens = [f"legacy-crowd-{n}" for n in range(1000)]
    told = Task(
        f"{fake.url}/legacy",
        str(fake.authority.file),
        api_key=API_KEY,
        tokens=tokens,
        sends=1000,
        greenlets=50,
    ).run()
    assert told["outcomes"] == {"Sent": 1000}
    assert sorted(line["token"] for line in fake.received()[before:]) == sorted(tokens)
    assert told["stderr"] == ""


def test_secrets_are_in_no_text(legacy: LegacyFcmSender, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever goes wrong, and even if the answer repeats them."""
    caplog.set_level(logging.DEBUG)
    names = ("echo", "NotRegistered", "InvalidParameters", "HTTP~401", "drop")
    outcomes = [legacy.send(delivery(f"{name}:very-own-token")) for name in names]
    text = "\n".join([caplog.text, repr(legacy), *map(repr, outcomes)])
    assert "[hidden]" in text
    assert "very-own-token" not in text
    assert API_KEY not in text
