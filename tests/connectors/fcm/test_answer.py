"""Every row of the table in docs/fcm.md; the answers are those of the fake, in FCM's own words."""

import json
from pathlib import Path
from typing import Any

import pytest

from gobbler.connectors.fcm.answer import is_unauthenticated, v1_outcome
from gobbler.connectors.fcm.reply import Reply
from gobbler.connectors.outcome import Gone, Outage, Outcome, Pause, Refused, Retry, Sent
from tests.providers.fcm import HTML, V1, bad_request, fcm_error, v1_error


def answer(name: str, wait: str = "") -> Reply:
    status = V1[name][0]
    return Reply(status, v1_error(*V1[name]).body, wait)


def error(status: int, canonical: str, message: Any, details: Any) -> Reply:
    return Reply(status, v1_error(status, canonical, message, details).body)


def outcome(reply: Reply) -> Outcome:
    return v1_outcome(reply, 0.0)


SENTENCE = "The registration token is not a valid FCM registration token"
CLOCK = "FCM does not accept the access token: check --fcm-service-account-file and the machine's clock: "
ROLE = "the service account may not send: check its role, and that the project has the FCM API enabled: "
PROJECT = "there is no such project: check --fcm-project-id and --fcm-endpoint: "
KEY = "the Firebase project has no valid key for APNs or web push: "


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("UNREGISTERED", Gone("UNREGISTERED", "Requested entity was not found.")),
        ("NOT_FOUND", Pause("NOT_FOUND", PROJECT + "Requested entity was not found.")),
        ("INVALID_TOKEN", Gone("INVALID_ARGUMENT", SENTENCE)),
        ("INVALID_TOKEN_FIELD", Gone("INVALID_ARGUMENT", "Request contains an invalid argument.")),
        ("INVALID_ARGUMENT", Refused("INVALID_ARGUMENT", "Invalid value at 'message.android.ttl'")),
        ("INVALID_UNNAMED", Refused("INVALID_ARGUMENT", "Request contains an invalid argument.")),
        ("SENDER_ID_MISMATCH", Refused("SENDER_ID_MISMATCH", "SenderId mismatch")),
        ("PERMISSION_DENIED", Pause("PERMISSION_DENIED", ROLE + "Permission denied")),
        (
            "THIRD_PARTY_AUTH_ERROR",
            Pause("THIRD_PARTY_AUTH_ERROR", KEY + "Request is missing required authentication credential."),
        ),
        (
            "UNAUTHENTICATED",
            Pause("UNAUTHENTICATED", CLOCK + "Request had invalid authentication credentials."),
        ),
        ("QUOTA_EXCEEDED", Pause("QUOTA_EXCEEDED", "Message rate exceeded", 60.0, alert=False)),
        ("DEVICE_QUOTA_EXCEEDED", Retry("QUOTA_EXCEEDED", "Device message rate exceeded", 60.0)),
        (
            "RATE_LIMIT_EXCEEDED",
            Pause("RESOURCE_EXHAUSTED", V1["RATE_LIMIT_EXCEEDED"][2], 60.0, alert=False),
        ),
        ("INTERNAL", Outage("INTERNAL", "Internal error encountered.")),
        ("UNAVAILABLE", Outage("UNAVAILABLE", "The service is currently unavailable.")),
        ("UNSPECIFIED_ERROR", Outage("UNSPECIFIED_ERROR", "Unknown Error.")),
    ],
)
def test_every_error(name: str, expected: Outcome) -> None:
    assert outcome(answer(name)) == expected


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("QUOTA_EXCEEDED", Pause),
        ("DEVICE_QUOTA_EXCEEDED", Retry),
        ("RATE_LIMIT_EXCEEDED", Pause),
        ("INTERNAL", Outage),
        ("UNAVAILABLE", Outage),
    ],
)
@pytest.mark.parametrize("wait", ["17", "Thu, 01 Jan 1970 00:00:17 GMT"])
def test_what_asks_to_wait(name: str, kind: type[Outcome], wait: str) -> None:
    found = outcome(answer(name, wait))
    assert isinstance(found, kind)
    assert isinstance(found, Pause | Retry | Outage)
    assert found.after == 17.0


