"""Certificates as PKCS#12: what is refused, what is warned of. That TLS shows them is in test_sender.py."""

import gc
import logging
import os
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates

from gobbler.connectors.apns.certificate import Certificate
from gobbler.errors import ConfigError
from tests.connectors.apns.credentials import PASSWORD, OwnKey, own_certificate, p12, pem

EXPIRES = datetime(2030, 1, 31, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def certificate(key: OwnKey) -> x509.Certificate:
    return own_certificate(key, EXPIRES)


@pytest.fixture(scope="module")
def bundle(key: OwnKey, certificate: x509.Certificate) -> bytes:
    return p12(key, certificate, PASSWORD)


def load(certificate: Certificate) -> None:
    certificate.load(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))


def refusal(source: Path | bytes, password: str = PASSWORD) -> str:
    with pytest.raises(ConfigError) as caught:
        load(Certificate(source, password))
    assert PASSWORD not in str(caught.value)
    assert caught.value.__cause__ is None
    return str(caught.value)


def test_files_and_bytes_are_read_and_leave_nothing_open(tmp_path: Path, bundle: bytes) -> None:
    path = tmp_path / "push.p12"
    path.write_bytes(bundle)
    gc.collect()  # or what the tests before have left is closed meanwhile
    before = os.listdir("/proc/self/fd")
    load(Certificate(path, PASSWORD))
    load(Certificate(bundle, PASSWORD))
    assert os.listdir("/proc/self/fd") == before
    assert os.listdir(tmp_path) == ["push.p12"]
    assert not Certificate(path).renew(None)
    assert not Certificate(path).cautious


def test_rsa_keys_are_read() -> None:
    key = rsa.generate_private_key(65537, 2048)
    load(Certificate(p12(key, own_certificate(key, EXPIRES), PASSWORD), PASSWORD))


def test_a_key_that_tls_takes_for_weak_is_refused() -> None:
    key = rsa.generate_private_key(65537, 1024)
    told = refusal(p12(key, own_certificate(key, EXPIRES), PASSWORD))
    assert told == "APNs certificate the given bytes: TLS cannot use it (EE_KEY_TOO_SMALL)"


@pytest.mark.parametrize("password", ["", PASSWORD])
def test_old_files_are_read(
    tmp_path: Path, key: OwnKey, certificate: x509.Certificate, password: str
) -> None:
    """macOS still writes RC2 and triple DES."""
    source, made = tmp_path / "both.pem", tmp_path / "old.p12"
    source.write_bytes(pem(key) + certificate.public_bytes(Encoding.PEM))
    command = ["openssl", "pkcs12", "-export", "-legacy", "-in", str(source), "-out", str(made)]
    subprocess.run([*command, "-passout", f"pass:{password}"], check=True, capture_output=True)
    load(Certificate(made, password))


def test_a_file_without_a_password_needs_none(key: OwnKey, certificate: x509.Certificate) -> None:
    load(Certificate(p12(key, certificate, "")))


def test_a_wrong_password_is_told(tmp_path: Path, bundle: bytes) -> None:
    path = tmp_path / "push.p12"
    path.write_bytes(bundle)
    for password in ("", "wrong", PASSWORD + "ü"):
        told = refusal(path, password)
        assert told == f"APNs certificate {path}: the password is wrong, or the file is damaged"
    assert refusal(bundle, "wrong").startswith("APNs certificate the given bytes: the password is wrong")


def test_a_damaged_file_is_told(bundle: bytes) -> None:
    assert "the file is damaged" in refusal(bundle[:-100])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "missing.p12"
    assert refusal(path) == f"APNs certificate {path}: No such file or directory"


@pytest.mark.parametrize("content", [b"", b"-----BEGIN CERTIFICATE-----", b"\xff\xd8"])
def test_what_is_no_pkcs12_is_refused(content: bytes) -> None:
    assert refusal(content) == "APNs certificate the given bytes: this is no PKCS#12 file (.p12)"


def test_what_lacks_a_key_or_has_one_for_something_else_is_refused(
    key: OwnKey, certificate: x509.Certificate
) -> None:
    signature = ed25519.Ed25519PrivateKey.generate()
    for bundle in (
        serialize_key_and_certificates(None, None, certificate, [certificate], NoEncryption()),
        serialize_key_and_certificates(None, key, None, None, NoEncryption()),
        serialize_key_and_certificates(None, signature, None, [certificate], NoEncryption()),
    ):
        told = refusal(bundle, "")
        assert told.endswith("it must hold a certificate and its private key, RSA or EC")


@pytest.mark.parametrize(
    ("left", "level", "text"),
    [
        (timedelta(days=31), None, ""),
        (timedelta(days=29), logging.WARNING, "expires on 2030-01-31"),
        (timedelta(0), logging.ERROR, "has expired on 2030-01-31: APNs will refuse it"),
    ],
)
def test_the_end_is_told_in_time(
    bundle: bytes, caplog: pytest.LogCaptureFixture, left: timedelta, level: int | None, text: str
) -> None:
    load(Certificate(bundle, PASSWORD, clock=lambda: EXPIRES - left))
    assert [record.levelno for record in caplog.records] == ([] if level is None else [level])
    assert text in caplog.text


def test_its_repr_shows_no_secret(tmp_path: Path, bundle: bytes) -> None:
    assert repr(Certificate(tmp_path / "a.p12", PASSWORD)) == f"Certificate({tmp_path}/a.p12)"
    assert repr(Certificate(bundle, PASSWORD)) == "Certificate(the given bytes)"
