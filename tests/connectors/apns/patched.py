"""Pushes with many greenlets in a process that gevent has patched, as the server is.

    python -m tests.connectors.apns.patched '<the members of Task, as JSON>'

It prints what came of it (tests/connectors/patched.py); the first push opens the connection.
"""

from gevent import monkey

if __name__ == "__main__":
    monkey.patch_all()


import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from gobbler.connectors.apns.provider_token import ProviderToken
from gobbler.connectors.apns.sender import ApnsSender
from gobbler.connectors.base import Delivery
from gobbler.protocol.message import Message
from tests.connectors import patched

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
        return patched.run("tests.connectors.apns.patched", asdict(self))

    def sender(self) -> ApnsSender:
        credential = ProviderToken(Path(self.key_file), "ABC123DEFG", "DEF123GHIJ")
        return ApnsSender(credential, self.topic, endpoint=self.endpoint, ca_file=Path(self.ca_file))


def delivery(number: int) -> Delivery:
    body = b'{"aps":{"alert":{"title":"A title","body":"Message %d"}}}' % (number // DEVICES_A_MESSAGE)
    message = Message(b"/foo", number, b"", b"", b"", 1420110000, b"", body)
    return Delivery(message, f"{number:064x}", "marvin", UUID(int=number))


def main() -> None:
    task = Task(**json.loads(sys.argv[1]))
    load = patched.Load(task.sender(), task.greenlets)
    load.print([delivery(0)], map(delivery, range(1, task.pushes)))


if __name__ == "__main__":
    main()
