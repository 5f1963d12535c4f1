"""The file with a service account's key, as Google's console gives it.

https://cloud.google.com/iam/docs/keys-create-delete
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from google.oauth2.service_account import Credentials
from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from gobbler.errors import ConfigError

SCOPE: Final = "https://www.googleapis.com/auth/firebase.messaging"
"""All that access tokens are good for."""

_KIND: Final = "service_account"
_NEEDED: Final = ("client_email", "private_key", "token_uri")


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """What can sign, where access tokens come from, and the project it belongs to (perhaps empty)."""

    credentials: Credentials
    token_uri: str
    project_id: str


def load(file: Path) -> ServiceAccount:
    """Read a service account.

    Raises:
        ConfigError: the file cannot be used; the text says why, and nothing of what is in it.
    """
    members = _read(file)
    for name in _NEEDED:
        if not isinstance(members.get(name), str) or not members[name]:
            _refuse(file, f"has no {name}")
    _check_address(file, members["token_uri"])
    _check_key(file, members["private_key"])
    # Nothing else of the file: it could make google-auth sign access tokens itself, for other clouds.
    info = {name: members.get(name) for name in (*_NEEDED, "private_key_id")}
    credentials = Credentials.from_service_account_info(  # type: ignore[no-untyped-call]
        info, scopes=[SCOPE]
    )
    project_id = members.get("project_id")
    return ServiceAccount(
        credentials, members["token_uri"], project_id if isinstance(project_id, str) else ""
    )


def _read(file: Path) -> dict[str, Any]:
    try:
        members = json.loads(file.read_bytes())
    except OSError as error:
        _refuse(file, f"cannot be read: {error.strerror}")
    except (ValueError, RecursionError):  # not UTF-8 either
        _refuse(file, "is not JSON")
    if not isinstance(members, dict):
        _refuse(file, "is no JSON object")
    if members.get("type") != _KIND:
        _refuse(file, f"is no service account: its type is not {_KIND}")
    return members


def _check_address(file: Path, uri: str) -> None:
    try:
        parts = parse_url(uri)
        sound = parts.scheme in ("http", "https") and bool(parts.host)
    except LocationParseError:
        sound = False
    if not sound:
        _refuse(file, "has a token_uri that is no web address")


def _check_key(file: Path, pem: str) -> None:
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it needs a password
        _refuse(file, "has a private_key that cannot be read")
    if not isinstance(key, RSAPrivateKey):
        _refuse(file, "has a private_key that is not RSA")


def _refuse(file: Path, text: str) -> NoReturn:
    raise ConfigError(f"--fcm-service-account-file: {file} {text}") from None
