"""Sends through the legacy protocol: Google switched it off in 2024, gateways still speak it."""

from __future__ import annotations

import time
from pathlib import Path

from gobbler.connectors.base import Delivery
from gobbler.connectors.fcm.legacy_answer import legacy_outcome
from gobbler.connectors.fcm.legacy_request import legacy_template
from gobbler.connectors.fcm.report import report
from gobbler.connectors.fcm.sender import RETRY_DELAY, STOPPED
from gobbler.connectors.fcm.template import Templates
from gobbler.connectors.fcm.transport import LIMITS, Limits, Transport, trust
from gobbler.connectors.outcome import Outage, Outcome, Refused
from gobbler.errors import BadRequest, ConfigError
from gobbler.reporting.events import Event


class LegacyFcmSender:
    """Sends with an API key. `endpoint` is the whole address that notifications are posted to."""

    name = "fcm"
    retry_delay = RETRY_DELAY

    def __init__(
        self,
        api_key: str,
        *,
        endpoint: str,
        ca_file: Path | None = None,
        in_flight: int = 50,
        limits: Limits = LIMITS,
    ) -> None:
        """Take where the gateway is, and how many notifications are sent at a time, at most."""
        self._api_key = api_key
        self._endpoint = endpoint
        self._ca_file = ca_file
        self._in_flight = in_flight
        self._limits = limits
        self._templates = Templates(legacy_template)
        self._transport: Transport | None = None
        self._headers = {
            "Authorization": f"key={api_key}",
            "Content-Type": "application/json",
            "User-Agent": "Gobbler",
        }

    def __repr__(self) -> str:
        """Name the endpoint and the state."""
        return f"LegacyFcmSender({self._endpoint!r}, {'running' if self._transport else 'stopped'})"

    def start(self) -> None:
        """Get ready; when running: do nothing.

        Raises: ConfigError: the key or the file of certificates cannot be used.
        """
        if self._transport is not None:
            return
        if not self._api_key.isascii() or not self._api_key.isprintable() or " " in self._api_key:
            raise ConfigError("--fcm-api-key: has a character that no key has")
        context = trust(self._ca_file)
        self._transport = Transport("the FCM gateway", self._endpoint, context, self._in_flight, self._limits)

    def stop(self, timeout: float) -> None:
        """Close the connections; again: do nothing."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()

    def send(self, delivery: Delivery) -> Outcome:
        """Try once."""
        transport, token = self._transport, delivery.device_token
        if transport is None:
            return STOPPED
        try:
            body = self._templates.request(delivery.message, token)
        except BadRequest as error:
            return Refused(error.code, str(error))
        reply = transport.post(self._headers, body)
        if isinstance(reply, Outage):
            return reply
        return legacy_outcome(reply, time.time(), token, (token, self._api_key))

    def event(self, delivery: Delivery, outcome: Outcome) -> Event | None:
        """Return what is reported of an outcome that settles a delivery."""
        return report(delivery, outcome, self._templates.facts(delivery.message))
