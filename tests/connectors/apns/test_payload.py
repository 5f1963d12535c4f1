"""What of a message becomes a payload and headers."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gobbler.connectors.apns.payload import MAX_BYTES, MAX_VOIP_BYTES, Notification, build
from gobbler.connectors.outcome import Refused
from tests.connectors.apns.deliveries import APP


def built(body: object, headers: object = None, app: str = APP) -> Notification | Refused:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return build(b"" if headers is None else json.dumps(headers).encode(), raw, app)


def notification(body: object, headers: object = None, app: str = APP) -> Notification:
    found = built(body, headers, app)
    assert isinstance(found, Notification), found
    return found


def refused(body: object, headers: object = None) -> tuple[str, str]:
    found = built(body, headers)
    assert isinstance(found, Refused), found
    return found.reason, found.text


def payload(found: Notification) -> Any:
    return json.loads(found.payload)


def fields(found: Notification) -> dict[str, str]:
    assert len(dict(found.headers)) == len(found.headers)
    return {name.decode(): value.decode() for name, value in found.headers}


# Bodies


@pytest.mark.parametrize(
    "text", ["hello", "grüß 🎉", '{"not": JSON}', "42", '"a"', "[1]", "null", '{"a": NaN}', " a\n"]
)
def test_text_becomes_an_alert(text: str) -> None:
    found = notification(text.encode())
    assert payload(found) == {"aps": {"alert": text}}
    assert fields(found) == {"apns-push-type": "alert", "apns-topic": APP, "apns-priority": "10"}
    assert (found.title, found.body, found.deep_link) == ("", text, "")


@pytest.mark.parametrize(
    "body",
    [
        b'{ "aps" : {"alert": "\\ud83c\\udf89",\n "badge": 1e0}, "b": 1, "b": 2 }',
        b' \n{"aps": {}}',
        '{"aps": {"alert": {"title": "ü"}}}'.encode(),
    ],
)
def test_json_of_apns_is_passed_on_byte_by_byte(body: bytes) -> None:
    found = notification(body)
    assert found.payload == body
    assert fields(found)["apns-push-type"] == "alert"


def test_an_object_without_aps_is_data_that_wakes_the_app() -> None:
    found = notification({"order": 7, "text": "ü\ud800"})
    assert payload(found) == {"aps": {"content-available": 1}, "order": 7, "text": "ü\ud800"}
    assert fields(found) == {"apns-push-type": "background", "apns-topic": APP, "apns-priority": "5"}
    assert payload(notification({"order": 7}, {"Apns-Push-Type": "background"})) == {
        "aps": {"content-available": 1},
        "order": 7,
    }


@pytest.mark.parametrize("push_type", ["mdm", "voip", "fileprovider", "location", "alert"])
def test_types_that_need_no_aps_get_none(push_type: str) -> None:
    assert payload(notification({"mdm": "magic"}, {"apns-push-type": push_type})) == {"mdm": "magic"}


@pytest.mark.parametrize(
    ("aps", "push_type", "priority"),
    [
        ({"content-available": 1}, "background", "5"),
        ({"content-available": 1, "category": "x"}, "background", "5"),
        ({"content-available": 1, "alert": "a"}, "alert", "10"),
        ({"content-available": 1, "badge": 0}, "alert", "10"),
        ({"content-available": 1, "sound": "a"}, "alert", "10"),
        ({"content-available": 0}, "alert", "10"),
        ({"badge": 3}, "alert", "10"),
        ({}, "alert", "10"),
    ],
)
def test_only_what_shows_nothing_is_in_the_background(aps: object, push_type: str, priority: str) -> None:
    found = fields(notification({"aps": aps}))
    assert (found["apns-push-type"], found["apns-priority"]) == (push_type, priority)


@pytest.mark.parametrize("body", [b"\xff\xfe", b"\x80", b'{"aps": \xff}'])
def test_what_is_neither_json_nor_text_is_refused(body: bytes) -> None:
    assert refused(body) == ("BadPayload", "the body is neither JSON nor text")


@pytest.mark.parametrize("body", [b"", b" \n\t"])
def test_nothing_is_refused(body: bytes) -> None:
    assert refused(body) == ("PayloadEmpty", "the message has no body")


@pytest.mark.parametrize("aps", [1, "a", None, []])
def test_an_aps_that_is_no_object_is_refused(aps: object) -> None:
    assert refused({"aps": aps}) == ("BadPayload", "aps is not an object")


def test_deep_nesting_is_no_json() -> None:
    deep = b'{"a":' + b"[" * 2000 + b"]" * 2000 + b"}"
    assert notification(deep).body == deep.decode()


# Sizes


def of_size(size: int) -> bytes:
    return json.dumps({"aps": {"alert": "a" * (size - 22)}}).encode()


def test_the_largest_payloads_are_passed_on() -> None:
    assert len(notification(of_size(MAX_BYTES)).payload) == MAX_BYTES == 4096
    largest = notification(of_size(MAX_VOIP_BYTES), {"apns-push-type": "voip"})
    assert len(largest.payload) == MAX_VOIP_BYTES == 5120


@pytest.mark.parametrize(("size", "headers"), [(4097, None), (5121, {"apns-push-type": "voip"})])
def test_one_byte_more_is_refused(size: int, headers: object) -> None:
    reason, text = refused(of_size(size), headers)
    assert reason == "PayloadTooLarge"
    assert text.startswith(f"the payload has {size} bytes, more than")


def test_the_size_is_that_of_what_is_sent() -> None:
    room = MAX_BYTES - len(b'{"aps":{"alert":""}}')
    assert len(notification(b"a" * room).payload) == MAX_BYTES
    assert refused(b"a" * (room + 1))[0] == "PayloadTooLarge"
    assert refused(b'"' * (room // 2 + 1))[0] == "PayloadTooLarge"
    assert refused(b"a" * 10_000_000) == ("PayloadTooLarge", "the payload has 10000000 bytes, more than 5120")


# Headers


def test_the_message_chooses_the_headers() -> None:
    chosen = {
        "Apns-Push-Type": "liveactivity",
        "APNS-PRIORITY": "5",
        "apns-expiration": "1700000000",
        "Apns-Collapse-Id": "game 1 ü",
        "Apns-Topic": "com.example.other",
        "Apns-Id": "not for you",
        "Authorization": "not for you",
        "Color": "blue",
    }
    assert fields(notification(b"a", chosen)) == {
        "apns-push-type": "liveactivity",
        "apns-priority": "5",
        "apns-expiration": "1700000000",
        "apns-collapse-id": "game 1 ü",
        "apns-topic": "com.example.other",
    }


def test_numbers_and_empty_values_are_understood() -> None:
    found = fields(notification(b"a", {"apns-priority": 1, "apns-expiration": 0, "apns-collapse-id": ""}))
    assert (found["apns-priority"], found["apns-expiration"]) == ("1", "0")
    assert "apns-collapse-id" not in found


@pytest.mark.parametrize(
    ("push_type", "topic"),
    [
        ("alert", APP),
        ("background", APP),
        ("mdm", APP),
        ("something-new", APP),
        ("voip", f"{APP}.voip"),
        ("complication", f"{APP}.complication"),
        ("fileprovider", f"{APP}.pushkit.fileprovider"),
        ("location", f"{APP}.location-query"),
        ("liveactivity", f"{APP}.push-type.liveactivity"),
        ("pushtotalk", f"{APP}.voip-ptt"),
        ("widgets", f"{APP}.push-type.widgets"),
        ("controls", f"{APP}.push-type.controls"),
    ],
)
def test_the_topic_follows_the_type(push_type: str, topic: str) -> None:
    headers = {"apns-push-type": push_type}
    found = fields(notification({"aps": {"content-available": 1}}, headers))
    assert (found["apns-push-type"], found["apns-topic"]) == (push_type, topic)
    assert fields(notification({"aps": {}}, headers, app=topic))["apns-topic"] == topic


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"apns-priority": "7"}, "BadPriority"),
        ({"apns-priority": 10.0}, "BadPriority"),
        ({"apns-priority": True}, "BadPriority"),
        ({"apns-priority": "10\n"}, "BadPriority"),
        ({"apns-push-type": "Alert!"}, "InvalidPushType"),
        ({"apns-push-type": ["alert"]}, "InvalidPushType"),
        ({"apns-expiration": "soon"}, "BadExpirationDate"),
        ({"apns-expiration": -1}, "BadExpirationDate"),
        ({"apns-expiration": "٣"}, "BadExpirationDate"),
        ({"apns-expiration": "1" * 12}, "BadExpirationDate"),
        ({"apns-topic": "com.example app"}, "BadTopic"),
        ({"apns-collapse-id": "a" * 65}, "BadCollapseId"),
        ({"apns-collapse-id": "ü" * 33}, "BadCollapseId"),
        ({"apns-collapse-id": "a\r\nb: c"}, "BadCollapseId"),
        ({"apns-collapse-id": " a"}, "BadCollapseId"),
        ({"apns-collapse-id": "a\ud800"}, "BadCollapseId"),
        ({"apns-collapse-id": {}}, "BadCollapseId"),
        ({"apns-priority": "5", "Apns-Priority": "5"}, "DuplicateHeaders"),
        (["apns-priority"], "BadHeaders"),
        ("apns-priority", "BadHeaders"),
    ],
)
def test_bad_headers_are_refused(headers: object, reason: str) -> None:
    found, text = refused(b"a", headers)
    assert found == reason
    assert "apns-" in text or "headers" in text


def test_headers_that_are_no_json_are_refused() -> None:
    assert build(b"{", b"a", APP) == Refused("BadHeaders", "the message's headers are no JSON object")


def test_the_longest_collapse_id_is_passed_on() -> None:
    for longest in ("a" * 64, "ü" * 32):
        assert fields(notification(b"a", {"apns-collapse-id": longest}))["apns-collapse-id"] == longest


def test_a_background_notification_cannot_be_urgent() -> None:
    body, headers = {"aps": {"content-available": 1}}, {"apns-priority": "10"}
    assert refused(body, headers) == ("BadPriority", "a background notification cannot have priority 10")
    assert fields(notification(body, {"apns-priority": "1"}))["apns-priority"] == "1"
    assert fields(notification(body, headers | {"apns-push-type": "alert"}))["apns-priority"] == "10"


# Facts


@pytest.mark.parametrize(
    ("body", "facts"),
    [
        ({"aps": {"alert": "words"}}, ("", "words", "")),
        ({"aps": {"alert": {"title": "T", "body": "B"}}, "deep_link": "app://1"}, ("T", "B", "app://1")),
        (
            {"aps": {"alert": {"title": 1, "body": None}}, "deep_link": 1, "link": "app://2"},
            ("", "", "app://2"),
        ),
        ({"aps": {"alert": ["a"]}}, ("", "", "")),
        ({"link": "app://3"}, ("", "", "app://3")),
    ],
)
def test_facts_for_the_event(body: object, facts: tuple[str, str, str]) -> None:
    found = notification(body)
    assert (found.title, found.body, found.deep_link) == facts


# Whatever comes

_names = st.sampled_from(["aps", "alert", "content-available", "apns-priority"])
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(_names, inner),
)
_documents = _values.map(lambda value: json.dumps(value).encode())


@given(st.binary() | _documents, _documents | st.just(b""))
def test_everything_is_a_notification_or_refused(body: bytes, headers: bytes) -> None:
    found = build(headers, body, APP)
    if isinstance(found, Notification):
        assert isinstance(json.loads(found.payload), dict)
        assert all(value and b"\n" not in value for _, value in found.headers)
    else:
        assert found.reason
        assert found.text
