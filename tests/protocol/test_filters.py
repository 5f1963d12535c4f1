"""Filters: from a URL's query, as bytes and back, and whom they let through."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gobbler.errors import InvalidMessage
from gobbler.protocol.filters import decode, encode, from_query, matches
from tests.protocol.costs import expect_linear

_texts = st.text() | st.sampled_from(["", "\0", "\n", "\ud800", "é", '"'])
_filters = st.dictionaries(_texts, _texts, max_size=5)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("filterUserID", "user_id"),
        ("filterUserId", "user_id"),
        ("filterConnector", "connector"),
        ("filterDeviceToken", "device_token"),
        ("filterDeviceID", "device_id"),
        ("filterApplicationID", "application_id"),
        ("filterAPIKeyName", "api_key_name"),
        ("filterHTTP2Port", "http2_port"),
        ("filterX", "x"),
        ("filterAlready_snake", "already_snake"),
        ("filterÜber", "über"),
    ],
)
def test_names(name: str, key: str) -> None:
    assert from_query([(name, "v")]) == {key: "v"}


@pytest.mark.parametrize(
    "name",
    [
        "",
        "filter",
        "filters",
        "filteruserId",
        "filter_user_id",
        "filter1",
        "FilterUserID",
        "userId",
        "xfilterUserID",
    ],
)
def test_what_is_no_filter(name: str) -> None:
    assert from_query([(name, "v")]) == {}


def test_filters_of_a_query() -> None:
    query = [("userId", "publisher"), ("filterUserID", "marvin"), ("messageId", "1"), ("filterConnector", "")]
    assert from_query(query) == {"user_id": "marvin", "connector": ""}


@pytest.mark.parametrize(
    ("pairs", "text"),
    [
        ([("filterUserID", "a"), ("filterUserID", "b")], "filter user_id is given twice"),
        ([("filterUserID", "a"), ("filterUserId", "a")], "filter user_id is given twice"),
        ([("filterUserID", "x" * 1011)], "filters are longer than 1024 bytes"),
        ([(f"filterX{n}", "v") for n in range(200)], "filters are longer than 1024 bytes"),
    ],
)
def test_queries_that_are_refused(pairs: list[tuple[str, str]], text: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        from_query(pairs)
    assert str(caught.value) == text


def test_the_longest_filters_are_taken() -> None:
    assert len(encode(from_query([("filterUserID", "x" * 1010)]))) == 1024


@pytest.mark.parametrize(
    ("filters", "encoded"),
    [
        ({}, b""),
        ({"user_id": "marvin"}, b'{"user_id":"marvin"}'),
        ({"user_id": "marvin", "connector": "fcm"}, b'{"connector":"fcm","user_id":"marvin"}'),
        ({"a": '\0\n"\u00e9'}, b'{"a":"\\u0000\\n\\"\\u00e9"}'),
    ],
)
def test_golden_bytes(filters: dict[str, str], encoded: bytes) -> None:
    assert encode(filters) == encoded
    assert decode(encoded) == filters


@given(_filters)
def test_decode_undoes_encode(filters: dict[str, str]) -> None:
    assert decode(encode(filters)) == filters


@given(_filters)
def test_equal_filters_have_equal_bytes_that_fit_into_a_key(filters: dict[str, str]) -> None:
    encoded = encode(filters)
    assert encode(dict(reversed(filters.items()))) == encoded
    assert b"\0" not in encoded
    assert b"\n" not in encoded


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"{", "filters are not valid JSON"),
        (b"\xff", "filters are not valid JSON"),
        (b'{"a":"\xed\xa0\x80"}', "filters are not valid JSON"),
        (b'{"a":' * 100_000, "filters are not valid JSON"),
        (b'{"a":%b}' % (b"1" * 5000), "filters are not valid JSON"),
        ('{"a":"b"}'.encode("utf-16"), "filters are not valid JSON"),
        (b"null", "filters are not a JSON object of strings"),
        (b'["a"]', "filters are not a JSON object of strings"),
        (b'"a"', "filters are not a JSON object of strings"),
        (b'{"a":1}', "filters are not a JSON object of strings"),
        (b'{"a":"b","c":null}', "filters are not a JSON object of strings"),
    ],
)
def test_bytes_that_are_refused(raw: bytes, text: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        decode(raw)
    assert str(caught.value) == text


_json_like = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
).map(lambda value: json.dumps(value).encode())


@given(st.binary() | _json_like | st.text(st.sampled_from('{}[]":,\\u0a')).map(str.encode))
@example(b"  {} ")
def test_no_other_bytes_do_harm(raw: bytes) -> None:
    try:
        filters = decode(raw)
    except InvalidMessage:
        return
    assert all(isinstance(text, str) for pair in filters.items() for text in pair)
    assert decode(encode(filters)) == filters


@pytest.mark.parametrize(
    ("filters", "params", "matched"),
    [
        ({}, {}, True),
        ({}, {"user_id": "marvin"}, True),
        ({"user_id": "marvin"}, {"user_id": "marvin"}, True),
        ({"user_id": "marvin"}, {"user_id": "marvin", "connector": "fcm"}, True),
        ({"user_id": "marvin", "connector": "fcm"}, {"user_id": "marvin", "connector": "fcm"}, True),
        ({"user_id": "marvin", "connector": "fcm"}, {"user_id": "marvin", "connector": "apns"}, False),
        ({"user_id": "marvin", "connector": "fcm"}, {"user_id": "marvin"}, False),
        ({"user_id": "marvin"}, {}, False),
        ({"user_id": "marvin"}, {"user_id": "Marvin"}, False),
        ({"user_id": ""}, {}, False),
        ({"user_id": ""}, {"user_id": ""}, True),
    ],
)
def test_matches(filters: dict[str, str], params: dict[str, str], matched: bool) -> None:
    assert matches(filters, params) is matched


@given(_filters, _filters)
def test_more_parameters_never_harm(filters: dict[str, str], params: dict[str, str]) -> None:
    assert matches(filters, params | filters)
    assert matches(filters, params) is (params | filters == params)


@pytest.mark.parametrize("unit", [b"{", b'{"a":', b'"a":"b",', b"1", b"\\", b" "])
def test_time_is_linear(unit: bytes) -> None:
    expect_linear(decode, lambda size: b'{"x":"' + unit * size)
    expect_linear(decode, lambda size: b"{" + unit * size)
