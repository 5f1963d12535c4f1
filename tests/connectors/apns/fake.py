"""The fake APNs as the tests see it."""

import json
import ssl
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

from tests.providers.certificates import Authority
from tests.providers.process import Provider


class FakeApns(Provider):
    """Runs tests/providers/apns.py."""

    def __init__(self, folder: Path, *options: str, authority: Authority | None = None) -> None:
        super().__init__("tests.providers.apns", folder, *options, authority=authority)

    def of(self, *tokens: str) -> list[dict[str, Any]]:
        """Return what it has recorded of some devices, oldest first."""
        return [each for each in self.received() if each["token"] in tokens]

    def stats(self) -> dict[str, int]:
        """Return its counters."""
        context = ssl.create_default_context(cafile=self.authority.file)
        connection = HTTPSConnection("127.0.0.1", self.port, timeout=10, context=context)
        connection.request("GET", "/stats")
        told: dict[str, int] = json.loads(connection.getresponse().read())
        connection.close()
        return told
