"""The header Retry-After (RFC 9110, section 10.2.3). Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

SHORTEST: Final = 1.0
"""Whoever asks for less would be asked again without end."""

LONGEST: Final = 3600.0
"""Google gives a notification up after an hour."""

# RFC 9110, section 5.6.7: one that is written, two that are read.
_DATES = ("%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y")


def retry_after(value: str, now: float) -> float | None:
    """Return the seconds that a value asks for, at least SHORTEST and at most LONGEST.

    `now`: unix seconds. None: there is no value, or none that can be read.
    """
    value = value.strip()
    if re.fullmatch("[0-9]+", value, re.ASCII):
        return _bounded(float(value))
    for form in _DATES:
        try:
            return _bounded(datetime.strptime(value, form).replace(tzinfo=UTC).timestamp() - now)
        except ValueError:
            continue
    return None


def _bounded(seconds: float) -> float:
    return min(max(seconds, SHORTEST), LONGEST)
