"""Every row of the legacy table in docs/fcm.md; the answers are those of the fake."""

import json
from pathlib import Path

import pytest

from gobbler.connectors.fcm.legacy_answer import legacy_outcome
from gobbler.connectors.fcm.reply import Reply
from gobbler.connectors.outcome import Gone, Outage, Outcome, Pause, Refused, Retry, Sent
from tests.providers.fcm import HTML, LEGACY, results


def outcome(reply: Reply) -> Outcome:
    return legacy_outcome(reply, 0.0, "device")


def answered(result: dict[str, object], wait: str = "") -> Outcome:
    return outcome(Reply(200, results(result).body, wait))


KINDS: dict[str, type[Outcome]] = {
    "NotRegistered": Gone,
    "InvalidRegistration": Gone,
    "MissingRegistration": Refused,
    "InvalidPackageName": Refused,
    "MismatchSenderId": Refused,
    "InvalidParameters": Refused,
    "MessageTooBig": Refused,
    "InvalidDataKey": Refused,
    "InvalidTtl": Refused,
    "Unavailable": Outage,
    "InternalServerError": Outage,
    "DeviceMessageRateExceeded": Retry,
    "TopicsMessageRateExceeded": Retry,
    "InvalidApnsCredential": Pause,
}


def test_the_table_has_every_error_of_the_fake() -> None:
    assert {*KINDS, "NeverHeardOf"} == LEGACY


@pytest.mark.parametrize("name", KINDS)
def test_every_error(name: str) -> None:
    found = answered({"error": name})
    assert isinstance(found, KINDS[name])
    assert not isinstance(found, Sent)
    assert found.reason == name
    assert found.text


def test_what_has_to_be_mended_alerts() -> None:
    found = answered({"error": "InvalidApnsCredential"})
    assert isinstance(found, Pause)
    assert (found.after, found.alert) == (None, True)


@pytest.mark.parametrize(
    ("name", "without"),
    [
        ("Unavailable", None),
        ("InternalServerError", None),
        ("DeviceMessageRateExceeded", 60.0),
        ("TopicsMessageRateExceeded", 60.0),
    ],
)
def test_what_asks_to_wait(name: str, without: float | None) -> None:
    for wait, expected in (("", without), ("17", 17.0), ("Thu, 01 Jan 1970 00:00:17 GMT", 17.0)):
        found = answered({"error": name}, wait)
        assert isinstance(found, Outage | Retry)
        assert found.after == expected


@pytest.mark.parametrize("error", ["NeverHeardOf", 7, ["x"], {"x": 1}])
def test_an_error_that_is_new_is_final(error: object) -> None:
    assert answered({"error": error}) == Refused(
        "UNKNOWN_ERROR", "the gateway has an error that is not known"
    )


def test_sent() -> None:
    assert answered({"message_id": "0:1"}) == Sent()


def test_a_new_token() -> None:
    assert answered({"message_id": "0:1", "registration_id": "new"}) == Sent("new")
    assert answered({"message_id": "0:1", "registration_id": "device"}) == Sent()
    assert answered({"message_id": "0:1", "registration_id": 7}) == Sent()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"success": 1, "failure": 0}, Sent()),
        ({"message_id": 10}, Sent()),
        ({"error": "NotRegistered"}, Gone("NotRegistered", "the app is no longer registered")),
    ],
)
def test_shorter_answers_of_gateways(body: object, expected: Outcome) -> None:
    assert outcome(Reply(200, json.dumps(body).encode())) == expected


@pytest.mark.parametrize("body", [b"", HTML, b"[]", b"{}", b'{"success": 0}', b'{"results": [{}]}'])
def test_a_success_that_cannot_be_read(body: bytes) -> None:
    expected = Outage("INVALID_ANSWER", "the gateway answered something that cannot be read")
    assert outcome(Reply(200, body)) == expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (302, Pause("HTTP_302", "the gateway answered 302")),
        (400, Refused("HTTP_400", "the gateway answered 400")),
        (401, Pause("HTTP_401", "the gateway does not accept the key: check --fcm-api-key")),
        (403, Pause("HTTP_403", "the gateway does not let this key send: check --fcm-api-key")),
        (404, Pause("HTTP_404", "there is no gateway: check --fcm-endpoint")),
        (429, Pause("HTTP_429", "the gateway answered 429", 60.0, alert=False)),
        (500, Outage("HTTP_500", "the gateway answered 500")),
        (503, Outage("HTTP_503", "the gateway answered 503")),
    ],
)
def test_other_statuses(status: int, expected: Outcome) -> None:
    assert outcome(Reply(status, HTML)) == expected


def test_what_a_refusal_says_is_told_and_secrets_are_hidden() -> None:
    reply = Reply(400, b'JSON_PARSING_ERROR: at "device-7"')
    found = legacy_outcome(reply, 0.0, "device-7", ("device-7", "key"))
    assert found == Refused("HTTP_400", 'JSON_PARSING_ERROR: at "[hidden]"')


def test_the_page_explains_every_error() -> None:
    page = (Path(__file__).parents[3] / "docs" / "fcm.md").read_text(encoding="utf-8")
    assert [name for name in KINDS if f"`{name}`" not in page] == []
