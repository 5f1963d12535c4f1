r"""How long a text is as an SMS: alphabets, units and parts. Pure.

A text whose characters are all in GSM 7-bit (3GPP TS 23.038, section 6.2.1) has 160 units in one
SMS, or 153 in each part of several. `^{}\[~]|` and the euro sign are two units, an escape and a
character, which stay in the same part. Any other text is UTF-16: 70 units, or 67 in each part;
a character beyond U+FFFF is two, which stay together as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from gobbler.errors import MessageTooLarge

BASIC: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
"""The characters of GSM 7-bit that take one unit."""

EXTENDED: Final = frozenset("^{}\\[~]|€")
"""Those that take two. (The page break, U+000C, is one by the standard; Vonage does not list it.)"""

_GSM: Final = BASIC | EXTENDED


@dataclass(frozen=True, slots=True)
class Encoding:
    """An alphabet: `type` is Vonage's name for it, `whole` and `part` are units."""

    type: str
    name: str
    whole: int
    part: int
    wide: Callable[[str], bool]
    """Whether a character takes two units."""

    def units(self, text: str) -> int:
        """Return how many units a text takes."""
        return len(text) + sum(map(self.wide, text))

    def parts(self, text: str) -> int:
        """Return how many SMS a text takes; none for an empty one."""
        if self.units(text) <= self.whole:
            return 1 if text else 0
        return _fill((1 + self.wide(character) for character in text), self.part)


TEXT: Final = Encoding("text", "GSM 7-bit", 160, 153, EXTENDED.__contains__)
UNICODE: Final = Encoding("unicode", "UTF-16", 70, 67, "\uffff".__lt__)


def encoding_of(text: str) -> Encoding:
    """Return the encoding that a text needs."""
    return TEXT if _GSM.issuperset(text) else UNICODE


def check_length(text: str, max_parts: int) -> Encoding:
    """Return the encoding of a text that takes at most `max_parts` SMS.

    Raises:
        MessageTooLarge: it takes more; the text says how much would have fitted.
    """
    encoding = encoding_of(text)
    # Every character takes a unit at least: what is much too long is not looked at one by one.
    if len(text) > max_parts * encoding.whole:
        raise MessageTooLarge(_too_long(f"at least {len(text)}", encoding, max_parts))
    if encoding.parts(text) > max_parts:
        raise MessageTooLarge(_too_long(str(encoding.units(text)), encoding, max_parts))
    return encoding


def _fill(sizes: Iterable[int], room: int) -> int:
    """Return how many parts of `room` units hold what has these sizes, in order and undivided."""
    parts, left = 1, room
    for size in sizes:
        if size > left:
            parts, left = parts + 1, room
        left -= size
    return parts


def _too_long(units: str, encoding: Encoding, max_parts: int) -> str:
    fits = f"{encoding.whole} fit into one SMS"
    if max_parts > 1:
        fits = f"{max_parts} SMS of {encoding.part} may be sent"
    return f"the text is too long: it takes {units} units of {encoding.name}, and {fits}"
