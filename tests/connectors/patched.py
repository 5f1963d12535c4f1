"""Many greenlets that send with one sender, in a process that gevent has patched, as the server is.

A module below that is run as a program patches before it imports this one.
"""

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import gevent

from gobbler.connectors.base import Delivery, Sender
from tests.providers.process import ROOT


def run(module: str, members: dict[str, Any]) -> dict[str, Any]:
    """Run a module in a process of its own, with the members of its task; return what it printed."""
    command = [sys.executable, "-m", module, json.dumps(members)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told | {"stderr": done.stderr}


class Load:
    """What greenlets send, and what came of it."""

    def __init__(self, sender: Sender, greenlets: int) -> None:
        self._sender = sender
        self._greenlets = greenlets
        self._outcomes: Counter[str] = Counter()

    def print(self, first: Iterable[Delivery], rest: Iterable[Delivery]) -> None:
        """Send, and print what came of it as JSON: each outcome and how often; how long the rest took.

        `first` opens the connections; the seconds, and the processor seconds of this process, are of the
        rest alone.
        """
        self._sender.start()
        self._send(first)
        begun, cpu = time.perf_counter(), time.process_time()
        self._send(rest)
        seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
        self._sender.stop(1)
        sys.stdout.write(json.dumps({"outcomes": self._outcomes, "seconds": seconds, "cpu": cpu}))

    def _send(self, deliveries: Iterable[Delivery]) -> None:
        left = iter(deliveries)
        greenlets = [gevent.spawn(self._work, left) for _ in range(self._greenlets)]
        gevent.joinall(greenlets, raise_error=True)

    def _work(self, left: Iterator[Delivery]) -> None:
        for delivery in left:
            outcome = self._sender.send(delivery)
            self._outcomes[f"{type(outcome).__name__} {getattr(outcome, 'reason', '')}".rstrip()] += 1
