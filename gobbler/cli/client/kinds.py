"""Numbers that options take. Their limits are told to who is beyond them, and do not fill the help."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import click

from gobbler.protocol.message import MAX_ID


def whole(least: int, most: int = MAX_ID) -> Callable[[str], int]:
    """Return what reads a whole number; it raises BadParameter where that is none, or out of range."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise click.BadParameter(f"{text!r} is not a whole number") from None
        if not least <= number <= most:
            raise click.BadParameter(f"{number} is not between {least} and {most}")
        return number

    return read


def positive(text: str) -> float:
    """Read a number above zero.

    Raises:
        BadParameter: it is none.
    """
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not number > 0:
        raise click.BadParameter(f"{text!r} is not a number above zero")
    return number


ID: Final = whole(-MAX_ID)
COUNT: Final = whole(1)
