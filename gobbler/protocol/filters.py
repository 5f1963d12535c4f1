"""Filters: what the parameters of a route have to be for a message to reach it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Final

from gobbler.errors import InvalidMessage

_PREFIX: Final = "filter"
_MAX_BYTES: Final = 1024
# Where a word begins in camel case: before `Id` in `userId`, before the last capital in `APIKey`.
_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def from_query(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the filters among the pairs of a URL's query: `filterUserID=m` is `{"user_id": "m"}`.

    Raises:
        InvalidMessage: the filters are too long, or one is given twice: which one is meant decides
            who gets the message, and that is not guessed.
    """
    filters: dict[str, str] = {}
    for name, value in pairs:
        words = name[len(_PREFIX) :]
        if not name.startswith(_PREFIX) or not words[:1].isupper():
            continue
        key = _WORD.sub("_", words).lower()
        if key in filters:
            raise InvalidMessage(f"filter {key} is given twice")
        filters[key] = value
    if len(encode(filters)) > _MAX_BYTES:
        raise InvalidMessage(f"filters are longer than {_MAX_BYTES} bytes")
    return filters


def encode(filters: Mapping[str, str]) -> bytes:
    """Return filters as JSON, always the same for the same filters; no bytes where there are none."""
    if not filters:
        return b""
    return json.dumps(filters, sort_keys=True, separators=(",", ":")).encode()


def decode(raw: bytes) -> dict[str, str]:
    """Return what `encode` was given.

    Raises:
        InvalidMessage: these bytes are not what `encode` returns for anything.
    """
    if not raw:
        return {}
    try:
        decoded = json.loads(raw.decode())
    except (ValueError, RecursionError):  # ValueError: not UTF-8, not JSON, or a number of too many digits
        raise InvalidMessage("filters are not valid JSON") from None
    if not isinstance(decoded, dict) or not all(isinstance(value, str) for value in decoded.values()):
        raise InvalidMessage("filters are not a JSON object of strings")
    return decoded


def matches(filters: Mapping[str, str], params: Mapping[str, str]) -> bool:
    """Say whether a route's parameters satisfy every filter; a parameter it does not have satisfies none."""
    return all(params.get(name) == value for name, value in filters.items())
