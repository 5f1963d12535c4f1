"""DATABASE_URL, as Heroku and others set it, taken apart into the options of PostgreSQL.

    postgres://user:password@host:5432/dbname?sslmode=require

A part that is not there is None: the option keeps its default. Parts are percent-encoded
(RFC 3986, section 2.1); the host may also stand in the query, as libpq has it for sockets.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

_SCHEMES: Final = ("postgres", "postgresql")


def host(url: str) -> str | None:
    """Return the host. Raises: ValueError: this is no such URL."""
    return _split(url).hostname or _query(url, "host")


def port(url: str) -> str | None:
    """Return the port. Raises: ValueError: this is no such URL."""
    number = _split(url).port
    return _query(url, "port") if number is None else str(number)


def user(url: str) -> str | None:
    """Return the user. Raises: ValueError: this is no such URL."""
    return _decoded(_split(url).username)


def password(url: str) -> str | None:
    """Return the password. Raises: ValueError: this is no such URL."""
    return _decoded(_split(url).password)


def dbname(url: str) -> str | None:
    """Return the database. Raises: ValueError: this is no such URL."""
    return _decoded(_split(url).path.removeprefix("/"))


def sslmode(url: str) -> str | None:
    """Return the mode of encryption. Raises: ValueError: this is no such URL."""
    return _query(url, "sslmode")


def ca_file(url: str) -> str | None:
    """Return the file of certificates to trust. Raises: ValueError: this is no such URL."""
    return _query(url, "sslrootcert")


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        valid = parts.scheme in _SCHEMES and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        # `from None`, and no part of it: the URL holds a password.
        raise ValueError("is not postgres://user:password@host:port/database") from None
    return parts


def _query(url: str, name: str) -> str | None:
    return parse_qs(_split(url).query).get(name, [None])[0]


def _decoded(part: str | None) -> str | None:
    return unquote(part) if part else None
