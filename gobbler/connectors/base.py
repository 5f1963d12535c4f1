"""The seam between the connectors' common machinery and a provider."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable
from uuid import UUID

from gobbler.connectors.outcome import Outcome
from gobbler.protocol.message import Message
from gobbler.reporting.events import Event


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message on its way to one device.

    `device_token` and `user_id` are those of the subscription; empty where the provider has none
    (SMS: the message itself says who gets it). `id` is the same whenever this message is sent to
    this device, also after a restart: for providers that recognise a repetition by it.
    `attempt` counts from 0.
    """

    message: Message
    device_token: str
    user_id: str
    id: UUID
    attempt: int = 0


class Sender(Protocol):
    """Sends notifications through one provider: a service whose `start` connects to nobody.

    `name` is the connector's: `fcm`, `apns`, `sms`.
    """

    name: str
    retry_delay: float
    """Seconds before the first retry, where neither the provider nor the options say otherwise."""

    def start(self) -> None:
        """Read credentials and get ready. Raises: ConfigError: they cannot be used; it says why."""

    def stop(self, timeout: float) -> None:
        """Close connections within `timeout` seconds; again: do nothing. It can be started again."""

    def send(self, delivery: Delivery) -> Outcome:
        """Try once; waits cooperatively, with time-outs of its own, and never sleeps before trying.

        Called by many greenlets at once. Whatever the provider or the network does is an outcome:
        it raises nothing but what is a defect of the server.
        """

    def event(self, delivery: Delivery, outcome: Outcome) -> Event | None:
        """Return what is reported of an outcome that settles a delivery (Sent, Refused, Gone)."""


@runtime_checkable
class CautiousSender(Sender, Protocol):
    """A sender whose notifications must not be repeated where it is not known what became of them (SMS).

    Between `admit` and `send` it is written down that one is about to be sent. If the server is
    killed then, it is taken for sent.
    """

    def admit(self, delivery: Delivery) -> Outcome | None:
        """Do all that comes before sending, such as waiting for a turn; return None if it may be sent."""
