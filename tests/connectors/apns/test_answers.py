"""Every answer of APNs, and what has to be done about it."""

import json
from email.utils import formatdate
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gobbler.connectors.apns import answers
from gobbler.connectors.apns.answers import Answer, outcome_of, pause_of, reason_of
from gobbler.connectors.outcome import Gone, Outage, Outcome, Pause, Refused, Retry, Sent

NOW = 1_700_000_000.0


def answer(status: int, reason: str = "", **more: object) -> Answer:
    return Answer(status, json.dumps({"reason": reason} | more).encode())


def outcome(status: int, reason: str = "", **more: object) -> Outcome:
    return outcome_of(answer(status, reason, **more), NOW)


FINAL = {
    400: [
        "BadCollapseId", "BadExpirationDate", "BadMessageId", "BadPriority", "BadTopic", "DuplicateHeaders",
        "InvalidPushType", "MissingDeviceToken", "MissingTopic", "PayloadEmpty",
    ],
    404: ["BadPath"],
    405: ["MethodNotAllowed"],
    413: ["PayloadTooLarge"],
}  # fmt: skip
CONFIGURATION = {
    400: ["TopicDisallowed"],
    403: [
        "BadCertificate", "BadCertificateEnvironment", "BadEnvironmentKeyIdInToken", "ExpiredProviderToken",
        "Forbidden", "InvalidProviderToken", "MissingProviderToken", "UnrelatedKeyIdInToken",
    ],
}  # fmt: skip


def rows(table: dict[int, list[str]]) -> list[tuple[int, str]]:
    return [(status, reason) for status, reasons in table.items() for reason in reasons]


def test_200_is_sent() -> None:
    assert outcome_of(Answer(200), NOW) == Sent()


@pytest.mark.parametrize("reason", ["Unregistered", "ExpiredToken"])
def test_a_dead_token_says_since_when(reason: str) -> None:
    found = outcome(410, reason, timestamp=1_600_000_000_123)
    assert isinstance(found, Gone)
    assert (found.reason, found.since) == (reason, 1_600_000_000.123)


@pytest.mark.parametrize("timestamp", [None, "1600000000000", -1, 1.5, True, 10**14, 10**400])
def test_a_time_that_is_none_is_left_out(timestamp: object) -> None:
    found = outcome(410, "Unregistered", timestamp=timestamp)
    assert isinstance(found, Gone)
    assert found.since is None


@pytest.mark.parametrize("reason", ["BadDeviceToken", "DeviceTokenNotForTopic"])
def test_a_token_of_somebody_else_is_removed(reason: str) -> None:
    found = outcome(400, reason)
    assert isinstance(found, Gone)
    assert (found.reason, found.since) == (reason, None)


@pytest.mark.parametrize(("status", "reason"), rows(FINAL))
def test_what_is_ours_is_final(status: int, reason: str) -> None:
    found = outcome(status, reason)
    assert isinstance(found, Refused)
    assert found.reason == reason


@pytest.mark.parametrize(("status", "reason"), rows(CONFIGURATION))
def test_what_has_to_be_mended_pauses_and_alerts(status: int, reason: str) -> None:
    found = outcome(status, reason)
    assert isinstance(found, Pause)
    assert (found.reason, found.alert, found.after) == (reason, True, None)
    assert found.text
    assert pause_of(reason) == found


@pytest.mark.parametrize(("status", "reason"), [(429, "TooManyRequests"), (400, "IdleTimeout")])
def test_one_device_waits(status: int, reason: str) -> None:
    found = outcome(status, reason)
    assert isinstance(found, Retry)
    assert (found.reason, found.after) == (reason, None)


def test_provider_tokens_that_change_too_often_pause_for_minutes() -> None:
    found = outcome(429, "TooManyProviderTokenUpdates")
    assert isinstance(found, Pause)
    assert (found.reason, found.alert) == ("TooManyProviderTokenUpdates", False)
    assert found.after == 300


@pytest.mark.parametrize(
    ("status", "reason", "code"),
    [
        (500, "InternalServerError", "InternalServerError"),
        (503, "ServiceUnavailable", "ServiceUnavailable"),
        (503, "Shutdown", "Shutdown"),
        (502, "", "http-502"),
        (500, "BadDeviceToken", "http-500"),
        (503, "SomethingNew", "http-503"),
        (0, "", "http-0"),
        (302, "", "http-302"),
    ],
)
def test_failures_of_the_service(status: int, reason: str, code: str) -> None:
    found = outcome(status, reason)
    assert isinstance(found, Outage)
    assert (found.reason, found.after) == (code, None)
    assert str(status) in found.text


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Refused),
        (401, Pause),
        (403, Pause),
        (404, Refused),
        (410, Gone),
        (418, Refused),
        (429, Retry),
        (201, Sent),
    ],
)
def test_unknown_reasons_are_decided_by_the_status(status: int, kind: type[Outcome]) -> None:
    for found in (outcome(status, "SomethingNew"), outcome_of(Answer(status, b"<html>"), NOW)):
        assert isinstance(found, kind)
        if not isinstance(found, Sent):
            assert found.reason == f"http-{status}"
    assert outcome(status, "SomethingNew") == Sent() or "SomethingNew" in str(outcome(status, "SomethingNew"))


@pytest.mark.parametrize(
    ("header", "after"),
    [
        (b"7", 7.0),
        (b" 120 ", 120.0),
        (formatdate(NOW + 30, usegmt=True).encode(), 30.0),
        (formatdate(NOW - 30, usegmt=True).encode(), 0.0),
        (b"soon", None),
        (b"-1", None),
        (b"1" * 20, None),
        (b"\xff", None),
        (b"", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: bytes, after: float | None) -> None:
    for status, reason in ((429, "TooManyRequests"), (503, "ServiceUnavailable"), (429, ""), (502, "")):
        found = outcome_of(Answer(status, json.dumps({"reason": reason}).encode(), header), NOW)
        assert isinstance(found, Retry | Outage)
        assert found.after == after


@pytest.mark.parametrize("reason", ["Shutdown", "SomethingNew", ""])
def test_other_reasons_ask_for_no_pause(reason: str) -> None:
    assert pause_of(reason) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no JSON",
        b"[]",
        b"1",
        b"\xff",
        b'{"reason": 1}',
        b"[" * 100_000,
        b'{"reason": "0123456789abcdef"}',
    ],
)
def test_what_is_no_reason_is_none(body: bytes) -> None:
    assert reason_of(body) == ""


@given(st.integers(100, 599), st.binary(), st.binary())
def test_every_answer_means_something(status: int, body: bytes, retry_after: bytes) -> None:
    assert isinstance(
        outcome_of(Answer(status, body, retry_after), NOW), Sent | Refused | Gone | Retry | Outage | Pause
    )


def test_no_device_token_gets_into_a_text() -> None:
    token = "ab" * 32
    for status in (400, 403, 410, 429, 500):
        assert token not in repr(outcome(status, token))


def test_the_page_names_every_reason() -> None:
    page = (Path(__file__).parents[3] / "docs" / "apns.md").read_text(encoding="utf-8")
    known = answers._GONE | answers.WRONG_DEVICE | answers._FINAL | answers._LATER | answers._FAILURES
    reasons = known | answers._CONFIGURATION.keys() | {"TooManyProviderTokenUpdates"}
    assert [reason for reason in reasons if f"`{reason}`" not in page] == []
