"""Texts that are safe to show: what they hold must not drive a terminal, or pass for another line. Pure."""

from __future__ import annotations

import re

# What could end a line, drive a terminal, turn the reading direction around or not be encoded.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def one_line(text: str) -> str:
    """Write control characters, line ends and direction marks as escapes, as Python writes them."""
    return _UNSAFE.sub(lambda found: repr(found[0])[1:-1], text)


def shown_line(text: str) -> str:
    """Do the same for a person's eyes: a tab stays."""
    return "\t".join(map(one_line, text.split("\t")))


def shown(raw: bytes) -> str:
    r"""Return bytes as text of one line; what is not UTF-8 is written as `\xNN`."""
    return shown_line(raw.decode(errors="backslashreplace"))
