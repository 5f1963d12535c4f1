"""Sends through FCM's HTTP v1 protocol.

https://firebase.google.com/docs/cloud-messaging/send/v1-api
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from gobbler.connectors.base import Delivery
from gobbler.connectors.fcm.answer import is_unauthenticated, v1_outcome
from gobbler.connectors.fcm.reply import Reply
from gobbler.connectors.fcm.report import report
from gobbler.connectors.fcm.request import v1_template
from gobbler.connectors.fcm.service_account import load
from gobbler.connectors.fcm.template import Templates
from gobbler.connectors.fcm.token import AccessToken, AccessTokens
from gobbler.connectors.fcm.transport import LIMITS, Limits, Transport, trust
from gobbler.connectors.outcome import Outage, Outcome, Refused
from gobbler.errors import BadRequest, ConfigError
from gobbler.reporting.events import Event

RETRY_DELAY: Final = 10.0
"""Google asks for at least so many seconds before the first retry."""

STOPPED: Final = Outage("STOPPED", "the connector is not running")


@dataclass(frozen=True, slots=True)
class _Running:
    """What there is between a start and a stop."""

    transport: Transport
    token_transport: Transport
    tokens: AccessTokens


class FcmSender:
    """Sends with a service account."""

    name = "fcm"
    retry_delay = RETRY_DELAY

    def __init__(
        self,
        service_account_file: Path,
        *,
        endpoint: str,
        project_id: str = "",
        ca_file: Path | None = None,
        in_flight: int = 50,
        limits: Limits = LIMITS,
    ) -> None:
        """Take where FCM is, and how many notifications are sent at a time, at most.

        `project_id`: that of the service account where it is empty.
        """
        self._file = service_account_file
        self._endpoint = endpoint
        self._project_id = project_id
        self._ca_file = ca_file
        self._in_flight = in_flight
        self._limits = limits
        self._templates = Templates(v1_template)
        self._running: _Running | None = None

    def __repr__(self) -> str:
        """Name the endpoint and the state."""
        return f"FcmSender({self._endpoint!r}, {'running' if self._running else 'stopped'})"

    def start(self) -> None:
        """Read the service account; when running: do nothing. Raises: ConfigError: it cannot be used."""
        if self._running is not None:
            return
        account = load(self._file)
        project_id = self._project_id or account.project_id
        if not project_id:
            raise ConfigError("--fcm-project-id: the service account names no project, so this has to")
        context = trust(self._ca_file)
        # Projects of a domain have a colon and dots: example.com:project.
        url = f"{self._endpoint}/v1/projects/{quote(project_id, safe=':.')}/messages:send"
        token_transport = Transport("the token endpoint", account.token_uri, context, 1, self._limits)
        self._running = _Running(
            Transport("FCM", url, context, self._in_flight, self._limits),
            token_transport,
            AccessTokens(account, token_transport),
        )

    def stop(self, timeout: float) -> None:
        """Close the connections; again: do nothing."""
        running, self._running = self._running, None
        if running is not None:
            running.transport.close()
            running.token_transport.close()

    def send(self, delivery: Delivery) -> Outcome:
        """Try once."""
        running = self._running
        if running is None:
            return STOPPED
        try:
            body = self._templates.request(delivery.message, delivery.device_token)
        except BadRequest as error:
            return Refused(error.code, str(error))
        return _send(running, body, delivery.device_token)

    def event(self, delivery: Delivery, outcome: Outcome) -> Event | None:
        """Return what is reported of an outcome that settles a delivery."""
        return report(delivery, outcome, self._templates.facts(delivery.message))


def _send(running: _Running, body: bytes, device_token: str) -> Outcome:
    token = running.tokens.get()
    if not isinstance(token, AccessToken):
        return token
    reply = _post(running, token, body)
    if isinstance(reply, Reply) and is_unauthenticated(reply):
        token = running.tokens.replace(token)
        if not isinstance(token, AccessToken):
            return token
        # FCM has done nothing with it, so it may have it again at once.
        reply = _post(running, token, body)
    if isinstance(reply, Outage):
        return reply
    return v1_outcome(reply, time.time(), (device_token, token.value))


def _post(running: _Running, token: AccessToken, body: bytes) -> Reply | Outage:
    headers = {
        "Authorization": f"Bearer {token.value}",
        "Content-Type": "application/json",
        "User-Agent": "Gobbler",
    }
    return running.transport.post(headers, body)
