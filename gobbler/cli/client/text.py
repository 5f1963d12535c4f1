"""Texts that are safe to show: what a message holds must not drive a terminal, or pass for another line."""

from __future__ import annotations

import re

# What could end a line, drive a terminal, turn the reading direction around or not be encoded.
_UNSAFE = re.compile(
    "[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def one_line(text: str) -> str:
    """Write line ends, control characters and direction marks as escapes; a tab stays."""
    return _UNSAFE.sub(lambda found: repr(found[0])[1:-1], text)


def shown(raw: bytes) -> str:
    r"""Return bytes as text of one line; what is not UTF-8 is written as `\xNN`."""
    return one_line(raw.decode(errors="backslashreplace"))
