"""Sends to the fake over real TLS: every row of HTTP v1's table, from the token to the outcome."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from gobbler.connectors.base import Sender
from gobbler.connectors.fcm.sender import FcmSender
from gobbler.connectors.outcome import Gone, Outage, Outcome, Pause, Refused, Retry, Sent
from gobbler.errors import ConfigError
from gobbler.reporting.events import Event
from tests.connectors.fcm.conftest import PATIENT, SOON
from tests.connectors.fcm.deliveries import delivery
from tests.connectors.fcm.patched import Task
from tests.providers.fcm import FakeFcm
from tests.providers.service_account import PROJECT, private_key


def test_it_is_a_sender(sender: FcmSender) -> None:
    seam: Sender = sender
    assert (seam.name, seam.retry_delay) == ("fcm", 10.0)


def test_a_notification_is_sent(sender: FcmSender, fake: FakeFcm) -> None:
    body = {"notification": {"title": "T"}, "data": {"n": 1}, "android": {"ttl": 5}}
    assert sender.send(delivery("device-1", body)) == Sent()
    sent = fake.received()[-1]
    assert (sent["token"], sent["status"]) == ("device-1", 200)
    assert sent["payload"] == {
        "notification": {"title": "T"},
        "data": {"n": "1"},
        "android": {"ttl": "5s"},
    }
    assert sent["headers"]["content-type"] == "application/json"
    assert fake.stats()["violations"] == []


# Every row


@pytest.mark.parametrize(
    ("token", "kind", "reason"),
    [
        ("UNREGISTERED:1", Gone, "UNREGISTERED"),
        ("NOT_FOUND:1", Pause, "NOT_FOUND"),
        ("INVALID_TOKEN:1", Gone, "INVALID_ARGUMENT"),
        ("INVALID_TOKEN_FIELD:1", Gone, "INVALID_ARGUMENT"),
        ("INVALID_ARGUMENT:1", Refused, "INVALID_ARGUMENT"),
        ("INVALID_UNNAMED:1", Refused, "INVALID_ARGUMENT"),
        ("SENDER_ID_MISMATCH:1", Refused, "SENDER_ID_MISMATCH"),
        ("PERMISSION_DENIED:1", Pause, "PERMISSION_DENIED"),
        ("THIRD_PARTY_AUTH_ERROR:1", Pause, "THIRD_PARTY_AUTH_ERROR"),
        ("UNAUTHENTICATED:1", Pause, "UNAUTHENTICATED"),
        ("INTERNAL:1", Outage, "INTERNAL"),
        ("UNAVAILABLE:1", Outage, "UNAVAILABLE"),
        ("HTTP~404:1", Pause, "HTTP_404"),
        ("HTTP~500:1", Outage, "HTTP_500"),
        ("HTTP~502:1", Outage, "HTTP_502"),
        ("HTTP~503:1", Outage, "HTTP_503"),
        ("garbage:1", Outage, "INVALID_ANSWER"),
        ("drop:1", Outage, "CONNECTION"),
        ("drop_after:1", Outage, "CONNECTION"),
        ("reset:1", Outage, "CONNECTION"),
    ],
)
def test_every_answer(sender: FcmSender, token: str, kind: type[Outcome], reason: str) -> None:
    outcome = sender.send(delivery(token))
    assert isinstance(outcome, kind)
    assert not isinstance(outcome, Sent)
    assert outcome.reason == reason
    if isinstance(outcome, Pause):
        assert (outcome.after, outcome.alert) == (None, True)
    if isinstance(outcome, Outage):
        assert outcome.after is None


@pytest.mark.parametrize("limits", [SOON])
def test_no_answer(sender: FcmSender) -> None:
    outcome = sender.send(delivery("silent:1"))
    assert isinstance(outcome, Outage)
    assert (outcome.reason, outcome.after) == ("TIMEOUT", None)


@pytest.mark.parametrize(
    ("name", "kind", "without"),
    [
        ("QUOTA_EXCEEDED", Pause, 60.0),
        ("RATE_LIMIT_EXCEEDED", Pause, 60.0),
        ("DEVICE_QUOTA_EXCEEDED", Retry, 60.0),
        ("INTERNAL", Outage, None),
        ("UNAVAILABLE", Outage, None),
    ],
)
def test_how_long_to_wait(sender: FcmSender, name: str, kind: type[Outcome], without: float | None) -> None:
    plain, seconds, date = (sender.send(delivery(f"{name}{more}:1")) for more in ("", "~17", "~date30"))
    for outcome in (plain, seconds, date):
        assert isinstance(outcome, kind)
        assert not isinstance(outcome, Pause) or not outcome.alert
    assert isinstance(plain, Pause | Retry | Outage)
    assert plain.after == without
    assert isinstance(seconds, Pause | Retry | Outage)
    assert seconds.after == 17.0
    assert isinstance(date, Pause | Retry | Outage)
    assert date.after is not None
    assert 20.0 < date.after <= 30.0


def test_nobody_is_there(sender: FcmSender, fake: FakeFcm) -> None:
    """The connection breaks, there is none for a while, and then there is one again."""
    assert sender.send(delivery()) == Sent()
    fake.stop()
    outcomes = [sender.send(delivery()) for _ in range(3)]
    fake.start()
    assert [type(outcome) for outcome in outcomes] == [Outage] * 3
    # This fake does not know the token that the one before had granted.
    assert sender.send(delivery()) == Sent()


@pytest.mark.parametrize(
    ("body", "reason", "text"),
    [
        (b"\xff", "invalid-message", "the body is not valid UTF-8"),
        ({"topic": "x", "data": {}}, "invalid-message", "the body names a target of its own: topic"),
        ({"data": {"from": "x"}}, "invalid-message", "data has a key that FCM keeps for itself: 'from'"),
        (b"x" * 5000, "too-large", "notification and data have 5007 bytes, FCM takes 4096"),
    ],
)
def test_what_cannot_be_sent_is_not(
    sender: FcmSender, fake: FakeFcm, body: object, reason: str, text: str
) -> None:
    before = fake.stats()["requests"]
    assert sender.send(delivery(body=body)) == Refused(reason, text)
    assert fake.stats()["requests"] == before


def test_what_fcm_finds_wrong_is_final(sender: FcmSender) -> None:
    """A member that FCM does not know is passed on, and the reason is told."""
    outcome = sender.send(delivery(body={"data": {}, "prioritaet": 1}))
    text = "Invalid JSON payload received. Unknown name \"prioritaet\" at 'message'"
    assert outcome == Refused("INVALID_ARGUMENT", text)


# Access tokens


def asked(fake: FakeFcm) -> int:
    count: int = fake.stats()["token_requests"]
    return count


def test_a_refused_token_is_replaced_once(sender: FcmSender, fake: FakeFcm) -> None:
    assert sender.send(delivery()) == Sent()
    before, sent = asked(fake), fake.stats()["requests"]
    fake.script(revoke=True)
    assert sender.send(delivery()) == Sent()
    assert sender.send(delivery()) == Sent()
    assert asked(fake) - before == 1
    assert fake.stats()["requests"] - sent == 3


def test_a_second_refusal_pauses(sender: FcmSender, fake: FakeFcm) -> None:
    """No loop: one more token, one more try, for each attempt."""
    sender.send(delivery())
    before, sent = asked(fake), fake.stats()["requests"]
    outcome = sender.send(delivery("UNAUTHENTICATED:1"))
    assert isinstance(outcome, Pause)
    assert outcome.alert
    assert asked(fake) - before == 1
    assert fake.stats()["requests"] - sent == 2


def test_a_missing_key_for_apns_is_not_the_tokens_fault(sender: FcmSender, fake: FakeFcm) -> None:
    sender.send(delivery())
    before = asked(fake)
    sender.send(delivery("THIRD_PARTY_AUTH_ERROR:1"))
    assert asked(fake) == before


@pytest.mark.parametrize(
    ("trouble", "kind"), [("HTTP~503~17", Outage), ("drop", Outage), ("invalid_grant", Pause)]
)
def test_no_token_no_request(sender: FcmSender, fake: FakeFcm, trouble: str, kind: type[Outcome]) -> None:
    sent = fake.stats()["requests"]
    fake.script(token=[trouble])
    assert isinstance(sender.send(delivery()), kind)
    assert fake.stats()["requests"] == sent
    assert sender.send(delivery()) == Sent()


def test_no_token_after_a_refusal(sender: FcmSender, fake: FakeFcm) -> None:
    sender.send(delivery())
    fake.script(revoke=True, token=["invalid_grant"])
    assert isinstance(sender.send(delivery()), Pause)


def test_no_connection_after_a_refusal(sender: FcmSender, fake: FakeFcm) -> None:
    sender.send(delivery())
    fake.script(next=["UNAUTHENTICATED", "drop"])
    assert isinstance(sender.send(delivery()), Outage)


# Starting and stopping


def made(fake: FakeFcm, file: Path | None = None, project_id: str = "", ca: Path | None = None) -> FcmSender:
    return FcmSender(
        file or fake.file,
        endpoint=fake.url,
        project_id=project_id,
        ca_file=ca or fake.authority.file,
        limits=PATIENT,
    )


def test_the_project_is_the_service_accounts(sender: FcmSender) -> None:
    assert sender.send(delivery()) == Sent()


def test_a_project_that_is_given_wins(fake: FakeFcm) -> None:
    file = fake.account.write(f"{fake.url}/token", project_id="another")
    sender = made(fake, file, PROJECT)
    sender.start()
    assert sender.send(delivery()) == Sent()
    sender.stop(1.0)


def test_a_wrong_project(fake: FakeFcm) -> None:
    sender = made(fake, project_id="wrong/../project")
    sender.start()
    outcome = sender.send(delivery())
    assert isinstance(outcome, Pause)
    assert (outcome.reason, outcome.alert) == ("NOT_FOUND", True)
    sender.stop(1.0)


def test_no_project(fake: FakeFcm) -> None:
    sender = made(fake, fake.account.write(f"{fake.url}/token", project_id=None))
    with pytest.raises(ConfigError, match="--fcm-project-id: the service account names no project"):
        sender.start()


def test_what_keeps_it_from_starting(fake: FakeFcm, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--fcm-service-account-file: .* cannot be read"):
        made(fake, tmp_path / "missing").start()
    with pytest.raises(ConfigError, match="--fcm-ca-file: "):
        made(fake, ca=tmp_path / "missing").start()


def test_starting_connects_to_nobody(fake: FakeFcm) -> None:
    before = fake.stats()["connections"]
    sender = made(fake)
    sender.start()
    sender.start()
    sender.stop(1.0)
    assert fake.stats()["connections"] - before == 1  # the question


def test_it_can_be_started_again(sender: FcmSender) -> None:
    stopped = Outage("STOPPED", "the connector is not running")
    assert sender.send(delivery()) == Sent()
    sender.stop(1.0)
    sender.stop(1.0)
    assert sender.send(delivery()) == stopped
    sender.start()
    assert sender.send(delivery()) == Sent()


def test_its_state_can_be_seen(sender: FcmSender, fake: FakeFcm) -> None:
    assert repr(sender) == f"FcmSender('{fake.url}', running)"
    sender.stop(1.0)
    assert repr(sender) == f"FcmSender('{fake.url}', stopped)"


# Events


def event_of(sender: FcmSender, outcome: Outcome, body: object) -> Event | None:
    return sender.event(delivery(body=body), outcome)


def test_events(sender: FcmSender) -> None:
    body = {"notification": {"title": "T", "body": "B"}, "data": {"deep_link": "app://x"}}
    sent = event_of(sender, Sent(), body)
    assert sent is not None
    facts = ("notification_title", "notification_body", "deep_link", "status")
    assert [sent.payload[name] for name in facts] == ["T", "B", "app://x", "Success"]
    refused = event_of(sender, Refused("invalid-message", "why"), b"\xff")
    assert refused is not None
    assert [refused.payload[name] for name in facts] == ["", "", "", "Fail"]
    assert event_of(sender, Outage("X"), body) is None


# Under load, in a process that gevent has patched


def test_a_crowd(fake: FakeFcm) -> None:
    """100 greenlets, 100 connections, nothing lost and nothing twice; FCM fails and drops as well."""
    fake.script(fail_percent=10.0, drop_percent=10.0)
    before = len(fake.received())
    told = Task(
        fake.url,
        str(fake.authority.file),
        str(fake.file),
        tokens=[f"crowd-{n}" for n in range(2000)],
        sends=2000,
        greenlets=100,
    ).run()
    assert told["outcomes"].keys() == {"Sent", "Outage UNAVAILABLE", "Outage CONNECTION"}
    received = [line for line in fake.received()[before:] if line["token"].startswith("crowd-")]
    accepted = [line["token"] for line in received if line["status"] == 200]
    assert len(accepted) == len(set(accepted))
    # Those that were accepted and then dropped are the ones whose outcome nobody knows.
    sent, dropped = told["outcomes"]["Sent"], told["outcomes"]["Outage CONNECTION"]
    assert sent <= len(accepted) <= sent + dropped
    assert fake.stats()["violations"] == []
    assert told["stderr"] == ""


# Secrets


def test_secrets_are_in_no_text(sender: FcmSender, fake: FakeFcm, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever goes wrong, and even if the answer repeats them."""
    caplog.set_level(logging.DEBUG)
    tokens = [f"{name}:very-own-token" for name in ("echo", "UNREGISTERED", "UNAUTHENTICATED", "drop")]
    outcomes = [sender.send(delivery(token)) for token in tokens]
    fake.script(revoke=True, token=["invalid_grant"])
    outcomes.append(sender.send(delivery(tokens[0])))
    errors = [
        event.payload["error_text"]
        for token, outcome in zip(tokens, outcomes, strict=False)
        if (event := sender.event(replace(delivery(), device_token=token), outcome))
    ]
    granted = fake.stats()["granted"]
    text = "\n".join([caplog.text, repr(sender), *map(repr, outcomes), *errors])
    assert "[hidden]" in text
    assert "very-own-token" not in text
    assert not any(token in text for token in granted)
    assert not any(line in text for line in private_key().splitlines())


@pytest.mark.parametrize("change", [{"private_key": private_key()[1:]}, {"client_email": None}])
def test_errors_at_the_start_have_none(fake: FakeFcm, change: dict[str, str | None]) -> None:
    with pytest.raises(ConfigError) as caught:
        made(fake, fake.account.write(f"{fake.url}/token", **change)).start()
    assert not any(line in str(caught.value) for line in private_key().splitlines())
