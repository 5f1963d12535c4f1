"""The seam of reporting: whoever has something to tell hands it over and goes on."""

from __future__ import annotations

from typing import Protocol

from gobbler.reporting.events import Event


class Reporter(Protocol):
    """Takes events of one kind, in any greenlet."""

    def report(self, event: Event) -> None:
        """Take an event; never waits and never raises. What cannot be kept is dropped, and counted."""


class Nobody:
    """The reporter of events that nobody wants."""

    def report(self, event: Event) -> None:
        """Do nothing."""
