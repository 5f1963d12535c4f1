"""Delivery receipts: from their parameters to an event, and what is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gobbler.connectors.sms.receipt import STATUSES, from_json, parse, unite
from gobbler.errors import BadRequest
from gobbler.reporting import events
from tests.connectors.sms.sending import RECEIPT


def test_a_receipt_is_an_event() -> None:
    assert parse(RECEIPT, 0).event() == events.sms(
        order_id="order 1",
        message_id="0A0000001234567B",
        text="",
        request_time="",
        response_time="2020-01-01T12:00:00.000Z",
        mobile_number="447700900000",
        delivery_status="delivered",
    )


def test_the_statuses() -> None:
    assert sorted(STATUSES) == sorted(
        ["delivered", "expired", "failed", "rejected", "accepted", "buffered", "unknown"]
    )


@pytest.mark.parametrize("status", sorted(STATUSES))
def test_every_status(status: str) -> None:
    for written in (status, status.upper(), status.title()):
        assert parse(RECEIPT | {"status": written}, 0).status == status


@pytest.mark.parametrize("time", ["", "yesterday", "2020-01-01", "2020-13-01 12:00:00"])
def test_without_a_time_it_is_now(time: str) -> None:
    found = parse(RECEIPT | {"message-timestamp": time}, 1577880001.5)
    assert found.time == "2020-01-01T12:00:01.500Z"


def test_what_may_be_missing() -> None:
    needed = {name: RECEIPT[name] for name in ("msisdn", "messageId", "status")}
    assert parse(needed, 0).reference == ""


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"messageId": ""}, "messageId is missing or is not the id of a message"),
        ({"messageId": "a b"}, "messageId is missing or is not the id of a message"),
        ({"messageId": "A\n"}, "messageId is missing or is not the id of a message"),
        ({"messageId": "A" * 65}, "messageId is missing or is not the id of a message"),
        (
            {"status": ""},
            "status is none of accepted, buffered, delivered, expired, failed, rejected, unknown",
        ),
        (
            {"status": "lost"},
            "status is none of accepted, buffered, delivered, expired, failed, rejected, unknown",
        ),
        ({"msisdn": ""}, "msisdn is missing or is not a number"),
        ({"msisdn": "me"}, "msisdn is missing or is not a number"),
        ({"msisdn": "1" * 21}, "msisdn is missing or is not a number"),
        ({"client-ref": "r" * 257}, "client-ref is too long"),
    ],
)
def test_what_is_refused(change: dict[str, str], text: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse(RECEIPT | change, 0)
    assert str(caught.value) == text


def test_json_is_read_as_it_is_written() -> None:
    raw = (
        b'{"price": 0.0330, "timestamp": 1582650446, "big": 12345678901234567890, "on": true, "text": "a&b"}'
    )
    assert from_json(raw) == {
        "price": "0.0330",
        "timestamp": "1582650446",
        "big": "12345678901234567890",
        "on": "true",
        "text": "a&b",
    }


def test_half_characters_are_replaced() -> None:
    assert from_json(b'{"a\\ud800": "b\\udfff"}') == {"a?": "b?"}


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"", "the body is not JSON"),
        (b"{", "the body is not JSON"),
        (b"\xff", "the body is not JSON"),
        (b"[" * 100_000, "the body is not JSON"),
        (b"[]", "the body is not a JSON object"),
        (b"1", "the body is not a JSON object"),
        (b'{"a": null}', "a member of the body is neither a string nor a number"),
        (b'{"a": NaN}', "a member of the body is neither a string nor a number"),
        (b'{"a": []}', "a member of the body is neither a string nor a number"),
        (b'{"a": {}}', "a member of the body is neither a string nor a number"),
    ],
)
def test_json_that_is_refused(raw: bytes, text: str) -> None:
    with pytest.raises(BadRequest) as caught:
        from_json(raw)
    assert str(caught.value) == text


def test_parameters_that_contradict_each_other_are_refused() -> None:
    assert unite([("a", "1"), ("b", "2"), ("a", "1")]) == {"a": "1", "b": "2"}
    with pytest.raises(BadRequest, match="a parameter is given twice"):
        unite([("status", "delivered"), ("status", "failed")])


@given(
    st.binary() | st.dictionaries(st.text(), st.text() | st.integers()).map(lambda d: json.dumps(d).encode())
)
def test_what_has_no_id_is_refused(raw: bytes) -> None:
    with pytest.raises(BadRequest):
        parse(from_json(raw), 0)
