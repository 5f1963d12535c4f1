"""The kinds of values that options take: what `--help` calls them and how text becomes a value.

A reader raises ValueError whose text completes the sentence "<value> ...":
`is not a number of bytes`. Nothing here looks at the machine: a folder is not
opened, a host is not resolved.
"""

import os
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar
from urllib.parse import urlsplit

from gobbler.errors import InvalidTopic
from gobbler.protocol.topic import canonical

T = TypeVar("T")

MAX_PORT = 65535

_SIZE = re.compile(r"([0-9]{1,18})(?:\s?(B|KiB|MiB|GiB|TiB))?", re.IGNORECASE)
_SIZE_UNITS = {"b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40}
_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)\s?(ms|s|m|h|d)?")
_DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_HOST = re.compile(r"[A-Za-z0-9_.-]*")
_HOST_OR_SOCKET = re.compile(r"[\w.-]*|[/@].+")
_BROKER = re.compile(r"(?:[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}")
_KAFKA_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
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


def _host(text: str) -> str:
    if _HOST_OR_SOCKET.fullmatch(_text(text)):
        return text
    try:
        return str(IPv6Address(text))
    except ValueError:
        raise ValueError("is neither a host, without its port, nor the folder of a socket") from None


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


def number(minimum: int, maximum: int) -> Kind[int]:
    """A whole number between two others."""

    def read(text: str) -> int:
        if not re.fullmatch("[0-9]{1,12}", text) or not minimum <= int(text) <= maximum:
            raise ValueError(f"is not a whole number from {minimum} to {maximum}")
        return int(text)

    return Kind("NUMBER", read)


def _workers(text: str) -> int:
    if text == "auto":
        return os.cpu_count() or 1
    try:
        return number(1, 1000).read(text)
    except ValueError:
        raise ValueError("is neither auto nor a whole number from 1 to 1000") from None


def _text(text: str) -> str:
    categories = {unicodedata.category(character) for character in text}
    if "Cs" in categories:  # how Python keeps bytes of the environment that are not UTF-8
        raise ValueError("is not UTF-8")
    if categories & {"Cc", "Zl", "Zp"}:
        raise ValueError("holds a line end or a control character")
    return text


def _file(text: str) -> Path | None:
    if "\0" in text:
        raise ValueError("is not a file")
    return Path(text) if text else None


def _hexadecimal(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        # `from None`: the original error tells where in a secret it stopped.
        raise ValueError("is not bytes in hexadecimal") from None


def _web_address(text: str) -> str:
    if not text:
        return ""
    try:
        parts = urlsplit(text)
        whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is none, or brackets around no IPv6 address
        whole = False
    if not whole or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("is not an address such as https://host or https://host:8443/path")
    if "@" in parts.netloc or "?" in text or "#" in text:
        raise ValueError("must have no user, password, query or fragment")
    return text.rstrip("/")


def _topic(text: str) -> str:
    try:
        return canonical(text.encode("utf-8", "surrogateescape")).decode()
    except InvalidTopic as error:
        raise ValueError(f"is not a topic such as /sms: {error}") from None


def _brokers(text: str) -> tuple[str, ...]:
    found = tuple(text.replace(",", " ").split())
    for broker in found:
        if not _BROKER.fullmatch(broker) or not 0 < int(broker.rpartition(":")[2]) <= MAX_PORT:
            raise ValueError("is not host:port, or several of them separated by commas or spaces")
    return found


def _kafka_topic(text: str) -> str:
    if text and (not _KAFKA_TOPIC.fullmatch(text) or text in (".", "..")):
        raise ValueError("is not a name that a Kafka topic may have: letters, digits, '.', '_' and '-'")
    return text


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

WORKERS: Kind[int] = Kind("NUMBER", _workers)
"""How many workers; `auto` is the number of processors."""

HOST: Kind[str] = Kind("HOST", _host)
"""A host's name or address, or the folder of a Unix socket (`/run/postgresql`); empty is none."""

TEXT: Kind[str] = Kind("TEXT", _text)
"""Any text on one line; empty is none."""

FILE: Kind[Path | None] = Kind("FILE", _file)
"""A file; whether it can be read shows when it is. Empty is None."""

HEXADECIMAL: Kind[bytes] = Kind("HEX", _hexadecimal)
"""Bytes in hexadecimal; empty is none."""

WEB_ADDRESS: Kind[str] = Kind("URL", _web_address)
"""`http://` or `https://`, a host, and perhaps port and path, without a slash at the end; empty is none."""

TOPIC: Kind[str] = Kind("TOPIC", _topic)
"""A topic of Gobbler, canonical."""

BROKERS: Kind[tuple[str, ...]] = Kind("HOST:PORT,...", _brokers)
"""Kafka brokers, separated by commas or spaces; empty is none."""

KAFKA_TOPIC: Kind[str] = Kind("TOPIC", _kafka_topic)
"""The name of a Kafka topic; empty is none."""
