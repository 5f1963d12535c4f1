"""Credentials as Apple gives them: keys (.p8) and certificates (.p12), made for the tests."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates
from cryptography.x509.oid import NameOID

from tests.providers.certificates import Authority

KEY_ID, TEAM_ID = "ABC123DEFG", "DEF123GHIJ"
PASSWORD = "a password that nobody may see"

OwnKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
Key = OwnKey | ed25519.Ed25519PrivateKey


class TokenKey(NamedTuple):
    """The files of a key for provider tokens."""

    private: Path
    public: Path


def token_key(folder: Path) -> TokenKey:
    folder.mkdir(exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    made = TokenKey(folder / "key.p8", folder / "public.pem")
    made.private.write_bytes(pem(key))
    made.public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return made


def pem(key: Key, encryption: KeySerializationEncryption | None = None) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())


def signed_p12(authority: Authority, password: str = PASSWORD) -> bytes:
    """A certificate that the fake accepts, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    return p12(key, authority.sign(key, "Apple Push Services: com.example.app"), password)


def p12(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, certificate: x509.Certificate, password: str
) -> bytes:
    encryption = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    return serialize_key_and_certificates(b"push", key, certificate, None, encryption)


def own_certificate(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, expires: datetime
) -> x509.Certificate:
    """A certificate that nobody has signed but itself."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "nobody")])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(2001, 1, 1, tzinfo=UTC))
        .not_valid_after(expires)
        .sign(key, hashes.SHA256())
    )


def in_days(days: int) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)
