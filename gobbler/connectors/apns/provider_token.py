"""Provider tokens: JSON web tokens, signed with a key of the developer's account (.p8).

Apple's page: "Establishing a token-based connection to APNs".
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from gobbler.connectors.apns.credential import read
from gobbler.errors import ConfigError

RENEW_SECONDS: Final = 45 * 60.0
"""APNs refuses tokens older than an hour."""

KEEP_SECONDS: Final = 20 * 60.0
"""APNs refuses a new token that comes sooner than this after the last."""


class ProviderToken:
    """One token for all that is sent; signing it never lets another greenlet in, so it is done once."""

    cautious = True

    def __init__(
        self, key_file: Path, key_id: str, team_id: str, *, clock: Callable[[], float] = time.time
    ) -> None:
        """Take the key's file and what Apple calls the key and its team; `clock` gives unix seconds."""
        self._file = key_file
        self._key_id = key_id
        self._team_id = team_id
        self._clock = clock
        self._pem: bytes | None = None
        self._key: EllipticCurvePrivateKey
        self._value: bytes = b""
        self._made = 0.0
        self._forced: float | None = None

    def __repr__(self) -> str:
        """Name the file and the ids, none of which is a secret."""
        return f"ProviderToken({str(self._file)!r}, {self._key_id!r}, {self._team_id!r})"

    def load(self, context: ssl.SSLContext) -> None:
        """Read the key and sign a first token. Raises: ConfigError.

        With the same key as before, the token stays: APNs counts how often there is another.
        """
        pem = read(self._file, "APNs key")
        if pem != self._pem:
            self._key = _key(pem, self._file)
            self._pem = pem
            self._sign()
        self._forced = None

    def authorization(self) -> bytes:
        """Return the header's value, with another token when the last is 45 minutes old."""
        if not -RENEW_SECONDS < self._clock() - self._made < RENEW_SECONDS:  # clocks are set back, too
            self._sign()
        return self._value

    def renew(self, used: bytes | None) -> bool:
        """Sign another token; once in 20 minutes, because a clock that is wrong makes every token too old."""
        if used != self._value:
            return True  # somebody else was faster
        now = self._clock()
        if self._forced is not None and 0 <= now - self._forced < KEEP_SECONDS:
            return False
        self._forced = now
        self._sign()
        return True

    def _sign(self) -> None:
        self._made = self._clock()
        claims = {"iss": self._team_id, "iat": int(self._made)}
        token = jwt.encode(claims, self._key, algorithm="ES256", headers={"kid": self._key_id})
        self._value = b"bearer " + token.encode()


def _key(pem: bytes, path: Path) -> EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(pem, None)
    except TypeError:
        raise ConfigError(f"APNs key {path}: it is encrypted; Apple's .p8 files are not") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError(f"APNs key {path}: this is no private key as Apple gives it (.p8)") from None
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise ConfigError(f"APNs key {path}: it is no key of the curve P-256, which ES256 needs")
    return key
