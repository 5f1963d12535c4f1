"""DATABASE_URL, as Heroku and others set it, taken apart into the options of PostgreSQL.

    postgres://user:password@host:5432/dbname?sslmode=require

A part that is not there is None: the option keeps its default. All parts may also stand in the
query, as libpq has it: `postgres:///dbname?host=/run/postgresql`. They are percent-encoded
(RFC 3986, section 2.1). No error shows any of it: the URL holds a password.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

_SCHEMES: Final = ("postgres", "postgresql")
_PORT: Final = re.compile(r":[0-9]*$")


def host(url: str) -> str | None:
    """Return the host. Raises: ValueError: this is no such URL."""
    # Not `hostname` of the standard library, which makes the folder of a socket lower case.
    found = _PORT.sub("", _split(url).netloc.rpartition("@")[2])
    return _part(url, found[1:-1] if found.startswith("[") and found.endswith("]") else found, "host")


def port(url: str) -> str | None:
    """Return the port. Raises: ValueError: this is no such URL."""
    number = _split(url).port
    return _part(url, None if number is None else str(number), "port")


def user(url: str) -> str | None:
    """Return the user. Raises: ValueError: this is no such URL."""
    return _part(url, _split(url).username, "user")


def password(url: str) -> str | None:
    """Return the password; "" where there is a colon and nothing behind it. Raises: ValueError: as above."""
    given = _split(url).password
    return "" if given == "" else _part(url, given, "password")


def dbname(url: str) -> str | None:
    """Return the database. Raises: ValueError: this is no such URL."""
    return _part(url, _split(url).path.removeprefix("/"), "dbname")


def sslmode(url: str) -> str | None:
    """Return the mode of encryption; as for libpq, `ssl=true` is `require`. Raises: ValueError: as above."""
    return _part(url, None, "sslmode") or ("require" if _part(url, None, "ssl") == "true" else None)


def ca_file(url: str) -> str | None:
    """Return the file of certificates to trust. Raises: ValueError: this is no such URL."""
    return _part(url, None, "sslrootcert")


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        valid = parts.scheme in _SCHEMES and parts.port != 0
    except ValueError:
        valid = False
    # A password with a slash, a question mark or a hash that is not encoded ends the host too early.
    if not valid or "#" in url or "@" in parts.path + parts.query:
        raise ValueError("is not postgres://user:password@host:port/database") from None
    return parts


def _part(url: str, given: str | None, name: str) -> str | None:
    """Return a part decoded: what stands in its place, else the parameter of this name, else None."""
    parameters = dict(pair.partition("=")[::2] for pair in _split(url).query.split("&"))
    try:
        return unquote(given or parameters.get(name, ""), errors="strict") or None
    except UnicodeDecodeError:
        raise ValueError("has a percent-encoded part that is not UTF-8") from None
