"""What it means when talking to APNs fails below HTTP."""

from __future__ import annotations

import re
import ssl

from gobbler.connectors.outcome import Outage, Pause

# How OpenSSL names the alerts that refuse our certificate, or want one (RFC 8446, section 6.2).
_REFUSAL = re.compile("ALERT.*(CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED)")


def failure_of(error: Exception, code: str) -> Outage | Pause:
    """Return what an error of a socket or of the protocol means; `code` where it is nothing special."""
    if isinstance(error, ssl.SSLCertVerificationError):
        text = f"APNs' own certificate is not trusted ({error.verify_message}): check --apns-ca-file"
        return Pause("untrusted-certificate", text)
    if isinstance(error, ssl.SSLError) and _REFUSAL.search(error.reason or ""):
        text = f"APNs does not accept the certificate ({error.reason}): check --apns-cert-file"
        return Pause("refused-certificate", text)
    return Outage(code, _text(error))


def _text(error: Exception) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return f"TLS failed: {error.reason}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
