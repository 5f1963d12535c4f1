"""What can come of an attempt to send a notification, and what has to be done about it.

A sender translates every answer that its provider can give into one of these;
what follows from it is the same for all connectors and is decided in one place
(`connectors.worker`). `reason` is a short code of which there are few (the
provider's own, such as `UNREGISTERED`): it labels metrics. `text` says more,
for people. Neither ever holds a secret or a device's token.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sent:
    """The provider has it.

    `token`: the token that the device has now, where the provider says that it has changed.
    """

    token: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """This notification will never be accepted, and whoever it is for stays subscribed."""

    reason: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Gone:
    """The device's token is dead: it is removed, unless it was registered again since.

    `since`: when it died, in unix seconds, where the provider says; a later registration stays.
    """

    reason: str
    text: str = ""
    since: float | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """Not now, for this device: try again after `after` seconds, or when the backoff says so (None)."""

    reason: str
    text: str = ""
    after: float | None = None


@dataclass(frozen=True, slots=True)
class Outage:
    """The provider failed or was not reached: as `Retry`, and many of them in a row open the breaker."""

    reason: str
    text: str = ""
    after: float | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """Nobody can be served now; the notification is kept and the connector waits.

    For `after` seconds; None: as long as such a thing takes to be mended. `alert`: somebody has
    to mend it (credentials, no credit), so that the server's health says so.
    """

    reason: str
    text: str = ""
    after: float | None = None
    alert: bool = True


Outcome = Sent | Refused | Gone | Retry | Outage | Pause


def told(cause: Outage | Pause) -> str:
    """Return in one text why nobody can be served."""
    return f"{cause.reason}: {cause.text}" if cause.text else cause.reason
