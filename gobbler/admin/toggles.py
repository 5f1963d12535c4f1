"""Stopping and starting connectors while the server runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from flask import Blueprint, Response, request

from gobbler.errors import BadRequest
from gobbler.kinds import SWITCH

STOP_SECONDS: Final = 5.0
"""How long a connector may take to finish what it is sending; what is not finished is sent again later."""


class Toggled(Protocol):
    """What can be turned off and on."""

    def turn_on(self) -> bool:
        """Begin; return whether it was off."""

    def turn_off(self, timeout: float) -> bool:
        """End within `timeout` seconds; return whether it was on."""


def blueprint(toggled: Mapping[str, Toggled], endpoint: str) -> Blueprint:
    """Return the page at `endpoint`, which toggles what `toggled` names."""
    toggles = Blueprint("toggles", __name__)

    @toggles.route(endpoint, methods=["GET", "POST"])
    def toggle() -> Response:
        asked = {name: _switch(toggled, name, value) for name, value in request.values.items()}
        if not asked:
            raise BadRequest(f"expected <name>=true or <name>=false; {_names(toggled)}")
        lines = [switch(name, toggled[name], on) for name, on in asked.items()]
        return Response("".join(f"{line}\n" for line in lines), mimetype="text/plain")

    return toggles


def _switch(toggled: Mapping[str, Toggled], name: str, value: str) -> bool:
    """Read one parameter. Raises: BadRequest: nothing has this name, or the value is no switch's."""
    if name not in toggled:
        raise BadRequest(f"there is no connector {name[:40]!r} to toggle; {_names(toggled)}")
    try:
        return SWITCH.read(value)
    except ValueError as error:
        raise BadRequest(f"{name}: {value[:40]!r} {error}") from None


def _names(toggled: Mapping[str, Toggled]) -> str:
    return f"there are: {', '.join(toggled) or 'none'}"


def switch(name: str, one: Toggled, on: bool) -> str:
    """Turn one off or on, and return a sentence that says so."""
    changed = one.turn_on() if on else one.turn_off(STOP_SECONDS)
    if not changed:
        return f"{name} was already {'running' if on else 'stopped'}."
    return f"{name} was successfully {'started' if on else 'stopped'}."
