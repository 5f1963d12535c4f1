"""Reports events in a patched process, as the server's is, and prints what that was like, as JSON.

The times of `report`, and by how much it holds others up, are multiples of what encoding an event takes.

python -m tests.reporting.patched <broker> <how many events> [<certificates> <user> <password>]
"""

from gevent import monkey

monkey.patch_all()  # before all else

# ruff: noqa: E402, T201

import json
import logging
import sys
import time
from pathlib import Path
from statistics import median
from uuid import UUID

import gevent
import psutil

from gobbler.reporting.events import Event
from tests.reporting.rig import Rig, numbered
from tests.reporting.stopwatch import Stopwatch

TURN = 500
"""Events between two turns of the others, as a connector with many workers would do it."""


class Lines(logging.Handler):
    """Keeps the warnings and errors of everybody."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def measure_lag(lags: list[float]) -> None:
    """Note, again and again, how much later than due a greenlet gets its turn, in seconds."""
    while True:
        watch = Stopwatch()
        gevent.sleep(0.001)
        lags.append(watch.seconds - 0.001)


def measure_encoding(event: Event) -> float:
    """Return what encoding an event takes, in seconds: how fast this machine is."""
    took: list[float] = []
    for _ in range(50):
        watch = Stopwatch()
        for number in range(100):
            event.encode(UUID(int=number), number)
        took.append(watch.seconds / 100)
    return median(took)


def main(broker: str, count: str, ca_file: str = "", user: str = "", password: str = "") -> None:
    lines = Lines()
    logging.getLogger().addHandler(lines)
    security = {"security": "sasl_ssl", "ca_file": Path(ca_file)} if ca_file else {}
    rig = Rig(broker, user=user, password=password, **security)
    topic = rig.reporting.topic("events")
    rig.reporting.start()
    event = numbered(1, size=100)
    encoding = measure_encoding(event)
    process = psutil.Process()
    before = process.memory_info().rss
    lags: list[float] = []
    took: list[float] = []
    watch = gevent.spawn(measure_lag, lags)
    for number in range(int(count)):
        begun = time.perf_counter()
        topic.report(event)
        if number % TURN == 0:
            took.append(time.perf_counter() - begun)
            gevent.sleep(0.0001)
    grown = process.memory_info().rss - before
    begun = time.perf_counter()
    rig.reporting.stop(200 if not rig.dropped else 1)
    stopped = time.perf_counter() - begun
    watch.kill()
    found = {
        "reported": rig.reported,
        "queued": rig.queued,
        "dropped": rig.dropped,
        "report_median": median(took) / encoding,
        "lag_median": median(lags) / encoding,
        "lag_worst": max(lags) / encoding,
        "grown_mib": grown / (1 << 20),
        "stop_seconds": stopped,
        "lines": [
            line for line in lines.lines if "were not delivered" not in line and "takes no" not in line
        ],
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
