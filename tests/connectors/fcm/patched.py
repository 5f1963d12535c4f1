"""Sends with many greenlets in a process that gevent has patched, as the server is.

    python -m tests.connectors.fcm.patched '<the members of Task, as JSON>'

It prints what came of it (tests/connectors/patched.py).
"""

from gevent import monkey

if __name__ == "__main__":
    monkey.patch_all()


import json
import sys
from dataclasses import asdict, dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any
from uuid import uuid4

from gobbler.connectors.base import Delivery
from gobbler.connectors.fcm.legacy_sender import LegacyFcmSender
from gobbler.connectors.fcm.sender import FcmSender
from gobbler.connectors.fcm.transport import Limits
from gobbler.protocol.message import Message
from tests.connectors import patched

BODY = b'{"notification":{"title":"A title","body":"Some words"},"data":{"id":"42"}}'
MESSAGE = Message(b"/foo", 1, b"", b"", b"", 1420110000, b"", BODY)


@dataclass
class Task:
    """`tokens` are used in turns; an `api_key` means the legacy protocol; `warm` are sent first."""

    endpoint: str
    ca_file: str
    service_account: str = ""
    api_key: str = ""
    tokens: list[str] = field(default_factory=lambda: ["device"])
    sends: int = 1
    warm: int = 0
    greenlets: int = 1
    limits: tuple[float, float, float] = (10.0, 10.0, 20.0)

    def run(self) -> dict[str, Any]:
        """Run it in a process of its own; return what that printed."""
        return patched.run("tests.connectors.fcm.patched", asdict(self))

    def sender(self) -> FcmSender | LegacyFcmSender:
        more: Any = {
            "endpoint": self.endpoint,
            "ca_file": Path(self.ca_file),
            "in_flight": self.greenlets,
            "limits": Limits(*self.limits),
        }
        if self.api_key:
            return LegacyFcmSender(self.api_key, **more)
        return FcmSender(Path(self.service_account), **more)

    def deliveries(self, number: int) -> list[Delivery]:
        return [Delivery(MESSAGE, token, "marvin", uuid4()) for token in islice(cycle(self.tokens), number)]


def main() -> None:
    task = Task(**json.loads(sys.argv[1]))
    load = patched.Load(task.sender(), task.greenlets)
    load.print(task.deliveries(task.warm), task.deliveries(task.sends))


if __name__ == "__main__":
    main()
