"""Pushes with many greenlets in a process that gevent has patched, as the server is.

    python -m tests.connectors.apns.patched '<the members of Task, as JSON>'

It prints what came of it, as JSON: each outcome and how often, and the seconds and processor seconds
(of this process alone) of the pushes after the first, which opens the connection.
"""

from gevent import monkey

if __name__ == "__main__":
    monkey.patch_all()


import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import gevent

from gobbler.connectors.apns.provider_token import ProviderToken
from gobbler.connectors.apns.sender import ApnsSender
from gobbler.connectors.base import Delivery
from gobbler.protocol.message import Message

ROOT = Path(__file__).parents[3]
DEVICES_A_MESSAGE = 5


@dataclass
class Task:
    """Each message goes to some devices; each device gets one."""

    endpoint: str
    ca_file: str
    key_file: str
    pushes: int
    greenlets: int = 100
    topic: str = "com.example.app"

    def run(self) -> dict[str, Any]:
        """Run it in a process of its own; return what that printed."""
        command = [sys.executable, "-m", "tests.connectors.apns.patched", json.dumps(asdict(self))]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == 0, done.stderr
        told: dict[str, Any] = json.loads(done.stdout)
        return told | {"stderr": done.stderr}


class Load:
    """The pushes of a task, and what came of them."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._outcomes: Counter[str] = Counter()
        credential = ProviderToken(Path(task.key_file), "ABC123DEFG", "DEF123GHIJ")
        ca_file = Path(task.ca_file)
        self._sender = ApnsSender(credential, task.topic, endpoint=task.endpoint, ca_file=ca_file)

    def run(self) -> dict[str, Any]:
        self._sender.start()
        self._push(0)
        begun, cpu = time.perf_counter(), time.process_time()
        left = iter(range(1, self._task.pushes))
        greenlets = [gevent.spawn(self._work, left) for _ in range(self._task.greenlets)]
        gevent.joinall(greenlets, raise_error=True)
        seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
        self._sender.stop(1)
        return {"outcomes": self._outcomes, "seconds": seconds, "cpu": cpu}

    def _work(self, left: Iterator[int]) -> None:
        for number in left:
            self._push(number)

    def _push(self, number: int) -> None:
        body = b'{"aps":{"alert":{"title":"A title","body":"Message %d"}}}' % (number // DEVICES_A_MESSAGE)
        message = Message(b"/foo", number, b"", b"", b"", 1420110000, b"", body)
        outcome = self._sender.send(Delivery(message, f"{number:064x}", "marvin", UUID(int=number)))
        self._outcomes[f"{type(outcome).__name__} {getattr(outcome, 'reason', '')}".rstrip()] += 1


if __name__ == "__main__":
    sys.stdout.write(json.dumps(Load(Task(**json.loads(sys.argv[1]))).run()))
