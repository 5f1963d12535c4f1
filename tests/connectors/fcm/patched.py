"""Sends with many greenlets in a process that gevent has patched, as the server is.

    python -m tests.connectors.fcm.patched '<the members of Task, as JSON>'

It prints what came of it, as JSON: each outcome and how often, the seconds and processor seconds
(of this process alone) of the sends after the first `warm`, and how long each greenlet's last took.
"""

from gevent import monkey

if __name__ == "__main__":
    monkey.patch_all()


import json
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import gevent

from gobbler.connectors.base import Delivery
from gobbler.connectors.fcm.legacy_sender import LegacyFcmSender
from gobbler.connectors.fcm.sender import FcmSender
from gobbler.connectors.fcm.transport import Limits
from gobbler.protocol.message import Message

ROOT = Path(__file__).parents[3]
BODY = json.dumps({"notification": {"title": "A title", "body": "Some words"}, "data": {"id": "42"}})


@dataclass
class Task:
    """`tokens` are used in turns; an `api_key` means the legacy protocol."""

    endpoint: str
    ca_file: str
    service_account: str = ""
    api_key: str = ""
    tokens: list[str] = field(default_factory=lambda: ["device"])
    sends: int = 1
    warm: int = 0
    greenlets: int = 1
    limits: tuple[float, float, float] = (10.0, 10.0, 20.0)
    body: str = BODY

    def run(self) -> dict[str, Any]:
        """Run it in a process of its own; return what that printed."""
        command = [sys.executable, "-m", "tests.connectors.fcm.patched", json.dumps(asdict(self))]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == 0, done.stderr
        told: dict[str, Any] = json.loads(done.stdout)
        return told | {"stderr": done.stderr}


class Load:
    """The sends of a task, and what came of them."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._outcomes: Counter[str] = Counter()
        self._message = Message(b"/foo", 1, b"", b"", b"", 1420110000, b"", task.body.encode())
        self._sender = self._make()

    def _make(self) -> FcmSender | LegacyFcmSender:
        task = self._task
        more: Any = {
            "endpoint": task.endpoint,
            "ca_file": Path(task.ca_file),
            "in_flight": task.greenlets,
            "limits": Limits(*task.limits),
        }
        if task.api_key:
            return LegacyFcmSender(task.api_key, **more)
        return FcmSender(Path(task.service_account), **more)

    def run(self) -> dict[str, Any]:
        self._sender.start()
        self._send(self._task.warm)
        self._outcomes.clear()
        begun, cpu = time.perf_counter(), time.process_time()
        self._send(self._task.sends)
        seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
        self._sender.stop(1.0)
        return {"outcomes": self._outcomes, "seconds": seconds, "cpu": cpu}

    def _send(self, number: int) -> None:
        tokens = self._task.tokens
        left = iter([tokens[n % len(tokens)] for n in range(number)])
        greenlets = [gevent.spawn(self._work, left) for _ in range(self._task.greenlets)]
        gevent.joinall(greenlets, raise_error=True)

    def _work(self, left: Any) -> None:
        for token in left:
            outcome = self._sender.send(Delivery(self._message, token, "marvin", uuid4()))
            self._outcomes[f"{type(outcome).__name__} {getattr(outcome, 'reason', '')}".rstrip()] += 1


if __name__ == "__main__":
    sys.stdout.write(json.dumps(Load(Task(**json.loads(sys.argv[1]))).run()))
