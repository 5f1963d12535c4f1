"""Signatures: those that Vonage itself made, those that its other libraries make, and bad ones."""

import pytest

from gobbler.connectors.sms.signature import MAX_AGE, MAX_AHEAD, METHODS, Signer

SECRET = "my_secret_key_for_testing"
# Sent by Vonage, as the tests of its library for PHP keep them; with `&` and `=` in a value.
RECEIVED = {
    "keyword": "TEST",
    "message-timestamp": "2017-04-04 22:57:47",
    "messageId": "0B00000042AC53BD",
    "msisdn": "14843472194",
    "nonce": "929d6744-bd28-42c8-b6cf-31d5b4f43732",
    "sig": "e06d9763e3fd0b9c31beb5fc2fcb011c",
    "text": "Test with & and =",
    "timestamp": "1491346667",
    "to": "12192259404",
    "type": "text",
}
WHEN = 1491346667.5

REQUEST = {
    "api_key": "fake_api_key",
    "to": "14155550100",
    "from": "AcmeInc",
    "text": "Test From Nexmo",
    "type": "text",
}
# What Vonage's libraries for PHP and Python sign them with.
SIGNED = {
    "md5": "51CDAFEBB4BBCE9525B195C1617CB8D2",
    "sha1": "0162AEC64BC183B2E1256545951FE5639DC98020",
    "sha256": "9FEC5EF6D0F2B3D2BB7558B6E4042569823CAB9EA0DD30503472B7B304601975",
    "sha512": "40BD12B9A4B6000AD1138EEFD24FFE9FBD72AEE13C3FA04B32BB69DBC256AD0A"
    "04A463B1A9AF6660D10F6E1E769EE14B9CFF6A635502E93AFCD0BFAB29F38F87",
}


@pytest.mark.parametrize("method", SIGNED)
def test_a_signed_request(method: str) -> None:
    signed = Signer("71efab63122f1d179f51c46bac838fb5", method).sign(REQUEST, 1540924779.9)
    assert signed == REQUEST | {"timestamp": "1540924779", "sig": SIGNED[method]}


def test_a_request_signed_with_a_hash() -> None:
    signed = Signer("secret", "md5hash").sign({"a": "1", "b": "2"}, 1461605396)
    assert signed["sig"] == "6af838ef94998832dbfc29020b564830"


def test_what_vonage_signed_is_valid() -> None:
    assert Signer(SECRET, "md5hash").valid(RECEIVED, WHEN)


@pytest.mark.parametrize("method", METHODS)
def test_what_was_signed_is_valid_in_capitals_or_not(method: str) -> None:
    signer = Signer(SECRET, method)
    signed = signer.sign({"text": "grün & = 😀", "b": ""}, WHEN)
    assert signer.valid(signed, WHEN)
    assert signer.valid(signed | {"sig": signed["sig"].upper()}, WHEN)
    assert signer.valid(signed | {"sig": signed["sig"].lower()}, WHEN)
    assert not any(Signer(SECRET, other).valid(signed, WHEN) for other in METHODS if other != method)
    assert not Signer("another", method).valid(signed, WHEN)


@pytest.mark.parametrize(
    "change",
    [
        {"text": "Test with & and +"},
        {"more": "1"},
        {"sig": ""},
        {"sig": "e06d9763e3fd0b9c31beb5fc2fcb011d"},
        {"sig": "e06d9763e3fd0b9c31beb5fc2fcb011"},
        {"sig": "é"},
        {"timestamp": "1491346668"},
    ],
)
def test_what_was_changed_is_not_valid(change: dict[str, str]) -> None:
    assert not Signer(SECRET, "md5hash").valid(RECEIVED | change, WHEN)


def test_without_a_signature_nothing_is_valid() -> None:
    assert not Signer(SECRET, "md5hash").valid({}, WHEN)
    assert not Signer(SECRET, "md5hash").valid({"timestamp": RECEIVED["timestamp"]}, WHEN)


@pytest.mark.parametrize(
    ("age", "valid"),
    [(0, True), (MAX_AGE, True), (MAX_AGE + 1, False), (-MAX_AHEAD, True), (-MAX_AHEAD - 1, False)],
)
def test_a_signature_grows_old(age: float, valid: bool) -> None:
    signer = Signer(SECRET, "sha256")
    assert signer.valid(signer.sign({}, 1_500_000_000), 1_500_000_000 + age) == valid


@pytest.mark.parametrize("timestamp", ["", "now", "-1", "1e9", "1" * 12, "\u0661" * 10])
def test_a_signature_without_a_time_is_not_valid(timestamp: str) -> None:
    signer = Signer(SECRET, "sha256")
    parameters = {"timestamp": timestamp}
    assert not signer.valid({**parameters, "sig": signer._signature(parameters)}, 1_500_000_000)


def test_the_secret_is_not_shown() -> None:
    assert SECRET not in repr(Signer(SECRET, "sha256"))
