"""Access tokens: one for all senders, renewed before it expires.

    senders --get--> AccessTokens --expires soon, or was refused--> google-auth signs --> token_uri

Whoever needs a new token first fetches it, all others who need it wait for that one. Nobody waits
while the old one is still good.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gevent.event import Event
from google.auth import transport as google

from gobbler.connectors.fcm.reply import Reply, printable
from gobbler.connectors.fcm.retry_after import retry_after
from gobbler.connectors.fcm.service_account import ServiceAccount
from gobbler.connectors.fcm.transport import Transport
from gobbler.connectors.outcome import Outage, Pause

log = logging.getLogger(__name__)

MARGIN: Final = 300.0
"""A token is renewed so many seconds before it expires, but not before nine tenths of its time."""

PATIENCE: Final = 10.0
"""Seconds between tries to renew a token that is still good."""

_LONGEST: Final = 10**6
"""Seconds: no token lives longer than some days."""

_ADVICE: Final = "check --fcm-service-account-file and the machine's clock"
_LATER: Final = frozenset({408, 425, 429})
_CODES: Final = frozenset(
    {"invalid_grant", "invalid_client", "invalid_request", "invalid_scope", "unauthorized_client"}
)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class AccessToken:
    """A token, and the moments of the clock when it is to be renewed and when it is no longer good."""

    value: str
    renew_at: float
    expires_at: float


class _Flight:
    """A token that is being fetched; `outcome` counts when it has `landed`."""

    def __init__(self) -> None:
        self.landed = Event()
        # What those who wait are told should the greenlet that fetches be killed.
        self.outcome: AccessToken | Outage | Pause = Outage("STOPPED", "the connector is stopping")


class AccessTokens:
    """The current token of a service account. `transport` posts to its token_uri."""

    def __init__(
        self, account: ServiceAccount, transport: Transport, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Fetch none yet."""
        self._account = account
        self._fetcher = _Fetcher(transport)
        self._clock = clock
        self._token: AccessToken | None = None
        self._flight: _Flight | None = None
        self._next_try = 0.0

    def get(self) -> AccessToken | Outage | Pause:
        """Return a token that is good, or why there is none."""
        token, now = self._token, self._clock()
        if token is None or now >= token.expires_at:
            return self._fetch()
        if now >= token.renew_at and now >= self._next_try and self._flight is None:
            self._next_try = now + PATIENCE
            renewed = self._fetch()
            if isinstance(renewed, AccessToken):
                return renewed
            log.warning("the access token for FCM cannot be renewed yet: %s", renewed.text)
        return token

    def replace(self, refused: AccessToken) -> AccessToken | Outage | Pause:
        """Return another token than one that FCM did not accept: a newer one if there is one already."""
        if self._token is refused:
            self._token = None
        return self.get()

    def _fetch(self) -> AccessToken | Outage | Pause:
        if (flight := self._flight) is not None:
            flight.landed.wait()
            return flight.outcome
        flight = self._flight = _Flight()
        try:
            flight.outcome = self._ask()
        finally:
            self._flight = None
            if isinstance(flight.outcome, AccessToken):
                self._token = flight.outcome
            flight.landed.set()
        return flight.outcome

    def _ask(self) -> AccessToken | Outage | Pause:
        begun = self._clock()
        try:
            self._account.credentials.refresh(self._fetcher)  # type: ignore[no-untyped-call]
        except _Failed as failure:
            return failure.outcome
        lifetime = self._fetcher.lifetime
        value = self._account.credentials.token
        return AccessToken(str(value), begun + max(lifetime - MARGIN, lifetime * 0.9), begun + lifetime)


class _Failed(Exception):
    """There is no new token: the way through google-auth for what has to be done about it."""

    def __init__(self, outcome: Outage | Pause) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


@dataclass(frozen=True, slots=True)
class _Response(google.Response):
    """An answer as google-auth wants it."""

    status: int
    data: bytes
    headers: Mapping[str, str]


class _Fetcher(google.Request):
    """Posts for google-auth, which sees good answers only: what it does about others is to sleep."""

    lifetime = 0.0
    """Seconds that the last token is good for."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **more: object,
    ) -> _Response:
        """Return an answer with a token. Raises: _Failed: there is none."""
        reply = self._transport.post(headers or {}, body or b"")
        if isinstance(reply, Outage):
            raise _Failed(reply)
        if reply.status != 200:
            raise _Failed(_refusal(reply, body or b""))
        self.lifetime = _lifetime(reply.members() or {})
        return _Response(reply.status, reply.body, {})


def _refusal(reply: Reply, body: bytes) -> Outage | Pause:
    """Say what an error of OAuth means (RFC 6749, section 5.2)."""
    members = reply.members() or {}
    error = members.get("error")
    reason = error if isinstance(error, str) and error in _CODES else f"HTTP_{reply.status}"
    text = f"the token endpoint answered {reply.status}"
    if reply.status in _LATER or reply.status >= 500:
        return Outage(reason, text, retry_after(reply.wait, time.time()))
    assertion = body.decode().rpartition("assertion=")[2].partition("&")[0]
    said = printable(members.get("error_description"), [assertion])
    return Pause(reason, ": ".join(filter(None, (text, said, _ADVICE))))


def _lifetime(members: Mapping[str, Any]) -> float:
    """Check that there is a token that can stand in a header; return the seconds that it is good for."""
    token = members.get("access_token")
    sound = isinstance(token, str) and token.isascii() and token.isprintable() and " " not in token
    try:
        lifetime = int(members["expires_in"])  # some write it as a text
    except (KeyError, TypeError, ValueError):
        lifetime = 0
    if not sound or not 0 < lifetime <= _LONGEST:
        raise _Failed(Outage("INVALID_ANSWER", "the token endpoint answered something that is no token"))
    return float(lifetime)
