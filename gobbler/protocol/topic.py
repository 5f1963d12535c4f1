"""Topics: paths like `/foo/bar`, and what contains what."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from gobbler.errors import InvalidTopic

SEPARATOR: Final = b"/"
MAX_BYTES: Final = 1024

# In a `str` pattern `\s` is every Unicode white space; the classes are the control characters C0 and C1.
_FORBIDDEN = re.compile(r"[\s\x00-\x1f\x7f-\x9f,]")


@lru_cache(maxsize=4096)
def canonical(raw: bytes) -> bytes:
    """Return a topic as it is kept: checked, and without a trailing slash.

    Raises:
        InvalidTopic: it breaks a rule; the text says which.
    """
    path = raw[:-1] if raw.endswith(SEPARATOR) else raw
    if not raw.startswith(SEPARATOR):
        raise InvalidTopic("topic must begin with '/'")
    if len(path) > MAX_BYTES:
        raise InvalidTopic(f"topic is longer than {MAX_BYTES} bytes")
    if not path:
        raise InvalidTopic("topic has no segment")
    if b"//" in path or path.endswith(SEPARATOR):
        raise InvalidTopic("topic has an empty segment")
    try:
        text = path.decode()
    except UnicodeDecodeError:
        raise InvalidTopic("topic is not valid UTF-8") from None
    forbidden = _FORBIDDEN.search(text)
    if forbidden:
        raise InvalidTopic(f"topic holds {_name(forbidden.group())}")
    return path


def _name(character: str) -> str:
    if character == ",":
        return "a comma"
    return "white space" if character.isspace() else "a control character"


def partition_of(path: bytes) -> str:
    """Return the partition of a canonical path: its first segment."""
    return path.split(SEPARATOR, 2)[1].decode()


def ancestors(path: bytes) -> tuple[bytes, ...]:
    """Return a canonical path and each that contains it: `/a/b/c`, `/a/b`, `/a`."""
    found = [path]
    end = path.rfind(SEPARATOR)
    while end > 0:
        found.append(path[:end])
        end = path.rfind(SEPARATOR, 0, end)
    return tuple(found)


def covers(subscription: bytes, path: bytes) -> bool:
    """Say whether a subscription to one canonical path receives messages to another."""
    return path == subscription or path.startswith(subscription + SEPARATOR)
