"""Certificates: a certificate and its key as PKCS#12 (.p12), which TLS presents to APNs."""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.hazmat.primitives.serialization.pkcs12 import PKCS12KeyAndCertificates, load_pkcs12

from gobbler.connectors.apns.credential import read
from gobbler.errors import ConfigError

log = logging.getLogger(__name__)

EXPIRES_SOON: Final = timedelta(days=30)

_SEQUENCE: Final = b"\x30"  # how everything in DER begins that can be PKCS#12
_PEM: Final = Encoding.PEM


def _now() -> datetime:
    return datetime.now(UTC)


class Certificate:
    """A certificate with its key, from a file or as bytes."""

    cautious = False

    def __init__(
        self, source: Path | bytes, password: str = "", *, clock: Callable[[], datetime] = _now
    ) -> None:
        """Take a file's path or its content, and the password, which may be empty."""
        self._source = source
        self._password = password
        self._clock = clock

    def __repr__(self) -> str:
        """Name the file, if there is one; never show what is in it."""
        return f"Certificate({self._name})"

    @property
    def _name(self) -> str:
        return "the given bytes" if isinstance(self._source, bytes) else str(self._source)

    def load(self, context: ssl.SSLContext) -> None:
        """Read the certificate and have TLS present it. Raises: ConfigError."""
        data = self._source if isinstance(self._source, bytes) else read(self._source, "APNs certificate")
        bundle = self._open(data)
        key = bundle.key
        if bundle.cert is None or not isinstance(key, RSAPrivateKey | EllipticCurvePrivateKey):
            raise self._error("it must hold a certificate and its private key, RSA or EC")
        self._warn(bundle.cert.certificate)
        certificates = [bundle.cert, *bundle.additional_certs]
        pem = b"".join(each.certificate.public_bytes(_PEM) for each in certificates)
        try:
            _load_chain(context, key.private_bytes(_PEM, PrivateFormat.PKCS8, NoEncryption()) + pem)
        except ssl.SSLError as error:
            raise self._error(f"TLS cannot use it ({error.reason})") from None

    def authorization(self) -> None:
        """Return nothing: the certificate says who we are."""

    def renew(self, used: bytes | None) -> bool:
        """Say that there is nothing to renew."""
        return False

    def _open(self, data: bytes) -> PKCS12KeyAndCertificates:
        if not data.startswith(_SEQUENCE):
            raise self._error("this is no PKCS#12 file (.p12)")
        try:
            return load_pkcs12(data, self._password.encode())
        except (ValueError, UnsupportedAlgorithm):
            raise self._error("the password is wrong, or the file is damaged") from None

    def _warn(self, certificate: x509.Certificate) -> None:
        """Tell when it has to be replaced. The server starts all the same: it does more than pushing."""
        left = certificate.not_valid_after_utc - self._clock()
        date = certificate.not_valid_after_utc.date()
        if left <= timedelta(0):
            log.error("APNs certificate %s has expired on %s: APNs will refuse it", self._name, date)
        elif left < EXPIRES_SOON:
            log.warning("APNs certificate %s expires on %s", self._name, date)

    def _error(self, text: str) -> ConfigError:
        return ConfigError(f"APNs certificate {self._name}: {text}")


def _load_chain(context: ssl.SSLContext, pem: bytes) -> None:
    """Hand a key and certificates to TLS, which reads files only: one in memory, so that no disk has it."""
    descriptor = os.memfd_create("apns", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, pem)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
