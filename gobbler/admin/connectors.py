"""The dashboard's view of connectors: what they do, what failed last, and turning them off and on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final

from flask import Blueprint, Response, abort, jsonify

from gobbler.admin import api
from gobbler.admin.counted import samples
from gobbler.admin.toggles import switch
from gobbler.connectors.breaker import CLOSED, HALF_OPEN
from gobbler.connectors.connector import Connector
from gobbler.connectors.failures import Failure
from gobbler.connectors.outcome import Pause, told
from gobbler.errors import BadRequest, ConfigError, KVError, StoreError
from gobbler.logs import redact
from gobbler.metrics import Metrics
from gobbler.rest.errors import answer, status_of
from gobbler.text import one_line

_LIMIT: Final = 1024
_NUMBERS: Final = {
    "gobbler_push_queue": "queue",
    "gobbler_push_delayed": "delayed",
    "gobbler_push_subscriptions": "subscriptions",
    "gobbler_push_sent_total": "sent",
    "gobbler_push_removed_subscriptions_total": "removed",
    "gobbler_push_lost_messages_total": "lost",
}
_REASONS: Final = {"gobbler_push_failed_total": "failed", "gobbler_push_retried_total": "retried"}


def blueprint(connectors: Mapping[str, Connector], metrics: Metrics, *, toggles: bool) -> Blueprint:
    """Return `GET /admin/api/connectors` and, with `toggles`, `POST /admin/api/connectors/<name>`."""
    pages = api.blueprint("connectors")

    @pages.get("/connectors")
    def listed() -> Response:
        return jsonify(toggles=toggles, connectors=_describe(connectors, metrics))

    def toggle(name: str) -> Response:
        on = api.posted(_LIMIT).get("on")
        if name not in connectors:
            abort(404, "there is no such connector")
        if not isinstance(on, bool):
            raise BadRequest("on must be true or false")
        try:
            told = switch(name, connectors[name], on)
        except (ConfigError, KVError, StoreError) as error:
            metrics.count_error(error.code)
            return answer(one_line(redact(f"{name} cannot be switched: {error}")), status_of(error))
        return jsonify(text=told, on=connectors[name].on)

    if toggles:
        pages.add_url_rule("/connectors/<name>", view_func=toggle, methods=["POST"])
    return pages


def _describe(connectors: Mapping[str, Connector], metrics: Metrics) -> list[dict[str, Any]]:
    counted = _counted(metrics)
    return [
        {"name": name, "on": one.on, **_state(one), **counted[name], "failures": _failures(one)}
        for name, one in connectors.items()
    ]


def _counted(metrics: Metrics) -> dict[str, dict[str, Any]]:
    """Return what the metrics say of each connector, by its name."""
    found: dict[str, dict[str, Any]] = defaultdict(lambda: {"failed": {}, "retried": {}})
    for sample in samples(metrics, *_NUMBERS, *_REASONS):
        connector = found[sample.labels["connector"]]
        if sample.name in _NUMBERS:
            connector[_NUMBERS[sample.name]] = int(sample.value)
        elif sample.name in _REASONS:
            connector[_REASONS[sample.name]][sample.labels["reason"]] = int(sample.value)
    return found


def _state(connector: Connector) -> dict[str, Any]:
    """Return a word for what a connector does, and why where it is not simply sending."""
    breaker = connector.breaker
    cause = breaker.cause if connector.on and breaker.state != CLOSED else None
    if cause is None:
        return {"state": "sending" if connector.on else "off", "cause": None}
    waiting = "paused" if isinstance(cause, Pause) else "waiting"
    state = "trying" if breaker.state == HALF_OPEN else waiting
    return {"state": state, "cause": one_line(redact(told(cause)))}


def _failures(connector: Connector) -> list[dict[str, Any]]:
    return [_failure(one) for one in connector.failures.latest()]


def _failure(one: Failure) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "reason": one_line(redact(one.reason)),
        "text": one_line(redact(one.text)),
        "first": one.first,
        "last": one.last,
        "times": one.times,
    }
