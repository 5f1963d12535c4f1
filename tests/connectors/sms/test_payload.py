"""The bodies that become an SMS, and those that are refused, with the exact words."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gobbler.connectors.sms.payload import MAX_TTL, MIN_TTL, Sms, excerpt, is_sender, parse
from gobbler.errors import InvalidMessage

TO, TEXT = "447700900000", "hello"
NO_SENDER = "from is neither up to 11 letters and digits (A-Z, 0-9) nor up to 15 digits"
NO_MEMBER = "the body may have the members to, from, text, client-ref, ttl and no others"
MINIMAL = {"to": TO, "text": TEXT, "from": "Gobbler"}


def body(**members: object) -> bytes:
    """The minimal body with other members; `_` in a name is `-`, and None takes one out."""
    named = {name.replace("_", "-"): value for name, value in members.items()}
    whole = {name: value for name, value in (MINIMAL | named).items() if value is not None}
    return json.dumps(whole).encode()


@pytest.mark.parametrize(
    ("raw", "sms"),
    [
        (body(), Sms(TO, "Gobbler", TEXT)),
        (body(client_ref="order 1"), Sms(TO, "Gobbler", TEXT, "order 1")),
        (body(client_ref="é" * 40), Sms(TO, "Gobbler", TEXT, "é" * 40)),
        (body(ttl=MIN_TTL), Sms(TO, "Gobbler", TEXT, ttl=20_000)),
        (body(ttl=str(MAX_TTL)), Sms(TO, "Gobbler", TEXT, ttl=604_800_000)),
        (body(to="+447700900000"), Sms(TO, "Gobbler", TEXT)),
        (body(to=447700900000), Sms(TO, "Gobbler", TEXT)),
        (body(to="1234567"), Sms("1234567", "Gobbler", TEXT)),
        (body(to="1" * 15), Sms("1" * 15, "Gobbler", TEXT)),
        (body(**{"from": "447700900001"}), Sms(TO, "447700900001", TEXT)),
        (body(**{"from": "+447700900001"}), Sms(TO, "447700900001", TEXT)),
        (body(**{"from": "1" * 15}), Sms(TO, "1" * 15, TEXT)),
        (body(**{"from": "Abc12345678"}), Sms(TO, "Abc12345678", TEXT)),
        (body(text=" \n"), Sms(TO, "Gobbler", " \n")),
        (body(text="日本\0😀"), Sms(TO, "Gobbler", "日本\0😀")),
        (b'{"To": "447700900000", "FROM": "G", "Text": "x", "Client-Ref": "r"}', Sms(TO, "G", "x", "r")),
    ],
)
def test_what_is_an_sms(raw: bytes, sms: Sms) -> None:
    assert parse(raw) == sms


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"hello", 'the body is not JSON such as {"to": "447700900000", "text": "hello"}'),
        (b"", 'the body is not JSON such as {"to": "447700900000", "text": "hello"}'),
        (b"\xff\xfe\xfd", 'the body is not JSON such as {"to": "447700900000", "text": "hello"}'),
        (b"[" * 100_000, 'the body is not JSON such as {"to": "447700900000", "text": "hello"}'),
        (b'"hello"', "the body is not a JSON object"),
        (b'[["to", "447700900000"]]', "the body is not a JSON object"),
        (b"null", "the body is not a JSON object"),
        (b'{"to": "1", "to": "2"}', "the body has a member twice"),
        (b'{"to": "1", "TO": "2"}', "the body has a member twice"),
        (body(form="G"), NO_MEMBER),
        (body(callback="http://x"), NO_MEMBER),
        (body(to=None), "to is missing: the number that the SMS goes to"),
        (body(to=""), "to is missing: the number that the SMS goes to"),
        (body(to="00447700900000"), "to begins with 0: it has to begin with the country code"),
        (body(to="07700900000"), "to begins with 0: it has to begin with the country code"),
        (body(to="+07700900000"), "to begins with 0: it has to begin with the country code"),
        (body(to="123456"), "to is not a number of 7 to 15 digits with the country code"),
        (body(to="1" * 16), "to is not a number of 7 to 15 digits with the country code"),
        (body(to="44 7700 900000"), "to is not a number of 7 to 15 digits with the country code"),
        (body(to="++447700900000"), "to is not a number of 7 to 15 digits with the country code"),
        (body(to="447700900000\n"), "to is not a number of 7 to 15 digits with the country code"),
        (body(to="٤٤٧٧٠٠٩٠٠"), "to is not a number of 7 to 15 digits with the country code"),
        (body(to=4.477e11), "to is not a number of 7 to 15 digits with the country code"),
        (body(to=[TO]), "to is neither a string nor a number"),
        (body(to={"a": 1}), "to is neither a string nor a number"),
        (body(to=True), "to is neither a string nor a number"),
        (body(**{"from": None}), "from is missing, and there is no --sms-from"),
        (body(**{"from": "Abc123456789"}), NO_SENDER),
        (body(**{"from": "1" * 16}), NO_SENDER),
        (body(**{"from": "My Shop"}), NO_SENDER),
        (body(**{"from": "Käse"}), NO_SENDER),
        (body(text=None), "text is missing or empty"),
        (body(text=""), "text is missing or empty"),
        (body(text=["a"]), "text is neither a string nor a number"),
        (b'{"to": "447700900000", "from": "G", "text": "\\ud83d"}',
         "text holds half a character (a lone surrogate)"),
        (body(client_ref="r" * 41), "client-ref is longer than 40 characters"),
        (body(ttl=MIN_TTL - 1), "ttl is not a number of milliseconds from 20000 to 604800000"),
        (body(ttl=MAX_TTL + 1), "ttl is not a number of milliseconds from 20000 to 604800000"),
        (body(ttl=-20_000), "ttl is not a number of milliseconds from 20000 to 604800000"),
        (body(ttl=2e5), "ttl is not a number of milliseconds from 20000 to 604800000"),
        (body(ttl="soon"), "ttl is not a number of milliseconds from 20000 to 604800000"),
    ],
)  # fmt: skip
def test_what_is_refused(raw: bytes, text: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        parse(raw)
    assert str(caught.value) == text


def test_what_a_body_does_not_say_comes_from_elsewhere() -> None:
    raw = body(**{"from": None})
    assert parse(raw, sender="+4477", reference="id") == Sms(TO, "4477", TEXT, "id")
    assert parse(body(client_ref="r"), sender="Other", reference="id") == Sms(TO, "Gobbler", TEXT, "r")


@pytest.mark.parametrize(
    ("headers", "ttl"),
    [
        (b"", None),
        (b"{}", None),
        (b'{"ttl": 30000}', 30_000),
        (b'{"Ttl": "30000"}', 30_000),  # as X-Gobbler-Ttl arrives
        (b'{"other": 1}', None),
        (b"{broken", None),
        (b"[1]", None),
    ],
)
def test_a_ttl_may_stand_in_the_headers(headers: bytes, ttl: int | None) -> None:
    assert parse(body(), headers).ttl == ttl
    assert parse(body(ttl=40_000), headers).ttl == 40_000


def test_a_bad_ttl_in_the_headers_is_refused_as_well() -> None:
    with pytest.raises(InvalidMessage, match="ttl is not a number of milliseconds"):
        parse(body(), b'{"ttl": 1}')


def test_fields_of_the_form() -> None:
    fields = {"to": TO, "from": "G", "text": "x", "client-ref": ""}
    assert Sms(TO, "G", "x").fields() == fields
    assert Sms(TO, "G", "x", "r", 30_000).fields() == fields | {"client-ref": "r", "ttl": "30000"}


@pytest.mark.parametrize(
    ("raw", "sms"),
    [
        (b"nonsense", Sms("", "", "")),
        (b'{"to": "0123", "text": "x", "from": "???", "client-ref": "r"}', Sms("0123", "", "x", "r")),
        (b'{"TO": [1], "text": null}', Sms("", "", "")),
        (json.dumps({"text": "x" * 5000}).encode(), Sms("", "", "x" * 1600)),
    ],
)
def test_what_can_be_told_of_a_body_that_is_none(raw: bytes, sms: Sms) -> None:
    assert excerpt(raw) == sms


def test_senders() -> None:
    assert all(map(is_sender, ["G", "Gobbler", "12345", "+447700900000", "1" * 15]))
    assert not any(map(is_sender, ["", "a b", "+Gobbler", "1" * 16, "Abc123456789", "G\n"]))


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
_members = st.sampled_from(["to", "To", "from", "text", "client-ref", "ttl", "other"])


@given(st.binary() | st.dictionaries(_members, _json).map(lambda d: json.dumps(d).encode()), st.binary())
def test_any_body_is_an_sms_or_is_refused(raw: bytes, headers: bytes) -> None:
    try:
        sms = parse(raw, headers)
    except InvalidMessage:
        excerpt(raw)
    else:
        assert sms.text
        assert sms.to.isdigit()
