"""What errors of sockets, TLS and HTTP/2 mean."""

import errno
import os
import ssl

import pytest
from h2.exceptions import ProtocolError

from gobbler.connectors.apns.failure import failure_of
from gobbler.connectors.outcome import Outage, Pause


def tls_error(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}] words (_ssl.c:1)")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED)), "Connection refused"),
        (ConnectionResetError(), "ConnectionResetError"),
        (TimeoutError("it takes too long"), "it takes too long"),
        (tls_error("WRONG_VERSION_NUMBER"), "TLS failed: WRONG_VERSION_NUMBER"),
        (tls_error("TLSV1_ALERT_INTERNAL_ERROR"), "TLS failed: TLSV1_ALERT_INTERNAL_ERROR"),
        (ProtocolError("bad frame"), "bad frame"),
    ],
)
def test_most_are_outages(error: Exception, text: str) -> None:
    assert failure_of(error, "unreachable") == Outage("unreachable", text)


@pytest.mark.parametrize(
    "reason",
    [
        "TLSV13_ALERT_CERTIFICATE_REQUIRED",
        "SSLV3_ALERT_BAD_CERTIFICATE",
        "SSLV3_ALERT_CERTIFICATE_EXPIRED",
        "SSLV3_ALERT_CERTIFICATE_REVOKED",
        "TLSV1_ALERT_UNKNOWN_CA",
        "TLSV1_ALERT_ACCESS_DENIED",
    ],
)
def test_a_certificate_that_is_refused_has_to_be_mended(reason: str) -> None:
    found = failure_of(tls_error(reason), "unreachable")
    assert isinstance(found, Pause)
    assert (found.reason, found.alert) == ("refused-certificate", True)
    assert reason in found.text


def test_a_server_that_is_not_trusted_has_to_be_mended() -> None:
    error = ssl.SSLCertVerificationError(1, "words")
    error.verify_message = "unable to get local issuer certificate"
    assert failure_of(error, "unreachable") == Pause(
        "untrusted-certificate",
        "APNs' own certificate is not trusted (unable to get local issuer certificate): check --apns-ca-file",
    )