def test_sent() -> None:
    assert outcome(Reply(200, b'{"name": "projects/p/messages/1"}')) == Sent()


@pytest.mark.parametrize("body", [b"", HTML, b"[]", b'{"name": "proj'])
def test_a_success_that_cannot_be_read(body: bytes) -> None:
    assert outcome(Reply(200, body)) == Outage("INVALID_ANSWER", "FCM answered something that cannot be read")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (302, Pause("HTTP_302", "FCM answered 302")),
        (400, Refused("HTTP_400", "FCM answered 400")),
        (401, Pause("HTTP_401", CLOCK + "FCM answered 401")),
        (403, Pause("HTTP_403", ROLE + "FCM answered 403")),
        (404, Pause("HTTP_404", PROJECT + "FCM answered 404")),
        (429, Pause("HTTP_429", "FCM answered 429", 60.0, alert=False)),
        (502, Outage("HTTP_502", "FCM answered 502")),
        (503, Outage("HTTP_503", "FCM answered 503")),
    ],
)
def test_a_page_of_html(status: int, expected: Outcome) -> None:
    assert outcome(Reply(status, HTML)) == expected


def test_fcms_code_decides_not_the_status() -> None:
    assert isinstance(outcome(error(400, "X", "m", [fcm_error("UNREGISTERED")])), Gone)
    assert isinstance(outcome(error(404, "NOT_FOUND", "m", [fcm_error("SENDER_ID_MISMATCH")])), Refused)
    assert isinstance(outcome(error(403, "X", "m", [fcm_error("UNAVAILABLE")])), Outage)


def test_a_code_that_is_new_decides_nothing() -> None:
    assert outcome(error(404, "NOT_FOUND", "m", [fcm_error("NEW")])) == Pause("HTTP_404", PROJECT + "m")
    assert outcome(error(503, "NEW", "m", [])) == Outage("HTTP_503", "m")


@pytest.mark.parametrize(
    "details",
    [[bad_request("message.data[0].value")], [bad_request("message.token.x")], [{"@type": "other", "x": 1}]],
)
def test_an_argument_that_is_not_the_token_keeps_it(details: Any) -> None:
    found = outcome(error(400, "INVALID_ARGUMENT", "m", [fcm_error("INVALID_ARGUMENT"), *details]))
    assert found == Refused("INVALID_ARGUMENT", "m")


@pytest.mark.parametrize(
    "body",
    [
        {"error": "x"},
        {"error": {"details": "x"}},
        {"error": {"status": 7, "message": 7, "details": [7, {"@type": 7}]}},
        {"error": {"status": [], "details": [{**fcm_error("X"), "errorCode": []}]}},
        {"error": {"details": [{**bad_request("x"), "fieldViolations": [7]}]}},
        {"error": {"details": [{**bad_request("x"), "fieldViolations": 7}]}},
    ],
)
def test_odd_shapes_are_taken_by_status(body: object) -> None:
    assert outcome(Reply(503, json.dumps(body).encode())) == Outage("HTTP_503", "FCM answered 503")


def test_only_a_refused_access_token_asks_for_another() -> None:
    assert is_unauthenticated(answer("UNAUTHENTICATED"))
    assert is_unauthenticated(Reply(401, HTML))
    assert not is_unauthenticated(answer("THIRD_PARTY_AUTH_ERROR"))
    assert not is_unauthenticated(answer("PERMISSION_DENIED"))


def test_what_an_answer_repeats_is_hidden() -> None:
    reply = error(400, "INVALID_ARGUMENT", "bad device-7 with ya29.x", [])
    found = v1_outcome(reply, 0.0, ("device-7", "ya29.x"))
    assert found == Refused("INVALID_ARGUMENT", "bad [hidden] with [hidden]")


def test_the_page_explains_every_code_of_fcm() -> None:
    page = (Path(__file__).parents[3] / "docs" / "fcm.md").read_text(encoding="utf-8")
    codes = {detail["errorCode"] for answers in V1.values() for detail in answers[3] if "errorCode" in detail}
    assert codes == {code for code in codes if f"`{code}`" in page} | {"UNSPECIFIED_ERROR"}
