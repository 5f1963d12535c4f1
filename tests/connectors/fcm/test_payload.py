import json

import pytest

from gobbler.connectors.fcm.payload import (
    MAX_BYTES,
    Content,
    Facts,
    Members,
    check_size,
    encode,
    facts_of,
    is_true,
    parse,
    part,
    seconds,
    strings,
    to_json,
)
from gobbler.errors import InvalidMessage, MessageTooLarge


def parsed(value: object) -> Content:
    return parse(json.dumps(value).encode())


# Which format


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        "",
        "Grüße 👋",
        '"a string"',
        "42",
        "null",
        "[1, 2]",
        '{"data": {"a": 1}',  # cut off
        '{"data": {"a": NaN}}',
        '{"data": {"a": -Infinity}}',
        '{"data": {"a": 1e999}}',
        '{"data": {"a": ' + "9" * 5000 + "}}",  # more digits than Python reads
        "[" * 100_000,
        '{"data":' * 100_000,
    ],
    ids=lambda text: text[:20],
)
def test_what_is_no_json_object_is_a_text(text: str) -> None:
    assert parse(text.encode()) == Content({"data": {"message": text}})


def test_an_object_that_is_not_in_the_format_is_data() -> None:
    own = {"type": "chat", "message": {"text": "hi"}, "priority": "high"}
    assert parsed(own) == Content({"data": own})


@pytest.mark.parametrize("name", ["notification", "data", "android", "apns", "webpush", "fcm_options"])
def test_a_message_alone(name: str) -> None:
    assert parsed({name: {"a": "b"}}) == Content({name: {"a": "b"}}, bare=True)
    assert parsed({"message": {name: {"a": "b"}}}) == Content({name: {"a": "b"}})


def test_a_whole_request() -> None:
    whole = {"message": {"data": {"a": "b"}}, "validate_only": True}
    assert parsed(whole) == Content({"data": {"a": "b"}}, dry_run=True)
    assert parsed({"message": {"data": {}}, "validateOnly": True}).dry_run
    assert not parsed({"message": {"data": {}}, "validate_only": False}).dry_run


def test_a_whole_request_has_nothing_else() -> None:
    with pytest.raises(InvalidMessage, match="beside the message: 'priority'"):
        parsed({"message": {"data": {}}, "priority": "high"})


@pytest.mark.parametrize(
    ("value", "on"), [(True, True), ("true", True), (1, True), (False, False), (0, False)]
)
def test_dry_run_of_the_older_format(value: object, on: bool) -> None:
    assert parsed({"data": {}, "dry_run": value}).dry_run == on


def test_what_is_not_utf8_is_refused() -> None:
    with pytest.raises(InvalidMessage, match="not valid UTF-8"):
        parse(b"\xff")


# Targets


@pytest.mark.parametrize(
    "body",
    [
        {"topic": "news", "data": {}},
        {"condition": "'a' in topics", "data": {}},
        {"registration_ids": ["a", "b"], "data": {}},
        {"to": "/topics/news", "data": {}},
        {"message": {"topic": "news", "data": {}}},
        {"message": {"condition": "'a' in topics", "notification": {}}},
    ],
)
def test_other_targets_are_refused(body: object) -> None:
    with pytest.raises(InvalidMessage, match="a target of its own"):
        parsed(body)


@pytest.mark.parametrize(
    "body",
    [
        {"to": "another-device", "data": {}},
        {"token": "another-device", "data": {}},
        {"message": {"token": "another-device", "data": {}}},
        {"message": {"topic": None, "data": {}}},
    ],
)
def test_the_device_is_that_of_the_subscription(body: object) -> None:
    assert parsed(body).members == {"data": {}}


def test_a_topic_of_an_apps_own_is_data() -> None:
    assert parsed({"topic": "news", "text": "hi"}).members == {"data": {"topic": "news", "text": "hi"}}


# Values


def test_data_is_strings() -> None:
    data = {"s": "as it is", "n": 1, "f": 1.5, "b": True, "z": None, "o": {"ü": [1, "x"]}}
    assert strings(data) == {
        "s": "as it is",
        "n": "1",
        "f": "1.5",
        "b": "true",
        "z": "null",
        "o": '{"ü":[1,"x"]}',
    }


@pytest.mark.parametrize("key", ["from", "gcm", "gcm.n.e", "google", "google.sent_time", "google_id"])
def test_keys_that_fcm_keeps_for_itself(key: str) -> None:
    with pytest.raises(InvalidMessage, match=f"keeps for itself: '{key}'"):
        strings({"a": "b", key: "c"})


@pytest.mark.parametrize("key", ["From", "gcmx", "collapse_key", "message_type", "goo"])
def test_other_keys_are_free(key: str) -> None:
    assert strings({key: "c"}) == {key: "c"}


def test_parts_are_objects() -> None:
    members: Members = {"a": {"b": 1}, "n": None, "l": [1]}
    copy = part(members, "a")
    copy["b"] = 2
    assert members["a"] == {"b": 1}
    assert part(members, "n") == part(members, "missing") == {}
    with pytest.raises(InvalidMessage, match="l is not an object"):
        part(members, "l")


@pytest.mark.parametrize(("value", "expected"), [(60, 60), (1.9, 1), ("60", 60), (0, 0)])
def test_seconds(value: object, expected: int) -> None:
    assert seconds("ttl", value) == expected


@pytest.mark.parametrize("value", ["", "1.5", "60s", "soon", None, [1]])
def test_what_is_no_number_of_seconds(value: object) -> None:
    with pytest.raises(InvalidMessage, match="ttl is not a number"):
        seconds("ttl", value)


@pytest.mark.parametrize("value", [False, 0, 2, "false", "yes", None, [], {}])
def test_switches_that_are_off(value: object) -> None:
    assert not is_true(value)


def test_the_largest_that_fits() -> None:
    """Keys and values count, in bytes; what stands in other parts does not."""
    room = MAX_BYTES - len("title") - len("ü".encode()) - len("key")
    members: Members = {
        "notification": {"title": "ü"},
        "data": {"key": "x" * room},
        "apns": {"payload": {"x": "y" * MAX_BYTES}},
    }
    check_size(members)
    members["data"]["key"] += "x"
    with pytest.raises(MessageTooLarge, match="have 4097 bytes, FCM takes 4096"):
        check_size(members)


def test_half_a_character_is_refused() -> None:
    with pytest.raises(InvalidMessage, match="half a character"):
        encode(json.loads('{"a": "\\ud83d"}'))


def test_what_is_nested_too_deep_is_refused() -> None:
    value: object = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(InvalidMessage, match="nested too deep"):
        to_json(value)


# Facts


@pytest.mark.parametrize(
    ("members", "facts"),
    [
        ({"data": {"message": "hello"}}, Facts(body="hello")),
        (
            {"notification": {"title": "T", "body": "B"}, "data": {"deep_link": "app://x", "title": "other"}},
            Facts("T", "B", "app://x"),
        ),
        ({"data": {"notification_title": "T", "notification_body": "B", "link": "l"}}, Facts("T", "B", "l")),
        (
            {"data": {"title": "T"}, "webpush": {"fcm_options": {"link": "https://x"}}},
            Facts("T", "", "https://x"),
        ),
        ({"notification": {"title": 7}, "data": {"title": ""}}, Facts()),
        ({"notification": "odd", "data": [], "webpush": {"fcm_options": []}}, Facts()),
        ({}, Facts()),
    ],
)
def test_facts(members: Members, facts: Facts) -> None:
    assert facts_of(members) == facts
