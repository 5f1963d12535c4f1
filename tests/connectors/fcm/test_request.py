import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gobbler.connectors.fcm.payload import Facts
from gobbler.connectors.fcm.request import v1_template
from gobbler.errors import BadRequest, InvalidMessage, MessageTooLarge
from tests.connectors.fcm.deliveries import TIME
from tests.providers.fcm import check_v1


def request(body: object) -> dict[str, Any]:
    """The request for a body and a device."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    before, after, _ = v1_template(raw, TIME)
    made: dict[str, Any] = json.loads(before + b'"device"' + after)
    return made


def test_a_text() -> None:
    assert request("Grüße".encode()) == {"message": {"token": "device", "data": {"message": "Grüße"}}}


def test_a_message_alone_and_a_whole_request_are_passed_on() -> None:
    message = {
        "notification": {"title": "T", "body": "B"},
        "data": {"a": "b"},
        "android": {"priority": "high", "ttl": "3600s", "collapse_key": "k"},
        "apns": {"headers": {"apns-priority": "10"}, "payload": {"aps": {"alert": "x"}, "own": [1, None]}},
        "webpush": {"headers": {"TTL": "5"}},
        "fcm_options": {"analytics_label": "l"},
    }
    expected = {"message": {"token": "device", **message}}
    assert request(message) == request({"message": message}) == expected


def test_words_of_the_older_format_are_mapped_in_a_message_alone() -> None:
    made = request({"to": "x", "data": {"a": 1}, "time_to_live": 60, "collapse_key": "k", "priority": "high"})
    assert made["message"] == {
        "token": "device",
        "data": {"a": "1"},
        "android": {"priority": "HIGH", "ttl": "60s", "collapse_key": "k"},
        "apns": {
            "headers": {
                "apns-priority": "5",
                "apns-expiration": str(TIME + 60),
                "apns-collapse-id": "k",
            }
        },
        "webpush": {"headers": {"Urgency": "high", "TTL": "60"}},
    }


def test_an_object_that_is_not_in_the_format_is_data() -> None:
    made = request({"id": 7, "tags": ["a"], "text": "hi"})
    assert made == {"message": {"token": "device", "data": {"id": "7", "tags": '["a"]', "text": "hi"}}}


def test_what_fcm_does_not_know_is_passed_on_for_it_to_refuse() -> None:
    assert request({"data": {}, "prioritaet": 1})["message"]["prioritaet"] == 1


def test_all_data_is_strings() -> None:
    made = request({"data": {"a": 1}, "android": {"data": {"b": 2}}, "webpush": {"data": {"c": 3}}})
    assert made["message"] == {
        "token": "device",
        "data": {"a": "1"},
        "android": {"data": {"b": "2"}},
        "webpush": {"data": {"c": "3"}},
    }


@pytest.mark.parametrize("holder", [{}, {"android": {}}, {"webpush": {}}])
def test_keys_that_fcm_keeps_for_itself_are_refused_everywhere(holder: dict[str, Any]) -> None:
    inner = next(iter(holder.values()), holder)
    inner["data"] = {"from": "me"}
    with pytest.raises(InvalidMessage, match="keeps for itself"):
        request(holder)


@pytest.mark.parametrize(("ttl", "expected"), [(3600, "3600s"), ("3600", "3600s"), ("3.5s", "3.5s")])
def test_a_duration_has_its_s(ttl: object, expected: str) -> None:
    made = request({"message": {"data": {}, "android": {"ttl": ttl}}})
    assert made["message"]["android"]["ttl"] == expected


def test_a_duration_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidMessage, match=r"android\.ttl is not a number of seconds"):
        request({"android": {"ttl": "an hour"}})


def test_nulls_are_left_out() -> None:
    made = request({"notification": None, "data": {"a": "b"}, "android": None})
    assert made["message"] == {"token": "device", "data": {"a": "b"}}


@pytest.mark.parametrize("name", ["notification", "data", "android", "apns", "webpush"])
def test_parts_are_objects(name: str) -> None:
    with pytest.raises(InvalidMessage, match=f"{name} is not an object"):
        request({"message": {"fcm_options": {}, name: "text"}})


@pytest.mark.parametrize(
    "body", [{"message": {"data": {}}, "validate_only": True}, {"data": {}, "dry_run": True}]
)
def test_a_dry_run(body: object) -> None:
    assert request(body) == {"message": {"token": "device", "data": {}}, "validate_only": True}


def test_nothing_but_the_token() -> None:
    assert request({"data": None, "fcm_options": None}) == {"message": {"token": "device"}}


def test_what_is_too_large_is_refused() -> None:
    assert request(b"x" * (4096 - len("message")))
    with pytest.raises(MessageTooLarge):
        request(b"x" * (4097 - len("message")))
    with pytest.raises(MessageTooLarge):
        request({"notification": {"body": "x" * 2100}, "data": {"a": "x" * 2100}})


def test_half_a_character_is_refused() -> None:
    with pytest.raises(InvalidMessage, match="half a character"):
        request(b'{"apns": {"payload": {"x": "\\ud83d"}}}')


def test_facts_are_those_of_what_is_sent() -> None:
    body = {"message": {"notification": {"title": "T", "body": "B"}, "data": {"deep_link": "app://x"}}}
    assert v1_template(json.dumps(body).encode(), TIME).facts == Facts("T", "B", "app://x")
    assert v1_template(b"hello", TIME).facts == Facts(body="hello")


PARTS = ["data", "notification", "android", "apns", "webpush", "message"]
WORDS = ["to", "token", "topic", "priority", "time_to_live", "ttl", "collapse_key"]
NAMES = st.sampled_from([*PARTS, *WORDS, "title", "badge", "click_action", "from", "x"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("high"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=20,
)


@given(st.dictionaries(NAMES, VALUES, max_size=6) | VALUES)
def test_whatever_is_sent_has_one_target_and_strings_as_data(body: object) -> None:
    raw = json.dumps(body).encode()
    try:
        before, after, _ = v1_template(raw, TIME)
    except BadRequest:
        return
    whole = json.loads(before + b'"device"' + after)
    message = whole["message"]
    assert whole.keys() <= {"message", "validate_only"}
    assert message["token"] == "device"
    assert not message.keys() & {"topic", "condition"}
    assert all(isinstance(value, str) for value in message.get("data", {}).values())
    # What the fake finds wrong may only be members that a body had of its own.
    if wrong := check_v1(message):
        assert b"Unknown name" in wrong.body or b"too big" in wrong.body


@given(st.binary(max_size=200))
def test_whatever_bytes_a_body_has(body: bytes) -> None:
    try:
        before, after, _ = v1_template(body, TIME)
    except BadRequest:
        return
    assert check_v1(json.loads(before + b'"device"' + after)["message"]) is None
