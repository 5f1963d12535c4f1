"""The dashboard's view of the server itself: how it does, what it is, and with which options it runs."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from flask import Blueprint, Response, jsonify

from gobbler.admin import api
from gobbler.admin.counted import memory, samples
from gobbler.admin.rates import Rates
from gobbler.config import Config, version
from gobbler.health import Health
from gobbler.metrics import Metrics
from gobbler.options import Option
from gobbler.rest.reading import query, whole

_NUMBERS: Final = {
    "gobbler_sessions": "sessions",
    "gobbler_subscriptions": "subscriptions",
    "gobbler_fetches": "fetches",
}
_ERRORS: Final = "gobbler_errors_total"


@dataclass(frozen=True, slots=True)
class Watched:
    """What the status is made from; `clock` gives unix seconds."""

    config: Config
    health: Health
    metrics: Metrics
    rates: Rates
    clock: Callable[[], float] = time.time


def blueprint(watched: Watched) -> Blueprint:
    """Return `GET /admin/api/status`, `rates`, `health` and `options`."""
    pages = api.blueprint("status")
    begun = watched.clock()

    @pages.get("/status")
    def status() -> Response:
        return jsonify(
            version=version(),
            python=platform.python_version(),
            environment=watched.config.env,
            process=os.getpid(),
            began=begun,
            time=watched.clock(),
            processorSeconds=time.process_time(),
            memoryBytes=memory(),
            slowReaderTurns=watched.metrics.slow_reader_turns_total.value,
            **_counted(watched.metrics),
        )

    @pages.get("/rates")
    def rates() -> Response:
        ring = watched.rates
        found = ring.after(whole("after", query().get("after", "0"), 0))
        return jsonify(server=ring.server, fields=ring.fields, samples=found)

    @pages.get("/health")
    def health() -> Response:
        problems = watched.health.run()
        return jsonify(
            checks=[{"name": name, "problem": problems.get(name)} for name in watched.health.names]
        )

    @pages.get("/options")
    def options() -> Response:
        shown = watched.config.public()
        return jsonify(options=[_option(watched.config, one, shown[one.key]) for one in Config.options()])

    return pages


def _counted(metrics: Metrics) -> dict[str, Any]:
    found: dict[str, Any] = {"errors": {}}
    for sample in samples(metrics, *_NUMBERS, _ERRORS):
        if sample.name in _NUMBERS:
            found[_NUMBERS[sample.name]] = int(sample.value)
        elif sample.name == _ERRORS:
            found["errors"][sample.labels["kind"]] = int(sample.value)
    return found


def _option(config: Config, option: Option, shown: object) -> dict[str, Any]:
    return {
        "name": option.flag,
        "value": shown,
        "takes": option.kind.metavar,
        "group": option.group,
        "changed": getattr(config, option.name) != option.kind.read(option.default),
        "help": option.help,
    }
