"""The fake finds wrong what FCM would: else the tests with it would prove little."""

import json

import pytest

from tests.providers.fcm import LIMIT, Json, check_v1, size


def test_a_message_that_is_right() -> None:
    message = {"token": "x", "data": {"a": "b"}, "android": {"ttl": "5s"}, "notification": {"title": "T"}}
    assert check_v1(message) is None


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"token": None}, "Recipient of the message is not set."),
        ({"topic": "x"}, "Recipient of the message is not set."),
        ({"priority": "high"}, "Unknown name \"priority\" at 'message'"),
        ({"data": {"from": "x"}}, "Invalid data payload key: from"),
        ({"data": {"gcm.x": "x"}}, "Invalid data payload key: gcm.x"),
        ({"data": {"google_x": "x"}}, "Invalid data payload key: google_x"),
        ({"data": {"a": 1}}, "Invalid value at 'message.data[0].value'"),
        ({"android": {"ttl": 5}}, "Invalid value at 'message.android.ttl'"),
        ({"data": {"a": "x" * LIMIT}}, "Message is too big"),
    ],
)
def test_a_message_that_is_wrong(change: Json, text: str) -> None:
    message: Json = {"token": "x"} | change
    wrong = check_v1({name: value for name, value in message.items() if value is not None})
    assert wrong is not None
    assert wrong.status == 400
    assert text in json.loads(wrong.body)["error"]["message"]


def test_keys_and_values_count() -> None:
    assert size({"data": {"ab": "cd"}, "notification": {"body": "ü"}, "android": {"x": "y"}}) == 4 + 6
