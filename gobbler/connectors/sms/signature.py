"""Signatures of requests and of receipts, as Vonage's guide "Signing messages" describes them. Pure.

What is signed is `&name=value` of every parameter but `sig`, in the order of the names, where `&`
and `=` within a value become `_`. `md5hash` is the MD5 of that and the secret in one; the others are
an HMAC with the secret as key. `timestamp`, in unix seconds, is one of the parameters.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Final

SIGNATURE: Final = "sig"
TIMESTAMP: Final = "timestamp"

METHODS: Final = ("md5hash", "md5", "sha1", "sha256", "sha512")

MAX_AGE: Final = 73 * 3600.0
"""Seconds that a signature stays good: Vonage sends a receipt for 72 hours until it is answered with 200."""

MAX_AHEAD: Final = 300.0
"""Seconds that the provider's clock may be before ours."""

_ESCAPED: Final = str.maketrans("&=", "__")


class Signer:
    """Signs with one secret and one of METHODS."""

    def __init__(self, secret: str, method: str) -> None:
        """Keep both; they are shown nowhere."""
        self._secret = secret.encode()
        self._method = method

    def sign(self, parameters: Mapping[str, str], now: float) -> dict[str, str]:
        """Return the parameters with `timestamp` and `sig`; `now` in unix seconds."""
        stamped = {**parameters, TIMESTAMP: str(int(now))}
        return {**stamped, SIGNATURE: self._signature(stamped)}

    def valid(self, parameters: Mapping[str, str], now: float) -> bool:
        """Say whether parameters carry a signature that is right and neither too old nor of the future."""
        rest = dict(parameters)
        given = rest.pop(SIGNATURE, "")
        # Vonage writes some in capitals and some not. Bytes: text that is not ASCII cannot be compared.
        same = hmac.compare_digest(given.lower().encode(), self._signature(rest).lower().encode())
        return same and _fresh(rest.get(TIMESTAMP, ""), now)

    def _signature(self, parameters: Mapping[str, str]) -> str:
        pairs = sorted(parameters.items())
        signed = "".join(f"&{name}={value.translate(_ESCAPED)}" for name, value in pairs).encode()
        if self._method == "md5hash":
            return hashlib.md5(signed + self._secret, usedforsecurity=False).hexdigest()
        return hmac.new(self._secret, signed, self._method).hexdigest().upper()


def _fresh(timestamp: str, now: float) -> bool:
    if not re.fullmatch("[0-9]{1,11}", timestamp):
        return False
    return -MAX_AHEAD <= now - int(timestamp) <= MAX_AGE
