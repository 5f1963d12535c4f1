import json
from typing import Any

import pytest

from gobbler.connectors.fcm.legacy_request import legacy_template
from gobbler.connectors.fcm.payload import Facts
from gobbler.errors import InvalidMessage, MessageTooLarge


def request(body: object) -> dict[str, Any]:
    """The request for a body and a device."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    before, after, _ = legacy_template(raw)
    made: dict[str, Any] = json.loads(before + b'"device"' + after)
    return made


def test_a_text() -> None:
    assert request("Grüße".encode()) == {"to": "device", "data": {"message": "Grüße"}}


def test_the_older_format_is_passed_on() -> None:
    body = {
        "notification": {"title": "T", "sound": "s", "badge": "1", "body_loc_args": '["1"]'},
        "data": {"a": "b"},
        "priority": "high",
        "time_to_live": 60,
        "collapse_key": "k",
        "content_available": True,
        "anything": {"else": 1},
    }
    assert request({**body, "to": "another"}) == {"to": "device", **body}


def test_data_is_strings() -> None:
    assert request({"data": {"n": 1, "o": {"x": None}}}) == {
        "to": "device",
        "data": {"n": "1", "o": '{"x":null}'},
    }


def test_an_object_that_is_not_in_the_format_is_data() -> None:
    assert request({"id": 7}) == {"to": "device", "data": {"id": "7"}}


@pytest.mark.parametrize("wrapped", [True, False])
def test_v1_is_mapped_as_far_as_there_are_words(wrapped: bool) -> None:
    message = {
        "notification": {"title": "T", "body": "B"},
        "android": {
            "priority": "HIGH",
            "ttl": "60s",
            "collapse_key": "k",
            "restricted_package_name": "com.example",
            "notification": {"icon": "i", "channel_id": "c", "unheard_of": 1},
            "data": {"a": 1},
        },
        "apns": {"payload": {"aps": {}}},
        "webpush": {},
        "fcm_options": {},
    }
    assert request({"message": message} if wrapped else message) == {
        "to": "device",
        "notification": {"title": "T", "body": "B", "icon": "i", "android_channel_id": "c"},
        "data": {"a": "1"},
        "priority": "high",
        "time_to_live": 60,
        "collapse_key": "k",
        "restricted_package_name": "com.example",
    }


def test_what_is_said_for_all_wins() -> None:
    made = request({"data": {"a": "b"}, "priority": "normal", "android": {"priority": "HIGH"}})
    assert made == {"to": "device", "data": {"a": "b"}, "priority": "normal"}


@pytest.mark.parametrize(
    "body", [{"data": {}, "dry_run": True}, {"message": {"data": {}}, "validate_only": True}]
)
def test_a_dry_run(body: object) -> None:
    assert request(body) == {"to": "device", "data": {}, "dry_run": True}


@pytest.mark.parametrize(
    "body",
    [
        b"\xff",
        {"registration_ids": ["a"], "data": {}},
        {"condition": "x", "data": {}},
        {"to": "/topics/x", "data": {}},
        {"data": {"from": "x"}},
        {"data": [1]},
        {"notification": "x"},
        {"android": "x"},
        b'{"data": {"x": "\\ud83d"}}',
    ],
)
def test_what_cannot_be_sent_is_refused(body: object) -> None:
    with pytest.raises(InvalidMessage):
        request(body)


def test_what_is_too_large_is_refused() -> None:
    assert request(b"x" * (4096 - len("message")))
    with pytest.raises(MessageTooLarge):
        request(b"x" * (4097 - len("message")))


def test_facts() -> None:
    body = {"notification": {"title": "T", "body": "B"}, "data": {"deep_link": "app://x"}}
    assert legacy_template(json.dumps(body).encode()).facts == Facts("T", "B", "app://x")
