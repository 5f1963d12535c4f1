"""An answer as it came, and what both protocols make of its status. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from gobbler.connectors.fcm.retry_after import retry_after
from gobbler.connectors.outcome import Outage, Outcome, Pause, Refused

QUOTA_SECONDS: Final = 60.0
"""How long Google asks to wait when a quota is used up and the answer does not say."""

TEXT: Final = 200
"""Characters that are kept of what an answer says."""

HIDDEN: Final = "[hidden]"

_ABOUT_MESSAGE: Final = frozenset({400, 413, 422})
_LATER: Final = frozenset({408, 425})


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer; `wait` is the value of its Retry-After, or empty. The body may have been cut."""

    status: int
    body: bytes = b""
    wait: str = ""

    def members(self) -> dict[str, Any] | None:
        """Return the members of the JSON object that the body is; None: it is something else."""
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None


def by_status(reply: Reply, reason: str, text: str, now: float) -> Outcome:
    """Return what a failure means that nothing but its status explains; `now` in unix seconds.

    What is not known to be the message's fault is taken for something that has to be mended.
    """
    after = retry_after(reply.wait, now)
    if reply.status in _ABOUT_MESSAGE:
        return Refused(reason, text)
    if reply.status == 429:
        return Pause(reason, text, after or QUOTA_SECONDS, alert=False)
    if reply.status in _LATER or reply.status >= 500:
        return Outage(reason, text, after)
    return Pause(reason, text)


def unreadable(what: str) -> Outage:
    """Return what a success means that is not in the provider's words: nobody knows what was done."""
    return Outage("INVALID_ANSWER", f"{what} answered something that cannot be read")


def printable(value: object, hidden: Iterable[str]) -> str:
    """Return what an answer says, if it is a text: short, and without secrets that it repeats."""
    text = value if isinstance(value, str) else ""
    for secret in hidden:
        text = text.replace(secret, HIDDEN) if secret else text
    return text[:TEXT]


def dicts(value: object) -> list[dict[str, Any]]:
    """Return the objects of an array, if it is one."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
