"""The kinds of values that options take: what `--help` calls them and how text becomes a value.

A reader raises ValueError whose text completes the sentence "<value> ...":
`is not a number of bytes`. Nothing here looks at the machine: a folder is not
opened, a host is not resolved.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")

MAX_PORT = 65535

_SIZE = re.compile(r"([0-9]{1,18})(?:\s?(B|KiB|MiB|GiB|TiB))?", re.IGNORECASE)
_SIZE_UNITS = {"b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40}
_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)\s?(ms|s|m|h|d)?")
_DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_HOST = re.compile(r"[A-Za-z0-9_.-]*")
_URL_PATH = re.compile(r"/[A-Za-z0-9._~/-]*")


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """`metavar` stands for the value in `--help`; `read` makes the value or raises ValueError."""

    metavar: str
    read: Callable[[str], T]


class Address(NamedTuple):
    """Where to listen; an empty host means all interfaces, port 0 any free port."""

    host: str
    port: int

    def __str__(self) -> str:
        """Write it as it is given: `:8080`, `localhost:8080`, `[::1]:8080`."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def one_of(*words: str) -> Kind[str]:
    """One of a few words."""

    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"is none of {', '.join(words)}")
        return text

    return Kind("|".join(words), read)


def optional(kind: Kind[T]) -> Kind[T | None]:
    """A kind whose option can be turned off: `off` or nothing is None."""
    return Kind(kind.metavar, lambda text: None if text in ("", "off") else kind.read(text))


def size(minimum: str = "1", maximum: str = "1TiB") -> Kind[int]:
    """A number of bytes: 1048576, 64KiB, 1MiB, 2GiB; binary units only, so none can be misread."""
    lowest, highest = _size(minimum), _size(maximum)

    def read(text: str) -> int:
        value = _size(text)
        if value < lowest:
            raise ValueError(f"is too small: the minimum is {minimum}")
        if value > highest:
            raise ValueError(f"is too large: the maximum is {maximum}")
        return value

    return Kind("BYTES", read)


def _size(text: str) -> int:
    found = _SIZE.fullmatch(text)
    if not found:
        raise ValueError("is not a number of bytes, such as 1048576, 64KiB or 1MiB")
    return int(found[1]) * _SIZE_UNITS[(found[2] or "B").lower()]


def _switch(text: str) -> bool:
    word = text.lower()
    if word in ("true", "1", "yes", "on"):
        return True
    if word in ("false", "0", "no", "off"):
        return False
    raise ValueError("is neither true, 1, yes, on nor false, 0, no, off")


def _duration(text: str) -> float:
    found = _DURATION.fullmatch(text)
    seconds = float(found[1]) * _DURATION_UNITS[found[2] or "s"] if found else 0.0
    if seconds <= 0:
        raise ValueError("is not a time above zero in seconds, or with a unit: 30, 0.5, 90s, 15m, 12h, 7d")
    return seconds


def _sync_interval(text: str) -> float | None:
    if text == "always":
        return 0.0
    if text == "never":
        return None
    try:
        return _duration(text)
    except ValueError:
        raise ValueError("is neither always, never nor a number of seconds above zero") from None


def _address(text: str) -> Address:
    host, colon, port = text.rpartition(":")
    number = int(port) if re.fullmatch("[0-9]{1,5}", port) else MAX_PORT + 1
    if not colon or number > MAX_PORT:
        raise ValueError("is not [host]:port, such as :8080, localhost:8080 or [::1]:8080")
    if host.startswith("[") and host.endswith("]"):
        return Address(_ipv6(host[1:-1]), number)
    if ":" in host:
        raise ValueError("is not [host]:port: an IPv6 address needs brackets, such as [::1]:8080")
    if not _HOST.fullmatch(host):
        raise ValueError("is not [host]:port: the host has characters that no host name has")
    return Address(host, number)


def _ipv6(text: str) -> str:
    try:
        return str(IPv6Address(text))
    except ValueError:
        raise ValueError("is not [host]:port: what is in the brackets is no IPv6 address") from None


def _folder(text: str) -> Path:
    if not text or "\0" in text:
        raise ValueError("is not a folder")
    return Path(text)


def _url_path(text: str) -> str:
    if not _URL_PATH.fullmatch(text) or "//" in text:
        raise ValueError('is not a path such as /admin/page (letters, digits and "-._~/" only)')
    return text


def _endpoint(text: str) -> str:
    return _url_path(text) if text else ""


def _url_prefix(text: str) -> str:
    if text.strip("/") == "":
        raise ValueError("is not a prefix such as /stream/")
    return _url_path(text.rstrip("/") + "/")


SWITCH: Kind[bool] = Kind("", _switch)
"""true, 1, yes, on; false, 0, no, off."""

DURATION: Kind[float] = Kind("SECONDS", _duration)
"""Seconds above zero; also with a unit: 90s, 15m, 12h, 7d."""

SYNC_INTERVAL: Kind[float | None] = Kind("always|SECONDS|never", _sync_interval)
"""Seconds between syncs; 0.0 is `always` (before every answer), None is `never`."""

ADDRESS: Kind[Address] = Kind("[HOST]:PORT", _address)
"""`[host]:port`; an IPv6 address in brackets."""

FOLDER: Kind[Path] = Kind("FOLDER", _folder)
"""A folder; whether it can be used shows when it is opened."""

ENDPOINT: Kind[str] = Kind("PATH", _endpoint)
"""The path of a page, beginning with a slash; empty turns it off."""

URL_PREFIX: Kind[str] = Kind("PREFIX", _url_prefix)
"""The beginning of paths; with a slash at both ends, whether or not the last was given."""
